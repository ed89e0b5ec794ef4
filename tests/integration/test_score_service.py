"""Single applicants over the daemon's socket: the file's scores, the file's rules, the active model and no other."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from grpc import aio

from contract_sample import grouped_contract, sample_contract
from jointrisk.errors import InvalidInputError, JointriskError, NotFoundError, RefusedError, TooLargeError
from jointrisk.federation.contract import FeatureContract
from jointrisk.federation.signing import public_bytes
from jointrisk.learning.bundle import Facts, read_bundle
from jointrisk.learning.reasons import reasons
from jointrisk.learning.scoring import Scorer
from jointrisk.protocol import user_agent
from jointrisk.rpc.errors import from_rpc
from jointrisk.rpc.guard import Guard
from jointrisk.rpc.server import bind_unix, new_server
from jointrisk.rpc.v1 import node_model_pb2
from jointrisk.rpc.v1 import score_pb2 as pb
from jointrisk.rpc.v1.node_model_pb2_grpc import NodeModelServiceStub, add_NodeModelServiceServicer_to_server
from jointrisk.rpc.v1.score_pb2_grpc import ScoreServiceStub, add_ScoreServiceServicer_to_server
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_node.data import DataSettings
from jointrisk_node.data.applications import Applications
from jointrisk_node.models import ModelDesk, ModelLedger
from jointrisk_node.models.service import NodeModelServicer
from jointrisk_node.scoring import ScoringSettings
from jointrisk_node.scoring.applicant import ApplicantCheck
from jointrisk_node.scoring.batch import BatchScoring
from jointrisk_node.scoring.scale import Scale
from jointrisk_node.scoring.service import MOST_APPLICANTS, ScoreServicer
from jointrisk_node.scoring.warm import ScoringDesk
from jointrisk_node.store.tables import load_tables
from model_sample import KEY, explained_facts, sample_bundle, sample_facts

Cells = Mapping[str, float | str | bool | None]
SECRET = "Zhang-110101199003070011"
GOOD: Cells = {"income": 52_000.0, "purpose": "car", "branch": "north", "has_phone": True}


class _Offline:
    """A coordinator that cannot be reached."""

    async def models(self) -> None:
        """Fail."""
        raise JointriskError("offline")


class _Node:
    """What of a daemon scores."""

    def __init__(self, root: Path, contract: FeatureContract) -> None:
        engine = make_engine(f"sqlite:///{root / 'node.db'}")
        load_tables().create_all(engine)
        store = Store(engine)
        self.folder = root / "models"
        self.folder.mkdir()
        self.ledger = ModelLedger(store, self.folder, AuditLog(store))
        self.models = ModelDesk(self.ledger, _Offline(), public_bytes(KEY), _no_payload)  # type: ignore[arg-type]
        self.scoring = ScoringDesk(self.models, {1: contract}.__getitem__, Scale(ScoringSettings()))
        self.server = new_server(Guard())
        add_ScoreServiceServicer_to_server(ScoreServicer(self.scoring), self.server)
        add_NodeModelServiceServicer_to_server(NodeModelServicer(self.models), self.server)
        bind_unix(self.server, root / "o.sock")
        options = [("grpc.primary_user_agent", user_agent())]
        self.channel = aio.insecure_channel(f"unix:{root / 'o.sock'}", options=options)

    def keep(self, run: Path, model_id: str, facts: Facts) -> None:
        """Keep a model as if it had been fetched."""
        data = sample_bundle(run, run_id=model_id, facts=facts)
        (self.folder / f"{model_id}.bundle").write_bytes(data)
        self.ledger.keep(read_bundle(data, public_bytes(KEY)))

    async def score(self, *applicants: Cells, reasons: int = 0) -> pb.ScoreResponse:
        """Ask over the socket."""
        request = pb.ScoreRequest(applicants=[_applicant(one) for one in applicants], reasons=reasons)
        try:
            return await ScoreServiceStub(self.channel).Score(request)
        except aio.AioRpcError as error:
            raise from_rpc(error, peer="the node") from None

    async def activate(self, model_id: str) -> None:
        """Activate over the socket."""
        await NodeModelServiceStub(self.channel).Activate(node_model_pb2.ActivateModelRequest(model_id=model_id))


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[_Node]:
    """A node with one model, active."""
    async with _serving(_Node(tmp_path, sample_contract()), tmp_path / "run", sample_facts()) as made:
        yield made


@pytest.fixture
async def explaining(tmp_path: Path) -> AsyncIterator[_Node]:
    """The same with a model that can tell reasons, under a contract with several groups of features."""
    contract = grouped_contract()
    async with _serving(_Node(tmp_path, contract), tmp_path / "run", explained_facts(contract)) as made:
        yield made


@asynccontextmanager
async def _serving(made: _Node, run: Path, facts: Facts) -> AsyncIterator[_Node]:
    made.keep(run, "model-a", facts)
    await made.server.start()
    await made.activate("model-a")
    yield made
    await made.channel.close()
    await made.server.stop(0)


async def _no_payload(version: int) -> bytes:
    raise NotFoundError(f"version {version}")


def _applicant(cells: Cells) -> pb.Applicant:
    return pb.Applicant(features={name: _value(cell) for name, cell in cells.items()})


def _value(cell: float | str | bool | None) -> pb.Value:
    if cell is None:
        return pb.Value()
    if isinstance(cell, bool):
        return pb.Value(flag=cell)
    return pb.Value(text=cell) if isinstance(cell, str) else pb.Value(number=cell)


NUMBERS = [None, 0.0, -0.0, 1.0, 999_999.5, 1e6, 1_000_000.5, -1.0, float("nan"), float("inf"), 1e300]
TEXTS = [None, "", "  ", "12", " 12.5 ", "1e3", "abc", "-1", "nan", "inf", "1e39", "car", "home", " car", "it's other"]


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("income", NUMBERS),
        ("income", TEXTS),
        ("purpose", TEXTS),
        ("branch", TEXTS),
        ("branch", [1.0, 2.5, None]),
        ("has_phone", [None, 0.0, 1.0, 0.5, 2.0]),
        ("has_phone", [True, False, None]),
        ("has_phone", ["1", "0", "yes", ""]),
        ("income", [True, False]),
    ],
)
async def test_an_applicant_is_judged_as_a_row_of_a_file(
    node: _Node, tmp_path: Path, column: str, cells: list[float | str | bool | None]
) -> None:
    """The same cells one by one and as a column: the same rules broken, or the same score."""
    path = tmp_path / "loans.parquet"
    whole = {name: pa.array([cell] * len(cells)) for name, cell in GOOD.items()} | {column: pa.array(cells)}
    pq.write_table(pa.table(whole), path)
    bundle = await node.models.bundle(node.ledger.find("model-a"))
    applications = Applications(DataSettings(source=str(path)), sample_contract())
    work = BatchScoring(applications, Scorer.from_bundle(bundle), Scale(ScoringSettings()))
    (table,) = work.tables()
    answer = await node.score(*({**GOOD, column: cell} for cell in cells))
    for row, score in zip(table.to_pylist(), answer.scores, strict=True):
        said = "; ".join(f"{one.column}: {one.rule} (expected {one.expected})" for one in score.breaches)
        expected = (row["reason"] or "").partition(", the column is")[0]
        assert said.partition(", the column is")[0] == expected or _both_wrong_type(said, expected)
        if not said:
            assert score.pd == pytest.approx(row["pd"], abs=1e-6)
            assert (score.points, score.band) == (row["points"], row["band"])


def _both_wrong_type(said: str, expected: str) -> bool:
    """A file's column has a type, a single value has one of its own: the rule is the same, its text is not."""
    return "wrong type" in said and "wrong type" in expected


