"""Checkpoints: all that is needed to go on, and nothing that was tampered with."""

# ruff: noqa: NPY002, S311 - the global generators are what Flower's strategies draw from

import json
import random
from pathlib import Path

import numpy as np
import pytest

from jointrisk.errors import CorruptError
from jointrisk.learning import checkpoint as checkpoints
from jointrisk.learning.checkpoint import Best, Checkpoint, RandomState
from jointrisk.learning.flower import Array, ArrayRecord


def sample(number: int = 3) -> Checkpoint:
    """Return a checkpoint with arrays of several shapes and types, their order not alphabetical."""
    arrays = {
        "z": Array(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "a": Array(np.array(7, dtype=np.int64)),
        "m": Array(np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3))),
    }
    strategy: checkpoints.Arrays = {"m_t/z": np.ones((2, 3), dtype=np.float32)}
    best = Best(2, 0.25, "ab" * 32)
    metrics = {"auc": 0.75}
    return Checkpoint(number, ArrayRecord(arrays), RandomState.seeded(5), strategy, best, metrics, b"prepared")


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    """Arrays with their order, the strategy's state, the best round, what was prepared, all to the bit."""
    written = sample()
    arrays_sha256 = checkpoints.save(tmp_path, written)
    read = checkpoints.load(tmp_path, 3, arrays_sha256)
    assert list(read.arrays) == ["z", "a", "m"]
    assert read.arrays_sha256 == written.arrays_sha256 == arrays_sha256
    assert np.array_equal(read.strategy["m_t/z"], written.strategy["m_t/z"])
    assert (read.best, read.metrics, read.prepared) == (written.best, {"auc": 0.75}, b"prepared")
    assert list(tmp_path.iterdir()) == [checkpoints.checkpoint_path(tmp_path, 3)]


def test_generators_go_on_where_they_were(tmp_path: Path) -> None:
    """Python's and numpy's generators draw the same after a restart as without one."""
    RandomState.seeded(11).restore()
    random.random()
    np.random.random(3)
    state = RandomState.capture()
    expected = (random.random(), np.random.random(3).tolist())
    saved = Checkpoint(1, sample().arrays, RandomState.from_json(json.loads(json.dumps(state.to_json()))))
    digest = checkpoints.save(tmp_path, saved)
    random.seed(99)
    np.random.seed(99)
    checkpoints.load(tmp_path, 1, digest).random.restore()
    assert (random.random(), np.random.random(3).tolist()) == expected


def test_digest_tells_names_types_shapes_and_values_apart() -> None:
    """Two models with the same bytes but another meaning have other digests."""
    values = np.arange(6, dtype=np.float32)
    digests = {
        checkpoints.digest(ArrayRecord({name: Array(array)}))
        for name, array in [
            ("w", values),
            ("v", values),
            ("w", values.reshape(2, 3)),
            ("w", values.view(np.int32)),
            ("w", values + 1),
        ]
    }
    assert len(digests) == 5


@pytest.mark.parametrize("place", [8, 600, -1])
def test_tampered_byte_is_found(tmp_path: Path, place: int) -> None:
    """A changed byte, in the header or in the arrays, is not trained on."""
    digest = checkpoints.save(tmp_path, Checkpoint(3, sample().arrays, RandomState.seeded(5)))
    path = checkpoints.checkpoint_path(tmp_path, 3)
    content = bytearray(path.read_bytes())
    content[place] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(CorruptError):
        checkpoints.load(tmp_path, 3, digest)


def test_missing_checkpoint_is_said_to_be_missing(tmp_path: Path) -> None:
    """Not an unforeseen error."""
    with pytest.raises(CorruptError, match="round 4"):
        checkpoints.load(tmp_path, 4, "0" * 64)


def test_only_wanted_rounds_are_kept(tmp_path: Path) -> None:
    """The last two and the best; half-written ones go as well."""
    for number in range(1, 6):
        checkpoints.save(tmp_path, sample(number))
    (tmp_path / "round-000005.new").write_bytes(b"half")
    checkpoints.prune(tmp_path, {2, 4, 5})
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"round-00000{n}.safetensors" for n in (2, 4, 5)]
