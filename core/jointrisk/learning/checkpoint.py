"""What a run's worker needs to go on after a complete round: one safetensors file, its header in JSON, never pickle."""

import hashlib
import json
import math
import random
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jointrisk import durable
from jointrisk.canonical import canonical_json
from jointrisk.errors import CorruptError, VersionMismatchError
from jointrisk.learning.flower import ArrayRecord, pack, values
from jointrisk.learning.tasks import Done, Finished

Arrays = dict[str, NDArray[np.generic]]
_FORMAT = "jointrisk checkpoint 3"
_ARRAYS, _STRATEGY, _DONE, _PREPARED = "arrays/", "strategy/", "done/", "prepared"


@dataclass(frozen=True)
class RandomState:
    """The states of the generators that strategies draw from: Python's and numpy's global ones."""

    python: Any
    numpy: Any

    @classmethod
    def seeded(cls, seed: int) -> "RandomState":
        """Return the states that a seed gives."""
        numpy_state = np.random.RandomState(seed % (1 << 32)).get_state(legacy=False)
        return cls(random.Random(seed).getstate(), numpy_state)  # noqa: S311 - samples members, keeps no secret

    @classmethod
    def capture(cls) -> "RandomState":
        """Return the present states."""
        return cls(random.getstate(), np.random.get_state(legacy=False))  # noqa: NPY002

    def restore(self) -> None:
        """Put the generators into these states."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002

    def to_json(self) -> dict[str, Any]:
        """Return the states as JSON values."""
        version, numbers, gauss = self.python
        inner = {**self.numpy, "state": {**self.numpy["state"], "key": self.numpy["state"]["key"].tolist()}}
        return {"python": [version, list(numbers), gauss], "numpy": inner}

    @classmethod
    def from_json(cls, states: dict[str, Any]) -> "RandomState":
        """Return what :meth:`to_json` wrote."""
        version, numbers, gauss = states["python"]
        inner = states["numpy"]
        key = np.asarray(inner["state"]["key"], dtype=np.uint32)
        return cls((version, tuple(numbers), gauss), {**inner, "state": {**inner["state"], "key": key}})


@dataclass(frozen=True)
class Best:
    """The best round so far.

    Attributes:
        number: the round.
        value: its metric, the smaller the better.
        arrays_sha256: digest of its arrays, hex.
    """

    number: int
    value: float
    arrays_sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """The state after a complete round, or, as round 0, after the preparation.

    Attributes:
        number: the round.
        arrays: the model.
        random: the generators.
        strategy: the strategy's own state.
        best: the best round so far; None without evaluation.
        metrics: of this round.
        prepared: what the preparation came to; sent with every round.
        stage: the stage that the round belongs to; empty before the first.
        began: the last round before that stage.
        done: the stages before.
    """

    number: int
    arrays: ArrayRecord
    random: RandomState
    strategy: Arrays = field(default_factory=dict)
    best: Best | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    prepared: bytes = b""
    stage: str = ""
    began: int = 0
    done: Done = field(default_factory=dict)

    @property
    def rounds(self) -> int:
        """How many rounds of its stage are complete."""
        return self.number - self.began

    @property
    def arrays_sha256(self) -> str:
        """Digest of names, types, shapes and values of the arrays, hex."""
        return digest(self.arrays)

    @property
    def strategy_sha256(self) -> str:
        """Digest of the strategy's state, hex."""
        return digest(ArrayRecord({name: pack(value) for name, value in sorted(self.strategy.items())}))


def digest(arrays: ArrayRecord) -> str:
    """Return the SHA-256 over names, types, shapes and values, in their order, hex."""
    total = hashlib.sha256()
    for name, array in arrays.items():
        total.update(json.dumps([name, array.dtype, list(array.shape)]).encode())
        total.update(np.ascontiguousarray(values(array)).data)
    return total.hexdigest()


def checkpoint_path(folder: Path, number: int) -> Path:
    """Return where a round's checkpoint lies."""
    return folder / f"round-{number:06d}.safetensors"


