"""Loan books under the sample contract that a shared model knows, or knows nothing of."""

from pathlib import Path
from typing import Any

import numpy as np

from contract_sample import sample_contract
from jointrisk.federation.signing import public_bytes
from jointrisk.learning.bundle import Bundle, read_bundle
from jointrisk.learning.encoding import Rows, bucket_of
from jointrisk.learning.local import Local
from jointrisk.learning.scoring import probability
from jointrisk.learning.tasks import MemberData
from model_sample import KEY, sample_bundle, sample_encoding, sample_facts

BRANCHES = ("north", "south", "west")


def sample_model(folder: Path, **facts: Any) -> Bundle:
    """Return the sample model, read."""
    run_id = str(facts.pop("run_id", "model-a"))
    return read_bundle(sample_bundle(folder, run_id=run_id, facts=sample_facts(**facts)), public_bytes(KEY))


def knowing_bytes(folder: Path, scale: float = 1.0, offset: float = 0.0, run_id: str = "model-a") -> bytes:
    """Return a scorecard whose log odds are those by which `own_book` draws its labels, scaled and moved; signed."""
    weight = np.zeros((1, sample_encoding().width), dtype=np.float32)
    # Sixteen bins of income; the phone comes last.
    weight[0, :16], weight[0, -1] = -5 * scale / 16, scale
    arrays = {"seed0/0.weight": weight, "seed0/0.bias": np.array([2 * scale + offset], dtype=np.float32)}
    return sample_bundle(folder, run_id=run_id, facts=sample_facts(architecture="scorecard"), arrays=arrays)


def knowing_model(folder: Path, scale: float = 1.0, offset: float = 0.0, run_id: str = "model-a") -> Bundle:
    """Return what `knowing_bytes` makes, read."""
    return read_bundle(knowing_bytes(folder, scale, offset, run_id), public_bytes(KEY))


def sample_rows(count: int = 2000, seed: int = 1) -> Rows:
    """Return rows under the sample contract."""
    rng = np.random.default_rng(seed)
    buckets = np.array([bucket_of(word) for word in BRANCHES])
    columns = (rng.uniform(0, 1e5, count), rng.integers(0, 3, count), rng.choice(buckets, count))
    return np.stack([*columns, rng.integers(0, 2, count)], axis=1).astype(np.float32)


def own_book(count: int = 2000, seed: int = 1) -> MemberData:
    """Return a book whose risk falls with income and is higher with a phone."""
    rows = sample_rows(count, seed)
    odds = 2 - rows[:, 0].astype(np.float64) / 2e4 + rows[:, 3]
    return MemberData(rows, _drawn(odds, seed))


def own_model(book: MemberData | None = None) -> Local:
    """Return a model fitted to a book."""
    return Local.fit(sample_contract(), book or own_book(600), seed=1)


def _drawn(
    log_odds: "np.ndarray[tuple[int], np.dtype[np.float64]]", seed: int
) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    draws = np.random.default_rng(seed + 1000).random(len(log_odds))
    return np.asarray(draws < probability(log_odds)).astype(np.uint8)
