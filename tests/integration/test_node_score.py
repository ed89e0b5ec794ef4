"""``jointrisk node score`` as people run it: files, a real PostgreSQL, broken rows, and no value in any message."""

import csv
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from contract_sample import grouped_contract, sample_contract
from jointrisk.federation.contract import FeatureContract
from jointrisk.federation.signing import public_bytes, sign_document
from jointrisk.learning.bundle import Facts, read_bundle
from jointrisk.learning.encoding import bucket_of
from jointrisk.learning.reasons import Code, reasons
from jointrisk.learning.scoring import Scorer, probability
from jointrisk.statedir import StateDir
from jointrisk.store import AuditLog
from jointrisk_node.contracts import ContractLedger
from jointrisk_node.database import open_database
from jointrisk_node.membership.tables import ONLY_ROW, OwnMembership
from jointrisk_node.models import ModelLedger
from jointrisk_node.settings import FILE, load_settings
from model_sample import (
    KEY,
    explained_facts,
    sample_arrays,
    sample_bundle,
    sample_encoding,
    sample_facts,
    sample_lineage,
)
from postgres import private_postgres

SECRET = "Zhang-110101199003070011"
MODEL = sample_lineage().run_id
CODES = {"car": 0, "home": 1, "it's other": 2}
SOUND: list[dict[str, Any]] = [
    {"id": "a1", "income": 52_000.0, "purpose": "car", "branch": "north", "has_phone": 1},
    {"id": "a2", "income": None, "purpose": "it's other", "branch": "elsewhere", "has_phone": 0},
    {"id": "a3", "income": 500.0, "purpose": None, "branch": None, "has_phone": 1},
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node's state directory with a contract and an active model, as a daemon leaves it."""
    return _node(tmp_path_factory.mktemp("scoring") / "node", sample_contract(), sample_facts())


@pytest.fixture(scope="module")
def explaining(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a model that can tell reasons, under a contract with several groups of features."""
    contract = grouped_contract()
    return _node(tmp_path_factory.mktemp("reasons") / "node", contract, explained_facts(contract))


def _node(home: Path, contract: FeatureContract, facts: Facts, arrays: Mapping[str, Any] | None = None) -> Path:
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


def _score(node: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "jointrisk.cli", "node", "--home", str(node), "score", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def _rows() -> NDArray[np.float32]:
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


def _points(node: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "jointrisk.cli", "node", "--home", str(node), "models", "points"]
    line += map(str, arguments)
    return subprocess.run(line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def _expected(tmp_path: Path) -> list[float]:
    bundle = read_bundle(sample_bundle(tmp_path / "again"), public_bytes(KEY))
    return list(probability(Scorer.from_bundle(bundle).log_odds(_rows())))


def _codes(tmp_path: Path, count: int) -> list[tuple[Code, ...]]:
    contract = grouped_contract()
    data = sample_bundle(tmp_path / "again", facts=explained_facts(contract))
    found = Scorer.from_bundle(read_bundle(data, public_bytes(KEY))).contributions(_rows())
    return [reasons(contract, row, count) for row in found.values]


def _csv(path: Path, *more: str) -> Path:
    lines = ["id,income,purpose,branch,has_phone"]
    lines += [",".join("" if value is None else str(value) for value in row.values()) for row in SOUND]
    path.write_text("\n".join([*lines, *more]) + "\n")
    return path


def _read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_parquet_and_postgresql_give_the_models_scores(node: Path, tmp_path: Path) -> None:
    """The same three applications from three kinds of places: the same probabilities, points and bands."""
    expected = _expected(tmp_path)
    pq.write_table(pa.Table.from_pylist(SOUND), tmp_path / "loans.parquet")
    sources: list[list[object]] = [[_csv(tmp_path / "loans.csv")], [tmp_path / "loans.parquet"]]
    with private_postgres() as url:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE loans (id text, income float8, purpose text, branch text, has_phone int)")
            for row in SOUND:
                connection.execute("INSERT INTO loans VALUES (%s, %s, %s, %s, %s)", list(row.values()))
        sources.append([url, "--query", "SELECT * FROM loans ORDER BY id"])
        results = [_score(node, *source, "--keep", "id") for source in sources]
    for done in results:
        assert done.returncode == 0, done.stderr
        found = _read(done.stdout)
        assert [(row["row"], row["id"], row["reason"]) for row in found] == [
            (str(place + 1), f"a{place + 1}", "") for place in range(3)
        ]
        assert [float(row["pd"]) for row in found] == pytest.approx(expected, abs=1e-6)
        odds = [(1 - pd) / pd for pd in expected]
        assert [int(row["points"]) for row in found] == [
            round(600 + 40 / np.log(2) * (np.log(one) - np.log(50))) for one in odds
        ]
        assert {row["band"] for row in found} <= {"A", "B", "C", "D", "E"}
        assert done.stderr == f"3 of 3 rows scored with {MODEL}\n"


def test_broken_rows_come_back_with_the_reason_and_the_others_scored(node: Path, tmp_path: Path) -> None:
    """Column, rule and what was expected; the cell itself is nowhere."""
    broken = [f"b1,{SECRET},car,north,1", f"b2,-5,{SECRET},north,", "b3,1,car,north,0"]
    out = tmp_path / "scores.csv"
    done = _score(node, _csv(tmp_path / "loans.csv", *broken), "--out", out, "--keep", "id", "--json")
    assert done.returncode == 0, done.stderr
    rows = _read(out.read_text())
    assert [row["id"] for row in rows] == ["a1", "a2", "a3", "b1", "b2", "b3"]
    assert [bool(row["pd"]) for row in rows] == [True, True, True, False, False, True]
    assert [(row["points"], row["band"]) for row in rows[3:5]] == [("", ""), ("", "")]
    assert rows[3]["reason"] == "income: not a number (expected a number)"
    assert rows[4]["reason"] == (
        "income: out of range (expected 0 to 1000000); "
        "purpose: category not allowed (expected one of the contract's categories); "
        "has_phone: missing value (expected a value in every row)"
    )
    report = json.loads(done.stdout)
    assert (report["rows"], report["scored"]) == (6, 4)
    assert {"column": "income", "rule": "not a number", "rows": 1} in report["breaches"]
    assert sum(report["bands"].values()) == 4
    assert SECRET not in done.stdout + done.stderr + out.read_text()
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_line_that_is_no_row_comes_back_too(node: Path, tmp_path: Path) -> None:
    """Too few cells: the line keeps its number, and those after it theirs. Compressed files too."""
    path = _csv(tmp_path / "loans.csv", f"{SECRET},1", "b2,1,car,north,0", "b3,1")
    packed = tmp_path / "loans.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for source in (path, packed):
        done = _score(node, source, "--keep", "id")
        assert done.returncode == 0, done.stderr
        rows = _read(done.stdout)
        assert [row["row"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
        assert [row["id"] for row in rows] == ["a1", "a2", "a3", "", "b2", ""]
        assert [row["reason"] for row in rows] == ["", "", "", "unreadable row", "", "unreadable row"]
        assert SECRET not in done.stdout + done.stderr


def test_lines_whose_place_cannot_be_told_are_refused(node: Path, tmp_path: Path) -> None:
    """A cell with a line end moves rows against lines: the file is refused and nothing is written."""
    path = _csv(tmp_path / "loans.csv", 'b1,1,car,"no\nrth",0', f"{SECRET},1")
    out = tmp_path / "scores.csv"
    done = _score(node, path, "--out", out)
    assert done.returncode == 2
    assert "1 lines of" in done.stderr
    assert SECRET not in done.stderr
    assert not out.exists()


def test_parquet_comes_out_with_types(node: Path, tmp_path: Path) -> None:
    """Whole numbers, nulls where there is no score, columns carried along as they were."""
    rows = [*SOUND, {"id": "b1", "income": -1.0, "purpose": "car", "branch": "north", "has_phone": 1}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "loans.parquet")
    done = _score(
        node, tmp_path / "loans.parquet", "--out", tmp_path / "out.parquet", "--keep", "ID", "--keep", "income"
    )
    assert done.returncode == 0, done.stderr
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.names == ["row", "ID", "income", "pd", "points", "band", "reason"]
    assert [str(kind) for kind in table.schema.types] == [
        "int64", "string", "double", "double", "int32", "string", "string",
    ]  # fmt: skip
    assert table.column("income").to_pylist() == [52_000.0, None, 500.0, -1.0]
    assert table.column("pd").null_count == 1
    assert "1 without a score: income: out of range" in done.stderr


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_reasons_are_columns(explaining: Path, tmp_path: Path, ending: str) -> None:
    """Each row's strongest groups in both languages, as far as there are any; none of a row without a score."""
    out, broken = tmp_path / f"scores.{ending}", "b1,-5,car,north,1"
    done = _score(explaining, _csv(tmp_path / "loans.csv", broken), "--out", out, "--reasons", 3, "--keep", "id")
    assert done.returncode == 0, done.stderr
    table = pq.read_table(out) if ending == "parquet" else pa.csv.read_csv(out)
    names = [f"reason_{number}{part}" for number in (1, 2, 3) for part in ("", "_en", "_zh")]
    assert table.schema.names == ["row", "id", "pd", "points", "band", "reason", *names]
    found, expected = table.select(names).to_pylist(), _codes(tmp_path, 3)
    assert {len(codes) for codes in expected} >= {1}
    for row, codes in zip(found, [*expected, ()], strict=True):
        told = [cell for code in codes for cell in (code.group, code.text.en, code.text.zh)]
        assert [row[name] or None for name in names] == told + [None] * (9 - len(told))
    assert "Because of has_phone" not in str(found)
    assert any("原因" in str(row["reason_1_zh"]) for row in found)


def test_reasons_that_cannot_be_told_are_refused(node: Path, explaining: Path, tmp_path: Path) -> None:
    """A model of before there were means, more than ten, and a column to keep that has a reason's name."""
    good = _csv(tmp_path / "loans.csv")
    for home, arguments, code, said in (
        (node, ("--reasons", 1), 5, "Score without reasons"),
        (explaining, ("--reasons", 11), 2, "11"),
        (explaining, ("--reasons", 2, "--keep", "Reason_2_en"), 2, "reason_1_zh, reason_2, reason_2_en"),
    ):
        done = _score(home, good, *arguments)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert _score(node, good, "--reasons", 0).returncode == 0


def test_a_scorecards_points_add_up_to_scores(node: Path, tmp_path: Path) -> None:
    """Base, and a line of each feature: what a missing income at a car loan in another branch with a phone scores."""
    facts = sample_facts(architecture="scorecard")
    card = _node(
        tmp_path / "node", sample_contract(), facts, sample_arrays(sample_encoding().width, networks=1, hidden=())
    )
    done = _points(card, MODEL[:-1], "--csv", tmp_path / "points.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"the points of {MODEL} are in {tmp_path / 'points.csv'}\n"
    lines = {
        (row["feature"], row["value"]): float(row["points"]) for row in _read((tmp_path / "points.csv").read_text())
    }
    picked = [("", "base"), ("income", "missing"), ("purpose", "car"), ("branch", "other"), ("has_phone", "1")]
    applications = tmp_path / "loans.csv"
    applications.write_text("income,purpose,branch,has_phone\n,car,elsewhere,1\n")
    (scored,) = _read(_score(card, applications).stdout)
    assert sum(lines[key] for key in picked) == pytest.approx(int(scored["points"]), abs=0.6)
    shown = _points(card, MODEL)
    assert shown.stdout.split("\n")[0].split() == ["feature", "value", "points"]
    assert len(shown.stdout.strip().split("\n")) == len(lines) + 1
    refused = _points(node, MODEL)
    assert (refused.returncode, '"scorecard", got "mlp"' in refused.stderr) == (2, True)


def test_a_large_file_is_streamed(node: Path, tmp_path: Path) -> None:
    """More rows than a batch: all are scored, numbered without a gap, first and last row as alone."""
    count = 150_000
    generator = np.random.default_rng(5)
    columns = {
        "income": generator.uniform(0, 150_000, count),
        "purpose": generator.choice(["car", "home"], count),
        "branch": generator.choice(["north", "south", "west"], count),
        "has_phone": generator.integers(0, 2, count),
    }
    pq.write_table(pa.table(columns), tmp_path / "loans.parquet")
    assert _score(node, tmp_path / "loans.parquet", "--out", tmp_path / "out.parquet").returncode == 0
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.column("row").to_pylist() == list(range(1, count + 1))
    ends = pa.table(columns).take([0, count - 1])
    pq.write_table(ends, tmp_path / "ends.parquet")
    assert _score(node, tmp_path / "ends.parquet", "--out", tmp_path / "ends-out.parquet").returncode == 0
    alone = pq.read_table(tmp_path / "ends-out.parquet").column("pd").to_pylist()
    assert found.column("pd").take([0, count - 1]).to_pylist() == pytest.approx(alone, abs=1e-6)


def test_what_cannot_be_scored_is_refused_with_a_remedy(node: Path, tmp_path: Path) -> None:
    """Missing columns, unknown columns to keep, other endings, no file."""
    lacking = tmp_path / "lacking.csv"
    lacking.write_text("income,branch,has_phone\n1,north,1\n")
    done = _score(node, lacking)
    assert (done.returncode, "none named purpose" in done.stderr) == (9, True)
    good = _csv(tmp_path / "loans.csv")
    for arguments, code, said in (
        ((good, "--keep", "nobody"), 2, "got nobody"),
        ((good, "--keep", "pd"), 2, "other than row, pd"),
        ((good, "--out", tmp_path / "out.xlsx"), 2, "ends in .csv or .parquet"),
        ((good, "--out", tmp_path / "none" / "out.csv"), 2, "cannot be written"),
        ((good, "--json"), 2, "expected --out with --json"),
        ((tmp_path / "loans.txt",), 2, "ends in .parquet, .csv"),
        ((tmp_path / "absent.csv",), 3, "got no file"),
        ((good, "--query", "DROP VIEW loans"), 2, "expected one SELECT"),
    ):
        done = _score(node, *arguments)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_without_an_active_model_nothing_is_scored(node: Path, tmp_path: Path) -> None:
    """The command says how to activate one; a damaged bundle is refused before anything is read."""
    state = StateDir(node)
    store = open_database(state, load_settings(state))
    ledger = ModelLedger(store, state.path("models"), AuditLog(store))
    path = state.path("models", f"{MODEL}.bundle")
    good = path.read_bytes()
    try:
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        assert _score(node, _csv(tmp_path / "loans.csv")).returncode == 10
        path.write_bytes(good)
        ledger.retire(MODEL)
        done = _score(node, _csv(tmp_path / "loans.csv"))
        assert (done.returncode, "models activate" in done.stderr) == (3, True)
    finally:
        path.write_bytes(good)
        ledger.activate(MODEL)
        store.close()