async def test_reasons_come_where_they_are_asked_for(explaining: _Node) -> None:
    """The groups that speak against each applicant, in both languages; never a sensitive one; ten at most."""
    rows = [GOOD, {**GOOD, "income": 900.0, "purpose": "home"}, {**GOOD, "income": SECRET}]
    answer = await explaining.score(*rows, reasons=3)
    bundle = await explaining.models.bundle(explaining.ledger.find("model-a"))
    checked = [ApplicantCheck(grouped_contract()).check(row).row for row in rows[:2]]
    values = Scorer.from_bundle(bundle).contributions(np.stack(checked)).values
    for score, row in zip(answer.scores, values, strict=False):
        expected = reasons(grouped_contract(), row, 3)
        assert [(code.group, code.en, code.zh) for code in score.reasons] == [
            (code.group, code.text.en, code.text.zh) for code in expected
        ]
        assert [code.contribution for code in score.reasons] == pytest.approx([one.contribution for one in expected])
    assert sum(len(score.reasons) for score in answer.scores[:2]) > 0
    assert "contact" not in {code.group for score in answer.scores for code in score.reasons}
    assert list(answer.scores[2].reasons) == []
    assert [list(score.reasons) for score in (await explaining.score(*rows)).scores] == [[], [], []]
    with pytest.raises(TooLargeError, match="at most 10 reasons"):
        await explaining.score(GOOD, reasons=11)


async def test_a_model_without_means_tells_no_reasons(node: _Node) -> None:
    """It scores as before."""
    with pytest.raises(RefusedError, match="means of its inputs"):
        await node.score(GOOD, reasons=1)
    assert (await node.score(GOOD)).scores[0].pd > 0


