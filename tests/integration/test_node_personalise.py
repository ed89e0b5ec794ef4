"""``jointrisk node models personalise`` as people run it: chosen on the node's own book, scored with, taken back."""

import csv
import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command_in_process import Ended, jointrisk
from contract_sample import LABEL, sample_contract
from jointrisk.federation.signing import public_bytes, sign_document
from jointrisk.learning.encoding import bucket_of
from jointrisk.learning.scoring import Scorer, probability
from jointrisk.masterkey import MasterKey
from jointrisk.statedir import StateDir
from jointrisk.store import AuditLog
from jointrisk_node.contracts import ContractLedger
from jointrisk_node.database import open_database
from jointrisk_node.membership.keys import NodeKeys
from jointrisk_node.membership.tables import ONLY_ROW, OwnMembership
from jointrisk_node.models import ModelLedger
from jointrisk_node.settings import FILE, load_settings
from model_sample import KEY
from personal_sample import BRANCHES, knowing_bytes, knowing_model, own_book, own_model

MASTER = MasterKey(bytes(range(32)))
_PURPOSES = ("car", "home", "it's other")
_WORDS = {bucket_of(word): word for word in BRANCHES}


class _Node:
    """A node's state directory with two models, the first of them active, and a book that knows better."""

    def __init__(self, root: Path) -> None:
        self.home = root / "node"
        self.state = StateDir.create(self.home)
        MASTER.bind(self.state)
        self.key_file = root / "node.key"
        self.key_file.write_bytes(bytes(range(32)))
        self.book = root / "book.parquet"
        self.write_book()
        self.state.write(FILE, f'[data]\nsource = "{self.book}"\n'.encode())
        store = open_database(self.state, load_settings(self.state))
        with store.transaction() as session:
            session.add(_membership())
        audit = AuditLog(store, NodeKeys(self.state, MASTER).identity())
        contracts = ContractLedger(store, public_bytes(KEY), audit)
        contracts.accept(sign_document("contract", sample_contract().payload(), KEY), asked=0)
        ledger = ModelLedger(store, self.state.path("models"), audit)
        self.bundle = self._keep(ledger, root / "a", "model-a")
        self._keep(ledger, root / "b", "model-b")
        ledger.activate("model-a")
        store.close()

    def _keep(self, ledger: ModelLedger, folder: Path, name: str) -> Any:
        self.state.write(f"models/{name}.bundle", knowing_bytes(folder, 0.5, -1.0, run_id=name))
        bundle = knowing_model(folder, 0.5, -1.0, run_id=name)
        ledger.keep(bundle)
        return bundle

    def write_book(self, **changed: Any) -> None:
        """Write the loan book, some columns changed."""
        book = own_book(4000)
        income, purpose, branch, phone = book.features.T
        columns = {
            "income": income.astype(np.float64),
            "purpose": [_PURPOSES[int(code)] for code in purpose],
            "branch": [_WORDS[int(bucket)] for bucket in branch],
            "has_phone": phone.astype(np.int8),
            LABEL: book.labels.astype(np.int8),
        }
        pq.write_table(pa.table(columns | changed), self.book)

    def run(self, *arguments: object, with_key: bool = True) -> Ended:
        """Run a command of the node."""
        if not with_key:
            return jointrisk("node", "--home", self.home, *arguments)
        descriptor = os.open(self.key_file, os.O_RDONLY)
        return jointrisk("node", "--home", self.home, *arguments, "--master-key-fd", descriptor)

    def personalise(self, *arguments: object) -> dict[str, Any]:
        """Personalise and return what is said."""
        done = self.run("models", "personalise", *arguments, "--json")
        assert done.code == 0, done.err
        return dict(json.loads(done.out))

    def score(self, *, with_key: bool = True) -> tuple[list[float], str]:
        """Score the book; return probabilities, and what was said."""
        out = self.home.parent / "scores.csv"
        done = self.run("score", self.book, "--out", out, with_key=with_key)
        assert done.code == 0, done.err
        return [float(row["pd"]) for row in csv.DictReader(io.StringIO(out.read_text()))], done.err

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what of personalisation is on record; the log is sound."""
        store = open_database(self.state, load_settings(self.state))
        try:
            log = AuditLog(store)
            log.verify([NodeKeys(self.state, MASTER).identity().public_key()]).require_sound()
            return [(one.event, dict(one.fields)) for one in log.entries() if "personalis" in one.event]
        finally:
            store.close()


@pytest.fixture
def node(tmp_path: Path) -> _Node:
    """A node."""
    return _Node(tmp_path)


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


def test_a_personalised_model_scores_by_the_formula_until_it_is_removed(node: _Node) -> None:
    """What the command says it chose is what scores: of the whole book, through Parquet, words and buckets."""
    rows = own_book(4000).features
    shared = Scorer.from_bundle(node.bundle).log_odds(rows)
    assert node.score(with_key=False)[0] == pytest.approx(probability(shared), abs=1e-6)
    said = node.personalise()
    assert (said["model_id"], said["personalised"], said["kept"]) == ("model-a", True, "mix")
    assert (said["rows"], said["validation"].keys()) == (4000, {"shared", "own", "personalised"})
    assert said["validation"]["personalised"]["log_loss"] < said["validation"]["own"]["log_loss"]
    own = own_model(own_book(4000)).log_odds(rows)
    mixed = said["scale"] * (said["weight"] * shared + (1 - said["weight"]) * own) + said["offset"]
    scored, line = node.score()
    assert scored == pytest.approx(probability(mixed), abs=1e-6)
    assert line == "4000 of 4000 rows scored with model-a, personalised\n"
    assert np.abs(probability(mixed) - probability(shared)).max() > 0.05
    assert node.personalise("--remove") == {"model_id": "model-a", "personalised": False}
    scored, line = node.score(with_key=False)
    assert scored == pytest.approx(probability(shared), abs=1e-6)
    assert line == "4000 of 4000 rows scored with model-a\n"
    node.personalise("--remove")
    digest = node.bundle.digest
    named = {"model_id": "model-a", "model_digest": digest}
    percent = round(said["weight"] * 100)
    assert node.events() == [
        ("model.personalised", named | {"kept": "mix", "shared_percent": percent}),
        ("model.personalisation_removed", named),
    ]


def test_the_report_says_so_and_without_the_key_nothing_is_scored(node: _Node, tmp_path: Path) -> None:
    """A personalised model is not quietly scored without its own part."""
    out = tmp_path / "scores.csv"
    plain = node.run("score", node.book, "--out", out, "--json", with_key=False)
    assert json.loads(plain.out)["personalised"] is False
    node.personalise()
    told = node.run("score", node.book, "--out", out, "--json")
    assert json.loads(told.out)["personalised"] is True
    out.unlink()
    node.run("score", node.book, "--out", out, with_key=False).require_refusal(2, "no master key")
    assert not out.exists()


def test_text_for_people(node: _Node) -> None:
    """Figures of three models, and what was chosen, in words; figures are of all validation rows together."""
    done = node.run("models", "personalise", "model-a")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].endswith("validation rows of 4000 of the loan book")
    assert [line.split()[0] for line in lines[1:5]] == ["model", "shared", "own", "personalised"]
    assert lines[5].startswith("A mix is best: ")
    assert node.run("models", "personalise", "--remove").out == "model-a scores as it was received\n"


def test_again_replaces_and_what_is_no_longer_better_is_dropped(node: _Node) -> None:
    """A book that says the opposite takes nothing of the shared model; one whose risk it tells, nothing else."""
    path = node.state.path("models", "model-a.personal")
    node.personalise()
    first = path.read_bytes()
    node.write_book(bad=(1 - own_book(4000).labels).astype(np.int8))
    said = node.personalise()
    assert (said["personalised"], said["weight"]) == (True, 0)
    assert path.read_bytes() != first
    told = probability(Scorer.from_bundle(node.bundle).log_odds(own_book(4000).features))
    node.write_book(bad=(np.random.default_rng(5).random(4000) < told).astype(np.int8))
    said = node.personalise()
    assert (said["personalised"], said["kept"], said["weight"]) == (False, "shared", 1)
    assert not path.exists()
    node.score(with_key=False)


def test_another_model_is_left_alone(node: _Node) -> None:
    """Each has its own; one that is activated scores as it is until it is personalised too."""
    node.personalise("model-b")
    node.score(with_key=False)
    assert not node.state.path("models", "model-a.personal").exists()
    before = node.state.path("models", "model-b.personal").read_bytes()
    node.personalise("model-a")
    node.personalise("model-a", "--remove")
    assert node.state.path("models", "model-b.personal").read_bytes() == before
    node.run("models", "personalise", "model-").require_refusal(4, "several models")
    node.run("models", "personalise", "nobody").require_refusal(3, "no model of this name")


def test_what_is_not_there_or_broken_is_refused_without_a_value(node: _Node) -> None:
    """No book, a book that breaks the contract, too few rows, another key, a file that was changed."""
    node.write_book(income=np.full(4000, -77_777.0))
    broken = node.run("models", "personalise")
    broken.require_refusal(9, "income")
    assert "77777" not in broken.err
    node.book.unlink()
    node.run("models", "personalise").require_refusal(3, "no file")
    node.write_book()
    table = pq.read_table(node.book)
    pq.write_table(table.slice(0, 60), node.book)
    node.run("models", "personalise").require_refusal(2, "at least 5 good and 5 bad")
    node.key_file.write_bytes(bytes(32))
    node.run("models", "personalise").require_refusal(5, "does not open")
    assert list(node.state.path("models").glob("*.personal")) == []
    assert node.events() == []


def test_a_changed_file_scores_nothing_and_can_be_made_anew(node: _Node) -> None:
    """The command that scores says how to go on; --remove needs nothing of the file."""
    node.personalise()
    path = node.state.path("models", "model-a.personal")
    path.write_bytes(path.read_bytes()[:-1])
    node.run("score", node.book).require_refusal(10, "not what was written")
    node.personalise("--remove")
    node.score(with_key=False)
    node.personalise()
    assert node.score()[1].endswith("personalised\n")
