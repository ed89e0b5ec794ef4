"""Model bundles: the same run gives the same bytes, and no byte of one can change unnoticed."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save

from jointrisk.canonical import canonical_json
from jointrisk.errors import CorruptError, InvalidInputError, JointriskError, UnauthenticatedError, VersionMismatchError
from jointrisk.federation.signing import public_bytes, sign_document
from jointrisk.learning.bundle import Unsigned, read_bundle, read_unsigned, seal
from model_sample import (
    KEY,
    OTHER_KEY,
    leave_unsigned,
    sample_arrays,
    sample_bundle,
    sample_encoding,
    sample_facts,
    sample_lineage,
    signer,
)

PUBLIC = public_bytes(KEY)


@pytest.fixture
def small(tmp_path: Path) -> bytes:
    """A bundle of a scorecard: a few kilobytes."""
    arrays = sample_arrays(sample_encoding().width, hidden=(), networks=1)
    return sample_bundle(tmp_path / "run", facts=sample_facts(architecture="scorecard"), arrays=arrays)


def test_what_was_sealed_is_read_back(tmp_path: Path) -> None:
    """Facts, lineage and every weight."""
    arrays = sample_arrays(sample_encoding().width)
    bundle = read_bundle(sample_bundle(tmp_path, arrays=arrays), PUBLIC)
    assert bundle.manifest.facts == sample_facts()
    assert bundle.manifest.lineage == sample_lineage()
    assert bundle.manifest.facts.privacy.aggregation == "plain"
    assert set(bundle.arrays) == set(arrays)
    assert all(np.array_equal(bundle.arrays[name], value) for name, value in arrays.items())


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the order in which the arrays come."""
    arrays = sample_arrays(sample_encoding().width)
    turned = dict(reversed(arrays.items()))
    assert sample_bundle(tmp_path / "a", arrays=arrays) == sample_bundle(tmp_path / "b", arrays=turned)


def test_every_changed_byte_is_refused(small: bytes) -> None:
    """At every offset: as damaged, or as not signed by the coordinator."""
    read_bundle(small, PUBLIC)
    for place in range(len(small)):
        changed = bytearray(small)
        changed[place] ^= 1 << (place % 8)
        with pytest.raises((CorruptError, UnauthenticatedError)):
            read_bundle(bytes(changed), PUBLIC)


def test_every_shortened_or_lengthened_bundle_is_refused(small: bytes) -> None:
    """Cut off anywhere, or with something behind it."""
    for length in range(len(small)):
        with pytest.raises((CorruptError, UnauthenticatedError)):
            read_bundle(small[:length], PUBLIC)
    with pytest.raises(CorruptError, match="tensors are not those of its manifest"):
        read_bundle(small + b"\0", PUBLIC)


def test_another_signer_is_refused(tmp_path: Path) -> None:
    """A whole and well-formed bundle, signed with a key that is not the pinned one."""
    with pytest.raises(UnauthenticatedError, match="not signed with the coordinator's pinned key"):
        read_bundle(sample_bundle(tmp_path, OTHER_KEY), PUBLIC)


def test_a_signature_for_another_kind_of_document_is_refused(tmp_path: Path) -> None:
    """The coordinator's signature over the same bytes as a contract says nothing about a model."""
    leave_unsigned(tmp_path)
    found = read_unsigned(tmp_path)
    assert found is not None
    data = seal("m", found, sample_lineage(), lambda _kind, payload: sign_document("contract", payload, KEY))
    with pytest.raises(UnauthenticatedError):
        read_bundle(data, PUBLIC)


def test_a_later_layout_is_refused_readably(small: bytes) -> None:
    """Signed, but of a format that this software does not know."""
    payload = read_bundle(small, PUBLIC).manifest.model_dump(mode="json") | {"format": 2, "new": True}
    with pytest.raises(VersionMismatchError, match="another layout than 1"):
        read_bundle(_assembled(canonical_json(payload), small), PUBLIC)


def test_a_signed_manifest_that_breaks_its_rules_is_refused(small: bytes) -> None:
    """An unknown field, and a form that is not canonical."""
    payload = read_bundle(small, PUBLIC).manifest.model_dump(mode="json")
    for bad in (canonical_json(payload | {"extra": 1}), canonical_json(payload) + b"\n", b"[]", b"\xff"):
        with pytest.raises(CorruptError):
            read_bundle(_assembled(bad, small), PUBLIC)


class _Trap:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self._path,))


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    """Even signed by the coordinator it is no bundle's content, and nothing of it runs."""
    trap = tmp_path / "sprung"
    data = seal("m", Unsigned(sample_facts(), pickle.dumps(_Trap(trap))), sample_lineage(), signer())
    with pytest.raises(CorruptError, match="cannot be read"):
        read_bundle(data, PUBLIC)
    assert not trap.exists()
    pickle.loads(pickle.dumps(_Trap(trap)))  # noqa: S301 - the trap works
    assert trap.exists()


BAD = [
    np.ones(1, np.float16),
    np.ones(1, np.bool_),
    np.full(1, np.nan, np.float32),
    np.full(1, np.inf),
    np.ones(1, "u4"),
]


@pytest.mark.parametrize("bad", BAD)
def test_only_finite_numbers_of_known_types_pass(bad: NDArray[np.generic]) -> None:
    """Other types and numbers are refused, signed or not."""
    data = seal("m", Unsigned(sample_facts(), save({"a": bad})), sample_lineage(), signer())
    with pytest.raises(CorruptError, match="finite numbers of the types"):
        read_bundle(data, PUBLIC)


def test_arrays_keep_their_types(tmp_path: Path) -> None:
    """Those of trees are of four types; a type that no model has is not written."""
    kept = {kind: np.array([0, 200, 7], dtype=kind) for kind in ("float32", "float64", "int32", "int64", "uint8")}
    found = read_bundle(sample_bundle(tmp_path / "run", arrays=kept), PUBLIC).arrays
    assert {name: (str(value.dtype), value.tolist()) for name, value in found.items()} == {
        kind: (kind, [0, 200, 7]) for kind in kept
    }
    with pytest.raises(InvalidInputError, match="of the types"):
        leave_unsigned(tmp_path / "other", arrays={"a": np.ones(1, np.complex64)})


def test_what_a_run_left_is_verified(tmp_path: Path) -> None:
    """Nothing there, tensors of another run, half a file."""
    assert read_unsigned(tmp_path) is None
    leave_unsigned(tmp_path)
    for name in ("model.safetensors", "model.json"):
        good = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(good[: len(good) // 2])
        with pytest.raises(JointriskError):
            read_unsigned(tmp_path)
        (tmp_path / name).write_bytes(good)
    assert read_unsigned(tmp_path) is not None


def _assembled(payload: bytes, small: bytes) -> bytes:
    """Return a bundle with another manifest, rightly signed, and the tensors of ``small``."""
    magic = b"jointrisk model bundle\n"
    length = int.from_bytes(small[len(magic) : len(magic) + 4], "big")
    tensors = small[len(magic) + 4 + length + 64 :]
    signature = sign_document("model", payload, KEY).signature
    return magic + len(payload).to_bytes(4, "big") + payload + signature + tensors
