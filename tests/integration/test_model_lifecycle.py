"""A model's way through a real federation: trained, signed, fetched, activated, scored with, by file and one by one."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract_sample import LABEL
from jointrisk.operator_socket import operator_socket
from jointrisk.rpc.channel import unix_channel
from jointrisk.rpc.v1 import score_pb2 as pb
from jointrisk.rpc.v1.score_pb2_grpc import ScoreServiceStub
from lender_books import add_lender, publish_sample, run_settings, sound_rows, write_book
from local_federation import CommandFailedError, Daemon, LocalFederation, wait_until

pytestmark = pytest.mark.federation

LENDERS = ("bank", "finance")


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    """Two lenders whose data keep the contract."""
    root = tmp_path_factory.mktemp("models")
    with LocalFederation(root / "f", approvals_required=1) as made:
        made.init_coordinator()
        made.coordinator.start()
        publish_sample(made)
        for name in LENDERS:
            # Polls hardly ever: what arrives was announced.
            poll = '\n[membership]\nroster_poll = "1h"\n'
            add_lender(made, name, book=write_book(root / f"{name}.csv", _book()), more_toml=poll)
        made.wait_online()
        for node in made.nodes.values():
            wait_until(lambda node=node: node.json("status")["contract_version"] == 1, "the contract")  # type: ignore[misc]
        yield made


def _book() -> list[dict[str, Any]]:
    """Return rows whose risk is in one feature, so that a model of a lender's own soon knows it."""
    return [row | {LABEL: int(row["has_phone"] == 1 and place % 6 != 1)} for place, row in enumerate(sound_rows(400))]


def test_a_model_goes_from_run_to_scores(federation: LocalFederation, tmp_path: Path) -> None:
    """One run, one model, the same bytes everywhere; the file's score and the socket's are one; a restart keeps it."""
    run = federation.run(run_settings())
    assert run["state"] == "done", run["detail"]
    listed = federation.coordinator.json("models", "list")["models"]
    assert [one["model_id"] for one in listed].count(run["run_id"]) == 1
    assert [one["number"] for one in listed] == list(range(1, len(listed) + 1))
    said = federation.coordinator.json("models", "show", run["run_id"][:-1])["manifest"]
    assert said["lineage"]["members"] == list(LENDERS)
    assert said["lineage"]["started_at"] == run["started_at"]
    assert (said["facts"]["rounds"], said["facts"]["privacy"]["aggregation"]) == (2, "plain")
    bundles = {(federation.coordinator.home / "models" / f"{run['run_id']}.bundle").read_bytes()}
    for node in federation.nodes.values():
        path = node.home / "models" / f"{run['run_id']}.bundle"
        wait_until(path.exists, "the model at a node")
        bundles.add(path.read_bytes())
        assert node.json("models", "show", run["run_id"])["state"] == "kept"
    assert len(bundles) == 1
    bank = federation.nodes["bank"]
    rows = sound_rows(3)
    applications = write_book(tmp_path / "applications.csv", rows)
    with pytest.raises(CommandFailedError, match="no model is active"):
        bank.command("score", str(applications))
    bank.command("models", "activate", run["run_id"])
    by_file = [float(row["pd"]) for row in _rows(bank.command("score", str(applications)))]
    assert by_file == pytest.approx(_by_socket(bank, rows), abs=1e-6)
    assert len(set(by_file)) == 3
    bank.kill()
    bank.start()
    assert by_file == pytest.approx(_by_socket(bank, rows), abs=1e-6)
    bank.command("models", "retire", run["run_id"])
    assert bank.json("models", "show", run["run_id"])["state"] == "retired"
    with pytest.raises(CommandFailedError, match="no model is active"):
        bank.command("score", str(applications))
    for daemon in (federation.coordinator, bank):
        daemon.command("audit", "verify")


@pytest.mark.slow
def test_a_node_personalises_a_model_beside_its_daemon(federation: LocalFederation, tmp_path: Path) -> None:
    """The daemon scores with it at once and after a restart, as the file is scored; others keep the shared model."""
    run = federation.run(run_settings())
    bank, name = federation.nodes["bank"], run["run_id"]
    wait_until((bank.home / "models" / f"{name}.bundle").exists, "the model at a node")
    bank.command("models", "activate", name)
    rows = sound_rows(4)
    applications = write_book(tmp_path / "applications.csv", rows)
    shared = _by_socket(bank, rows)
    said = bank.json("models", "personalise", with_key=True)
    assert (said["model_id"], said["personalised"], said["rows"]) == (name, True, 400)
    assert said["validation"]["personalised"]["log_loss"] < said["validation"]["shared"]["log_loss"]
    assert bank.json("models", "show", name)["personalised"] is True
    assert f"{'state':<20}  active, personalised" in bank.command("models", "show", name).splitlines()
    marks = {one["model_id"]: one["personalised"] for one in bank.json("models", "list")["models"]}
    assert [one for one, mark in marks.items() if mark] == [name]
    assert bank.command("models", "list").count("active, personalised") == 1
    by_socket = _by_socket(bank, rows)
    assert max(abs(one - other) for one, other in zip(shared, by_socket, strict=True)) > 0.01
    scored = bank.command("score", str(applications), with_key=True)
    assert [float(row["pd"]) for row in _rows(scored)] == pytest.approx(by_socket, abs=1e-6)
    bank.kill()
    bank.start()
    assert _by_socket(bank, rows) == pytest.approx(by_socket, abs=1e-9)
    bank.command("models", "personalise", "--remove", with_key=True)
    assert _by_socket(bank, rows) == pytest.approx(shared, abs=1e-9)
    assert bank.json("models", "show", name)["personalised"] is False
    events = [one["event"] for one in bank.json("audit", "list", "--event", "model.")]
    assert events[-2:] == ["model.personalised", "model.personalisation_removed"]
    bank.command("audit", "verify")
    bank.command("models", "retire", name)


def test_a_probe_makes_no_model(federation: LocalFederation) -> None:
    """A run without a model ends as before, and publishes nothing."""
    before = federation.coordinator.json("models", "list")["models"]
    assert federation.run(run_settings("probe"))["state"] == "done"
    assert federation.coordinator.json("models", "list")["models"] == before


def test_a_coordinator_killed_before_the_runs_end_publishes_once(federation: LocalFederation) -> None:
    """Killed as soon as the bundle lies there: the next life of the daemon ends the run with the same bytes, once."""
    run_id = federation.run(run_settings(), wait=False)["run_id"]
    path = federation.coordinator.home / "models" / f"{run_id}.bundle"
    wait_until(path.exists, "the bundle", timeout=120)
    federation.coordinator.kill()
    first = path.read_bytes()
    federation.coordinator.start()
    assert federation.watch(run_id)["state"] == "done"
    assert path.read_bytes() == first
    ids = [one["model_id"] for one in federation.coordinator.json("models", "list")["models"]]
    assert ids.count(run_id) == 1


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def _by_socket(node: Daemon, rows: list[dict[str, Any]]) -> list[float]:
    applicants = [
        pb.Applicant(
            features={
                "income": pb.Value(number=row["income"]),
                "purpose": pb.Value(text=row["purpose"]),
                "branch": pb.Value(text=row["branch"]),
                "has_phone": pb.Value(flag=bool(row["has_phone"])),
            }
        )
        for row in rows
    ]
    with unix_channel(str(operator_socket(node.home))) as channel:
        answer = ScoreServiceStub(channel).Score(pb.ScoreRequest(applicants=applicants))
    return [score.pd for score in answer.scores]
