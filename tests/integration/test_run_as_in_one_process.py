"""Five lenders of unlike books: what real nodes train over the wire is what one process trains."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from demo_data import CONTRACT, LABEL, held_out, read_gmsc
from jointrisk.federation.contract import FeatureContract, contract_from_payload, contract_from_toml
from jointrisk.learning import checkpoint as checkpoints
from jointrisk.learning.areas import area
from jointrisk.learning.checkpoint import Checkpoint
from jointrisk.learning.flower import values
from jointrisk.learning.preparation import Prepared
from jointrisk.learning.scoring import NetworkScorer, Scorer, networks_of
from jointrisk.learning.tasks import MemberData
from jointrisk_coordinator.runs.settings import RunSettings
from jointrisk_node.data import DataSettings, LoanBook
from local_federation import LocalFederation
from rounds_in_one_process import OneProcess

pytestmark = [pytest.mark.federation, pytest.mark.slow]

MEMBERS = tuple(f"lender-{number}" for number in range(1, 6))
ROUNDS = 3
TOML = f'aggregation = "plain"\nrounds = {ROUNDS}\nquorum = 5\n[task_settings]\nrefit = false\nlabel_shift = "off"\n'


def dirichlet_parts(labels: NDArray[np.uint8], parties: int, seed: int) -> NDArray[np.intp]:
    """Return each row's party: of each class, shares drawn from Dirichlet(0.5), times a log-normal size.

    Hsu et al. 2019, "Measuring the effects of non-identical data distribution". Drawn again until every party has 200
    rows and 20 of each class.
    """
    for attempt in range(1000):
        rng = np.random.default_rng(seed + 1000 * attempt)
        size, part = rng.lognormal(0, 0.75, parties), np.full(len(labels), -1)
        for label in (0, 1):
            share = rng.dirichlet([0.5] * parties) * size
            rows = rng.permutation(np.flatnonzero(labels == label))
            cuts = (np.cumsum(share / share.sum())[:-1] * len(rows)).astype(int)
            for party, own in enumerate(np.split(rows, cuts)):
                part[own] = party
        counts = [np.bincount(labels[part == party], minlength=2) for party in range(parties)]
        if all(count.sum() >= 200 and count.min() >= 20 for count in counts):
            return part
    raise RuntimeError("no such split")


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The training rows of GMSC, dealt out; each to a Parquet file. "test" are the rows held out."""
    folder, loans = tmp_path_factory.mktemp("books"), read_gmsc()
    labels = loans[LABEL].to_numpy().astype(np.uint8)
    part = np.where(held_out(labels), len(MEMBERS), dirichlet_parts(labels, len(MEMBERS), seed=7))
    files = {}
    for place, name in enumerate((*MEMBERS, "test")):
        files[name] = folder / f"{name}.parquet"
        pq.write_table(loans.filter(pa.array(part == place)), files[name])
    return files


def test_real_nodes_train_what_one_process_trains(books: dict[str, Path], tmp_path: Path) -> None:
    """The area under the curve on the common test is the same within 0.001; the weights are too, to the last bit."""
    contract, over_the_wire = _by_nodes(books, tmp_path / "nodes")
    at_hand = _at_hand(books, contract, tmp_path / "one")
    test = _rows(books["test"], contract)
    areas = [area(test.labels, scorer.log_odds(test.features)).value for scorer, _ in (over_the_wire, at_hand)]
    assert abs(areas[0] - areas[1]) < 0.001
    assert min(areas) > 0.82
    assert over_the_wire[1].keys() == at_hand[1].keys()
    assert all(np.array_equal(over_the_wire[1][name], value) for name, value in at_hand[1].items())


Trained = tuple[Scorer, dict[str, Any]]


def _by_nodes(books: dict[str, Path], root: Path) -> tuple[FeatureContract, Trained]:
    """Let a coordinator and five nodes train; return the contract that they signed and the kept arrays."""
    with LocalFederation(root, founding_members=len(MEMBERS)) as federation:
        federation.init_coordinator()
        federation.coordinator.start()
        federation.coordinator.command("contract", "publish", str(CONTRACT))
        for name in MEMBERS:
            federation.add_node(name, source=str(books[name]), extra_toml="plain_aggregation = true")
        federation.wait_online()
        run = federation.run(TOML)
        assert (run["state"], run["rounds_done"]) == ("done", ROUNDS), run["detail"]
        folder = federation.coordinator.home / "runs" / run["run_id"]
        kept = checkpoints.load(folder / "checkpoints", ROUNDS, run["history"][-1]["arrays_sha256"])
    contract = contract_from_toml(CONTRACT.read_text()).model_copy(update={"version": 1})
    return contract_from_payload(contract.payload()), _trained(kept)


def _at_hand(books: dict[str, Path], contract: FeatureContract, folder: Path) -> Trained:
    """Train with the same settings in this process."""
    data = {name: _rows(books[name], contract) for name in MEMBERS}
    settings = RunSettings.model_validate(tomllib.loads(TOML))
    run = OneProcess(folder, settings, members=MEMBERS, contract=contract, books=data)
    return _trained(run.loop.run(run.beginning()))


def _trained(kept: Checkpoint) -> Trained:
    arrays = {name: values(array).astype(np.float32) for name, array in kept.arrays.items()}
    encoding = Prepared.from_payload(kept.prepared).encoding
    return NetworkScorer(encoding, networks_of(arrays), "log odds"), arrays


def _rows(path: Path, contract: FeatureContract) -> MemberData:
    table = LoanBook.open(DataSettings(source=str(path))).arrays(contract)
    return MemberData(table.features, table.labels)