async def test_broken_applicants_leave_the_others_scored(node: _Node) -> None:
    """In their order; what breaks a rule is never told."""
    answer = await node.score(GOOD, {**GOOD, "income": SECRET}, {}, GOOD)
    assert (answer.model_id, answer.contract_version) == ("model-a", 1)
    assert [len(score.breaches) for score in answer.scores] == [0, 1, 1, 0]
    assert answer.scores[1].breaches[0].rule == "not a number"
    assert (answer.scores[2].breaches[0].column, answer.scores[2].breaches[0].rule) == ("has_phone", "missing value")
    assert (answer.scores[1].pd, answer.scores[1].points, answer.scores[1].band) == (0.0, 0, "")
    assert answer.scores[0] == answer.scores[3]
    assert SECRET not in str(answer)


async def test_names_that_the_contract_does_not_have_are_refused(node: _Node) -> None:
    """A mistyped feature would otherwise be missing; the name is not repeated, it may be anything."""
    with pytest.raises(InvalidInputError, match="got 1 other name") as caught:
        await node.score(GOOD, {**GOOD, SECRET: 1.0})
    assert SECRET not in caught.value.message + caught.value.remedy


async def test_many_applicants_are_scored_at_once_but_not_any_number(node: _Node) -> None:
    """A thousand; more belong into a file."""
    answer = await node.score(*[GOOD] * MOST_APPLICANTS)
    # Not to the last bit: the rest of a block is multiplied by other code.
    assert np.ptp([score.pd for score in answer.scores]) < 1e-6
    with pytest.raises(TooLargeError, match="at most 1000"):
        await node.score(*[GOOD] * (MOST_APPLICANTS + 1))
    assert list((await node.score()).scores) == []


async def test_the_active_model_scores_and_no_other(node: _Node, tmp_path: Path) -> None:
    """From the moment of activation on; after it is retired nothing does."""
    first = await node.score(GOOD)
    node.keep(tmp_path / "run", "model-b", sample_facts(best_round=3))
    assert (await node.score(GOOD)).model_id == "model-a"
    await node.activate("model-b")
    second = await node.score(GOOD)
    assert second.model_id == "model-b"
    assert second.scores[0].pd == first.scores[0].pd
    node.ledger.retire("model-b")
    with pytest.raises(NotFoundError, match="no model is active"):
        await node.score(GOOD)
    stub = NodeModelServiceStub(node.channel)
    kept = await stub.ListKept(node_model_pb2.ListKeptRequest())
    assert [(one.model_id, one.state) for one in kept.models] == [("model-a", "kept"), ("model-b", "retired")]
    assert kept.detail == "offline"


async def test_a_damaged_model_is_not_activated(node: _Node, tmp_path: Path) -> None:
    """Its file is verified before the old one stops scoring."""
    node.keep(tmp_path / "run", "model-b", sample_facts())
    path = node.folder / "model-b.bundle"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(aio.AioRpcError):
        await node.activate("model-b")
    assert (await node.score(GOOD)).model_id == "model-a"


def test_points_double_the_odds_and_bands_cover_everybody() -> None:
    """Base odds give base points, twice the odds give PDO more; every probability is in one band."""
    scale = Scale(ScoringSettings(pdo=30, base_odds=20, base_points=500))
    log_odds = -np.log(np.array([20.0, 40.0, 10.0, 80.0]))
    scores = scale.scores(log_odds)
    assert scores.points.tolist() == [500, 530, 470, 560]
    assert scores.pd == pytest.approx([1 / 21, 1 / 41, 1 / 11, 1 / 81])
    extreme = scale.scores(np.array([-1000.0, 1000.0]))
    assert [scale.names[band] for band in extreme.band] == ["A", "E"]
    assert (extreme.pd > 0).all()
    assert (extreme.pd < 1).all()
    borders = scale.scores(np.log(np.array([0.0099999, 0.0100001, 0.2]) / (1 - np.array([0.0099999, 0.0100001, 0.2]))))
    assert [scale.names[band] for band in borders.band][:2] == ["A", "B"]


@pytest.mark.parametrize("ends", [(0.5, 0.2, 1.0), (0.2, 0.9), (1.0, 1.0), ()])
def test_bands_have_to_rise_to_one(ends: tuple[float, ...]) -> None:
    """Bands that leave somebody out, or overlap, are refused."""
    with pytest.raises(ValueError, match=r"band|at least 1 item"):
        ScoringSettings.model_validate({"bands": [{"name": f"b{n}", "pd_below": end} for n, end in enumerate(ends)]})
