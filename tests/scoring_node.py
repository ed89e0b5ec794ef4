"""A node with an active model, as a daemon leaves it, and its scoring commands as people run them."""

import csv
import io
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jointrisk.federation.contract import FeatureContract
from jointrisk.federation.signing import public_bytes, sign_document
from jointrisk.learning.bundle import Facts, read_bundle
from jointrisk.learning.encoding import bucket_of
from jointrisk.statedir import StateDir
from jointrisk.store import AuditLog
from jointrisk_node.contracts import ContractLedger
from jointrisk_node.database import open_database
from jointrisk_node.membership.tables import ONLY_ROW, OwnMembership
from jointrisk_node.models import ModelLedger
from jointrisk_node.settings import FILE, load_settings
from model_sample import KEY, sample_bundle, sample_lineage

MODEL = sample_lineage().run_id
CODES = {"car": 0, "home": 1, "it's other": 2}
SOUND: list[dict[str, Any]] = [
    {"id": "a1", "income": 52_000.0, "purpose": "car", "branch": "north", "has_phone": 1},
    {"id": "a2", "income": None, "purpose": "it's other", "branch": "elsewhere", "has_phone": 0},
    {"id": "a3", "income": 500.0, "purpose": None, "branch": None, "has_phone": 1},
]


def node_that_scores(
    home: Path, contract: FeatureContract, facts: Facts, arrays: Mapping[str, Any] | None = None
) -> Path:
    """Make a node's state directory with a contract and an active model, as a daemon leaves it, and return it."""
    state = StateDir.create(home)
    state.write(FILE, b"[scoring]\npdo = 40\n")
    store = open_database(state, load_settings(state))
    with store.transaction() as session:
        session.add(_membership())
    audit = AuditLog(store)
    ContractLedger(store, public_bytes(KEY), audit).accept(sign_document("contract", contract.payload(), KEY), asked=0)
    data = sample_bundle(home.parent / "run", facts=facts, arrays=arrays)
    state.write(f"models/{MODEL}.bundle", data)
    ledger = ModelLedger(store, state.path("models"), audit)
    ledger.keep(read_bundle(data, public_bytes(KEY)))
    ledger.activate(MODEL)
    store.close()
    return home


def score(node: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `jointrisk node score`."""
    line = [sys.executable, "-m", "jointrisk.cli", "node", "--home", str(node), "score", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def points(node: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `jointrisk node models points`."""
    line = [sys.executable, "-m", "jointrisk.cli", "node", "--home", str(node), "models", "points"]
    line += map(str, arguments)
    return subprocess.run(line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def sound_rows() -> NDArray[np.float32]:
    """Return the sound applications as a scorer takes them."""
    rows = [
        [
            np.nan if row["income"] is None else row["income"],
            np.nan if row["purpose"] is None else CODES[str(row["purpose"])],
            np.nan if row["branch"] is None else bucket_of(str(row["branch"])),
            row["has_phone"],
        ]
        for row in SOUND
    ]
    return np.array(rows, dtype=np.float32)


def applications(path: Path, *more: str) -> Path:
    """Write the sound applications and more lines as CSV."""
    lines = ["id,income,purpose,branch,has_phone"]
    lines += [",".join("" if value is None else str(value) for value in row.values()) for row in SOUND]
    path.write_text("\n".join([*lines, *more]) + "\n")
    return path


def read_csv(text: str) -> list[dict[str, str]]:
    """Return the rows of a CSV text."""
    return list(csv.DictReader(io.StringIO(text)))


def _membership() -> OwnMembership:
    return OwnMembership(
        id=ONLY_ROW,
        federation="testing",
        member_id="alder",
        identity_key=bytes(32),
        coordinator_key=public_bytes(KEY),
        coordinator_address="localhost:1",
        ca_certificate=b"",
        invitation_id="0" * 32,
        joined_at=datetime(2026, 3, 1, tzinfo=UTC),
        first_changes=0,
        roster_version=1,
        roster_payload=b"",
        roster_signature=b"",
    )
