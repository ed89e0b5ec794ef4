"""``node score --reasons`` and ``node models points``: what is told is what the model says, if it may be told."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from contract_sample import grouped_contract, sample_contract
from jointrisk.federation.signing import public_bytes
from jointrisk.learning.bundle import read_bundle
from jointrisk.learning.reasons import MOST_REASONS, Code, reasons
from jointrisk.learning.scoring import Scorer
from jointrisk_node.commands.score import MOST_REASONS as OFFERED
from model_sample import KEY, explained_facts, sample_arrays, sample_bundle, sample_encoding, sample_facts
from scoring_node import MODEL, applications, node_that_scores, points, read_csv, score, sound_rows


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node whose model is of before there were reasons."""
    return node_that_scores(tmp_path_factory.mktemp("scoring") / "node", sample_contract(), sample_facts())


@pytest.fixture(scope="module")
def explaining(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node with a model that can tell reasons, under a contract with several groups of features."""
    contract = grouped_contract()
    return node_that_scores(tmp_path_factory.mktemp("reasons") / "node", contract, explained_facts(contract))


def _codes(tmp_path: Path, count: int) -> list[tuple[Code, ...]]:
    contract = grouped_contract()
    data = sample_bundle(tmp_path / "again", facts=explained_facts(contract))
    found = Scorer.from_bundle(read_bundle(data, public_bytes(KEY))).contributions(sound_rows())
    return [reasons(contract, row, count) for row in found.values]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_reasons_are_columns(explaining: Path, tmp_path: Path, ending: str) -> None:
    """Each row's strongest groups in both languages, as far as there are any; none of a row without a score."""
    out, broken = tmp_path / f"scores.{ending}", "b1,-5,car,north,1"
    done = score(explaining, applications(tmp_path / "loans.csv", broken), "--out", out, "--reasons", 3, "--keep", "id")
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
    assert OFFERED == MOST_REASONS
    good = applications(tmp_path / "loans.csv")
    for home, arguments, code, said in (
        (node, ("--reasons", 1), 5, "Score without reasons"),
        (explaining, ("--reasons", 11), 2, "11"),
        (explaining, ("--reasons", 2, "--keep", "Reason_2_en"), 2, "reason_1_zh, reason_2, reason_2_en"),
    ):
        done = score(home, good, *arguments)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert score(node, good, "--reasons", 0).returncode == 0


def test_a_scorecards_points_add_up_to_scores(node: Path, tmp_path: Path) -> None:
    """Base, and a line of each feature: what a missing income at a car loan in another branch with a phone scores."""
    facts = sample_facts(architecture="scorecard")
    card = node_that_scores(
        tmp_path / "node", sample_contract(), facts, sample_arrays(sample_encoding().width, networks=1, hidden=())
    )
    done = points(card, MODEL[:-1], "--csv", tmp_path / "points.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"the points of {MODEL} are in {tmp_path / 'points.csv'}\n"
    lines = {
        (row["feature"], row["value"]): float(row["points"]) for row in read_csv((tmp_path / "points.csv").read_text())
    }
    picked = [("", "base"), ("income", "missing"), ("purpose", "car"), ("branch", "other"), ("has_phone", "1")]
    applications = tmp_path / "loans.csv"
    applications.write_text("income,purpose,branch,has_phone\n,car,elsewhere,1\n")
    (scored,) = read_csv(score(card, applications).stdout)
    assert sum(lines[key] for key in picked) == pytest.approx(int(scored["points"]), abs=0.6)
    shown = points(card, MODEL)
    assert shown.stdout.split("\n")[0].split() == ["feature", "value", "points"]
    assert len(shown.stdout.strip().split("\n")) == len(lines) + 1
    refused = points(node, MODEL)
    assert (refused.returncode, '"scorecard", got "mlp"' in refused.stderr) == (2, True)
