"""A small model under the sample contract, signed, and nodes that have it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from contract_sample import sample_contract
from jointrisk.federation.contract import FeatureContract
from jointrisk.federation.signing import Signed, sign_document
from jointrisk.learning.bundle import Facts, Lineage, Sign, Unsigned, read_unsigned, seal, write_unsigned
from jointrisk.learning.encoding import CategoryEncoding, Encoding, FlagEncoding, NumericEncoding, bucket_of

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
EDGES = tuple(float(edge) for edge in np.linspace(0, 100_000, 17, dtype=np.float32))
Arrays = dict[str, NDArray[np.float32]]


def sample_encoding() -> Encoding:
    """Return an encoding of the sample contract's features: one looked up, three multiplied out."""
    buckets = tuple(sorted({bucket_of("north"), bucket_of("south")}))
    return Encoding(
        features=(
            NumericEncoding(name="income", missing=True, edges=EDGES),
            CategoryEncoding(name="purpose", missing=True, hashed=False, kept=(0, 2), other=True),
            CategoryEncoding(name="branch", missing=True, hashed=True, kept=buckets, other=True),
            FlagEncoding(name="has_phone", missing=False),
        )
    )


def sample_arrays(width: int, *, networks: int = 3, hidden: tuple[int, ...] = (8, 8), seed: int = 1) -> Arrays:
    """Return weights of networks with hidden layers; none makes a scorecard."""
    generator = np.random.default_rng(seed)
    widths = [width, *hidden, 1]
    arrays: Arrays = {}
    for network in range(networks):
        for layer, (inputs, outputs) in enumerate(pairwise(widths)):
            weight = generator.normal(size=(outputs, inputs)) / np.sqrt(inputs)
            arrays[f"seed{network}/{layer}.weight"] = weight.astype(np.float32)
            arrays[f"seed{network}/{layer}.bias"] = generator.normal(size=outputs).astype(np.float32)
    return arrays


def sample_pairs(width: int, *, networks: int = 2, rank: int = 3, seed: int = 1) -> Arrays:
    """Return weights of additive models with pairs."""
    generator = np.random.default_rng(seed)
    arrays: Arrays = {}
    for network in range(networks):
        for name, shape in (("main.weight", (1, width)), ("main.bias", (1,)), ("pairs.weight", (rank, width))):
            arrays[f"seed{network}/{name}"] = (generator.normal(size=shape) / 2).astype(np.float32)
    return arrays


def sample_rows(count: int, seed: int = 3) -> NDArray[np.float32]:
    """Return rows of the sample contract: every kind of value, a tenth missing, some far outside of the edges."""
    generator = np.random.default_rng(seed)
    rows = np.stack(
        [
            generator.uniform(-50_000, 200_000, count),
            generator.integers(0, 3, count),
            generator.integers(0, 4096, count),
            generator.integers(0, 2, count),
        ],
        axis=1,
    ).astype(np.float32)
    rows[: len(EDGES), 0] = EDGES[: len(rows)]
    rows[-1, 0], rows[-2, 0] = np.float32(3e38), np.float32(-3e38)
    kept = sample_encoding().features[2].kept  # type: ignore[union-attr]
    rows[::5, 2] = generator.choice(kept, len(rows[::5]))
    rows[:, :3][generator.random((count, 3)) < 0.1] = np.nan
    return rows


def sample_facts(contract: FeatureContract | None = None, **changes: Any) -> Facts:
    """Return what a worker would say of the sample model."""
    terms = contract or sample_contract()
    said = {
        "contract_version": terms.version,
        "contract_digest": terms.digest(),
        "encoding": json.loads(sample_encoding().payload()),
        "architecture": "mlp",
        "settings": {"average": "log odds"},
        "metrics": {"auc": 0.75, "log_loss": 0.25},
        "task": "default_model",
        "strategy": "fedavg",
        "rounds": 5,
        "best_round": 4,
        "code_version": "0.1.0+0123456789abcdef",
    }
    return Facts.model_validate(said | changes)


def explained_facts(contract: FeatureContract | None = None) -> Facts:
    """Return the same of a model that can tell reasons."""
    means = sample_encoding().encode(sample_rows(500)).astype(np.float64).mean(axis=0).round(9)
    return sample_facts(contract, settings={"average": "log odds", "means": means.tolist()})


def sample_lineage(run_id: str = "default-model-20260301-abcdef") -> Lineage:
    """Return a run of three members."""
    started = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return Lineage(run_id=run_id, members=("alder", "birch", "cedar"), started_at=started)


def leave_unsigned(folder: Path, facts: Facts | None = None, arrays: Mapping[str, Any] | None = None) -> None:
    """Leave a run's result in its folder, as its worker would."""
    folder.mkdir(parents=True, exist_ok=True)
    write_unsigned(folder, facts or sample_facts(), arrays or sample_arrays(sample_encoding().width))


def signer(key: Ed25519PrivateKey = KEY) -> Sign:
    """Return what signs documents with a key."""

    def sign(kind: str, payload: bytes) -> Signed:
        return sign_document(kind, payload, key)

    return sign


def unsigned(folder: Path, facts: Facts | None = None, arrays: Mapping[str, Any] | None = None) -> Unsigned:
    """Return a run's result, written and read."""
    leave_unsigned(folder, facts, arrays)
    found = read_unsigned(folder)
    assert found is not None
    return found


def sample_bundle(folder: Path, key: Ed25519PrivateKey = KEY, **more: Any) -> bytes:
    """Return a signed bundle."""
    lineage = sample_lineage(more.pop("run_id", sample_lineage().run_id))
    return seal(lineage.run_id, unsigned(folder, **more), lineage, signer(key))
