"""``jointrisk node score`` as people run it: files, a real PostgreSQL, broken rows, and no value in any message."""

import gzip
import json
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from contract_sample import sample_contract
from jointrisk.federation.signing import public_bytes
from jointrisk.learning.bundle import read_bundle
from jointrisk.learning.scoring import Scorer, probability
from jointrisk.statedir import StateDir
from jointrisk.store import AuditLog
from jointrisk_node.database import open_database
from jointrisk_node.models import ModelLedger
from jointrisk_node.settings import load_settings
from model_sample import KEY, sample_bundle, sample_facts
from postgres import private_postgres
from scoring_node import MODEL, SOUND, applications, node_that_scores, read_csv, score, sound_rows

SECRET = "Zhang-110101199003070011"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node's state directory with a contract and an active model, as a daemon leaves it."""
    return node_that_scores(tmp_path_factory.mktemp("scoring") / "node", sample_contract(), sample_facts())


def _expected(tmp_path: Path) -> list[float]:
    bundle = read_bundle(sample_bundle(tmp_path / "again"), public_bytes(KEY))
    return list(probability(Scorer.from_bundle(bundle).log_odds(sound_rows())))


def test_csv_parquet_and_postgresql_give_the_models_scores(node: Path, tmp_path: Path) -> None:
    """The same three applications from three kinds of places: the same probabilities, points and bands."""
    expected = _expected(tmp_path)
    pq.write_table(pa.Table.from_pylist(SOUND), tmp_path / "loans.parquet")
    sources: list[list[object]] = [[applications(tmp_path / "loans.csv")], [tmp_path / "loans.parquet"]]
    with private_postgres() as url:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE loans (id text, income float8, purpose text, branch text, has_phone int)")
            for row in SOUND:
                connection.execute("INSERT INTO loans VALUES (%s, %s, %s, %s, %s)", list(row.values()))
        sources.append([url, "--query", "SELECT * FROM loans ORDER BY id"])
        results = [score(node, *source, "--keep", "id") for source in sources]
    for done in results:
        assert done.returncode == 0, done.stderr
        found = read_csv(done.stdout)
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
    done = score(node, applications(tmp_path / "loans.csv", *broken), "--out", out, "--keep", "id", "--json")
    assert done.returncode == 0, done.stderr
    rows = read_csv(out.read_text())
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
    path = applications(tmp_path / "loans.csv", f"{SECRET},1", "b2,1,car,north,0", "b3,1")
    packed = tmp_path / "loans.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for source in (path, packed):
        done = score(node, source, "--keep", "id")
        assert done.returncode == 0, done.stderr
        rows = read_csv(done.stdout)
        assert [row["row"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
        assert [row["id"] for row in rows] == ["a1", "a2", "a3", "", "b2", ""]
        assert [row["reason"] for row in rows] == ["", "", "", "unreadable row", "", "unreadable row"]
        assert SECRET not in done.stdout + done.stderr


def test_lines_whose_place_cannot_be_told_are_refused(node: Path, tmp_path: Path) -> None:
    """A cell with a line end moves rows against lines: the file is refused and nothing is written."""
    path = applications(tmp_path / "loans.csv", 'b1,1,car,"no\nrth",0', f"{SECRET},1")
    out = tmp_path / "scores.csv"
    done = score(node, path, "--out", out)
    assert done.returncode == 2
    assert "1 lines of" in done.stderr
    assert SECRET not in done.stderr
    assert not out.exists()


def test_parquet_comes_out_with_types(node: Path, tmp_path: Path) -> None:
    """Whole numbers, nulls where there is no score, columns carried along as they were."""
    rows = [*SOUND, {"id": "b1", "income": -1.0, "purpose": "car", "branch": "north", "has_phone": 1}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "loans.parquet")
    done = score(
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
    assert score(node, tmp_path / "loans.parquet", "--out", tmp_path / "out.parquet").returncode == 0
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.column("row").to_pylist() == list(range(1, count + 1))
    ends = pa.table(columns).take([0, count - 1])
    pq.write_table(ends, tmp_path / "ends.parquet")
    assert score(node, tmp_path / "ends.parquet", "--out", tmp_path / "ends-out.parquet").returncode == 0
    alone = pq.read_table(tmp_path / "ends-out.parquet").column("pd").to_pylist()
    assert found.column("pd").take([0, count - 1]).to_pylist() == pytest.approx(alone, abs=1e-6)


def test_what_cannot_be_scored_is_refused_with_a_remedy(node: Path, tmp_path: Path) -> None:
    """Missing columns, unknown columns to keep, other endings, no file."""
    lacking = tmp_path / "lacking.csv"
    lacking.write_text("income,branch,has_phone\n1,north,1\n")
    done = score(node, lacking)
    assert (done.returncode, "none named purpose" in done.stderr) == (9, True)
    good = applications(tmp_path / "loans.csv")
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
        done = score(node, *arguments)
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
        assert score(node, applications(tmp_path / "loans.csv")).returncode == 10
        path.write_bytes(good)
        ledger.retire(MODEL)
        done = score(node, applications(tmp_path / "loans.csv"))
        assert (done.returncode, "models activate" in done.stderr) == (3, True)
    finally:
        path.write_bytes(good)
        ledger.activate(MODEL)
        store.close()