def save(folder: Path, checkpoint: Checkpoint) -> str:
    """Write a checkpoint, durably, and return the digest of its arrays."""
    path = checkpoint_path(folder, checkpoint.number)
    arrays = {name: values(array) for name, array in checkpoint.arrays.items()}
    arrays_sha256 = digest(checkpoint.arrays)
    header = {
        "format": _FORMAT,
        "round": checkpoint.number,
        "order": list(arrays),
        "arrays_sha256": arrays_sha256,
        "strategy_sha256": checkpoint.strategy_sha256,
        "random": checkpoint.random.to_json(),
        "best": None if checkpoint.best is None else asdict(checkpoint.best),
        "metrics": {name: value for name, value in checkpoint.metrics.items() if math.isfinite(value)},
        "prepared_sha256": hashlib.sha256(checkpoint.prepared).hexdigest(),
        "stage": checkpoint.stage,
        "began": checkpoint.began,
        "done": [_said(name, stage) for name, stage in checkpoint.done.items()],
    }
    header["header_sha256"] = _header_digest(header)
    tensors = {_ARRAYS + name: np.asarray(value, order="C") for name, value in arrays.items()}
    tensors |= {_STRATEGY + name: np.asarray(value, order="C") for name, value in checkpoint.strategy.items()}
    tensors |= {
        f"{_DONE}{stage}/{name}": np.asarray(values(array), order="C")
        for stage, finished in checkpoint.done.items()
        for name, array in finished.arrays.items()
    }
    tensors[_PREPARED] = np.frombuffer(checkpoint.prepared, dtype=np.uint8)
    scratch = path.with_suffix(".new")
    save_file(tensors, scratch, metadata={"jointrisk": json.dumps(header)})
    scratch.chmod(durable.MODE)
    durable.move(scratch, path)
    return arrays_sha256


def load(folder: Path, number: int, arrays_sha256: str) -> Checkpoint:
    """Read a checkpoint back.

    Args:
        folder: where checkpoints lie.
        number: the round.
        arrays_sha256: the digest that the database has for it.

    Raises:
        CorruptError: the file is missing or is not what was written.
    """
    path = checkpoint_path(folder, number)
    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {})["jointrisk"])
            tensors: Arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CorruptError(f"checkpoint of round {number}: expected a checkpoint, got {type(error).__name__}") from None
    if header.pop("header_sha256", "") != _header_digest(header):
        raise CorruptError(f"checkpoint of round {number}: its header is not what was written")
    if header["format"] != _FORMAT:
        raise VersionMismatchError(
            f'checkpoint of round {number}: expected the format "{_FORMAT}", got another version\'s',
            remedy="Finish the run with the version that began it, or start it anew.",
        )
    checkpoint = Checkpoint(
        number=header["round"],
        arrays=ArrayRecord({name: pack(tensors[_ARRAYS + name]) for name in header["order"]}),
        random=RandomState.from_json(header["random"]),
        strategy={n.removeprefix(_STRATEGY): v for n, v in tensors.items() if n.startswith(_STRATEGY)},
        best=None if header["best"] is None else Best(**header["best"]),
        metrics=header["metrics"],
        prepared=tensors[_PREPARED].tobytes(),
        stage=header["stage"],
        began=header["began"],
        done={said["stage"]: _finished(said, tensors, number) for said in header["done"]},
    )
    if checkpoint.number != number or checkpoint.arrays_sha256 != arrays_sha256:
        raise CorruptError(f"checkpoint of round {number}: its arrays are not those of the completed round")
    if checkpoint.strategy_sha256 != header["strategy_sha256"]:
        raise CorruptError(f"checkpoint of round {number}: the strategy's state is not what was written")
    if hashlib.sha256(checkpoint.prepared).hexdigest() != header["prepared_sha256"]:
        raise CorruptError(f"checkpoint of round {number}: the preparation's outcome is not what was written")
    return checkpoint


def _said(name: str, stage: Finished) -> dict[str, Any]:
    """Return what a header says of a stage that has ended."""
    return {
        "stage": name,
        "rounds": stage.rounds,
        "number": stage.number,
        "metrics": {name: value for name, value in stage.metrics.items() if math.isfinite(value)},
        "order": list(stage.arrays),
        "arrays_sha256": digest(stage.arrays),
    }


def _finished(said: dict[str, Any], tensors: Arrays, number: int) -> Finished:
    arrays = ArrayRecord({name: pack(tensors[f"{_DONE}{said['stage']}/{name}"]) for name in said["order"]})
    if digest(arrays) != said["arrays_sha256"]:
        raise CorruptError(f"checkpoint of round {number}: a stage's arrays are not what was written")
    return Finished(said["rounds"], said["number"], said["metrics"], arrays)


def _header_digest(header: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(header)).hexdigest()


def prune(folder: Path, keep: set[int]) -> None:
    """Delete every checkpoint but those of the rounds in ``keep``."""
    wanted = {checkpoint_path(folder, number) for number in keep}
    for path in folder.glob("round-*"):
        if path not in wanted:
            path.unlink(missing_ok=True)
