"""Our way of turning Flower's records to bytes and back, against Flower's own."""

import numpy as np
import pytest
from flwr.common.serde import recorddict_to_proto
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jointrisk.errors import InvalidInputError
from jointrisk.learning.flower import (
    Array,
    ArrayRecord,
    ConfigRecord,
    MetricRecord,
    RecordDict,
    decode,
    encode,
    pack,
    run_number,
    values,
)

NAMES = st.text(max_size=200)
DTYPES = st.sampled_from(["f4", "f8", "f2", "i8", "u1", "?"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=40))
)


@given(ARRAYS)
def test_packed_array_is_flower_s_to_the_byte(array: np.ndarray) -> None:
    """And its values come back without a copy."""
    mine, flower = pack(array), Array(array)
    assert (mine.dtype, mine.shape, mine.stype, mine.data) == (flower.dtype, flower.shape, flower.stype, flower.data)
    assert np.array_equal(values(flower), array, equal_nan=array.dtype.kind == "f")
    assert values(mine).shape == array.shape
    assert not values(mine).flags.writeable


def test_fortran_order_comes_back_as_it_was() -> None:
    """Flower keeps the order in the bytes; we write C order."""
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    assert np.array_equal(values(Array(array)), array)
    assert np.array_equal(values(pack(array)), array)


@given(
    st.dictionaries(NAMES, st.dictionaries(NAMES, ARRAYS, max_size=3), max_size=3),
    st.dictionaries(NAMES, st.one_of(st.floats(), st.booleans(), st.binary(), st.lists(st.text()))),
    st.dictionaries(NAMES, st.integers(-(1 << 63), (1 << 63) - 1)),
)
def test_encoded_records_are_protobuf_s_to_the_byte(
    arrays: dict[str, dict[str, np.ndarray]],
    config: dict[str, float | bool | bytes | list[str]],
    metrics: dict[str, int],
) -> None:
    """Whoever reads the wire format with Flower or protobuf alone reads ours."""
    record = RecordDict(
        {f"a{name}": ArrayRecord({n: pack(v) for n, v in inner.items()}) for name, inner in arrays.items()}
    )
    record["config"] = ConfigRecord(config)  # type: ignore[arg-type]
    record["metrics"] = MetricRecord(metrics)  # type: ignore[arg-type]
    content = encode(record)
    assert content == recorddict_to_proto(record).SerializeToString(deterministic=True)
    assert encode(decode(content)) == content


@pytest.mark.parametrize("content", [b"\xff\xff", b"rubbish", b"\x0a\x05\x0a\x01a"])
def test_bytes_that_are_no_records_are_refused(content: bytes) -> None:
    """With our error, whatever protobuf raises."""
    with pytest.raises(InvalidInputError, match="Flower records"):
        decode(content)


@pytest.mark.parametrize(
    "array",
    [
        Array("float32", (2,), "numpy.ndarray", b""),
        Array("float32", (2,), "numpy.ndarray", b"rubbish"),
        Array("float32", (2,), "numpy.ndarray", pack(np.zeros(2)).data[:-1]),
        Array("float32", (2,), "pickle", pack(np.zeros(2)).data),
    ],
)
def test_array_that_is_no_array_is_refused(array: Array) -> None:
    """Cut short, rubbish, or of a serialisation that we never read."""
    with pytest.raises(InvalidInputError):
        values(array)


def test_objects_are_never_read() -> None:
    """A pickle in an array would be code."""
    head = b"\x93NUMPY\x01\x00"
    text = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    with pytest.raises(InvalidInputError):
        values(Array("object", (1,), "numpy.ndarray", head + len(text).to_bytes(2, "little") + text + bytes(8)))


def test_run_number_is_positive_and_stable() -> None:
    """Flower's run ids are signed 64-bit numbers; every party derives the same."""
    assert run_number("run-1") == run_number("run-1") != run_number("run-2")
    assert 0 <= run_number("run-1") < 1 << 63
