"""``kill -9`` of each process of a real federation, in each phase: the run ends as if nothing had happened.

The probe's arrays show every member's part, every round and every kept state, so that one digest a round tells whether
any reply was lost, doubled or computed from the wrong state.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from demo_data import CONTRACT, write_lenders
from jointrisk.transfer import message_id
from local_federation import CommandFailedError, Daemon, LocalFederation, wait_until

pytestmark = pytest.mark.federation

PLAIN = "plain_aggregation = true\n"
"""Goes on with [policy], with which the file that `init` writes ends."""
NAMES = ("ash", "birch", "cedar")
ROUNDS = 4
COMMON = f"""
aggregation = "plain"
rounds = {ROUNDS}
strategy = "fedadam"
minimum_members = 3
quorum = 3
rejoin_grace = "60s"
round_deadline = "120s"
"""
PROBE = f'task = "probe"\n{COMMON}[task_settings]\nsleep_seconds = 0.25\n'
LARGE = f'task = "probe"\n{COMMON}[task_settings]\npayload_bytes = 120_000_000\n'.replace(f"{ROUNDS}", "2", 1)
MODEL = (
    f'task = "default_model"\n{COMMON}[task_settings]\nhidden = 16\nnetworks = 2\nrefit = false\nlabel_shift = "off"\n'
)
NODE_WORKER = "jointrisk_node.training.worker"
RUN_WORKER = "jointrisk_coordinator.runs.worker"

Disturb = Callable[[LocalFederation, str], None]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    """Three nodes with real loans."""
    root = tmp_path_factory.mktemp("kill")
    lenders = write_lenders(root / "data")
    with LocalFederation(root / "federation") as made:
        made.init_coordinator('[training]\nlease = "5s"\nheartbeat = "1s"\n')
        made.coordinator.start()
        made.coordinator.command("contract", "publish", str(CONTRACT))
        for name, lender in zip(NAMES, lenders, strict=True):
            made.add_node(name, source=str(lender.train), extra_toml=PLAIN)
        made.wait_online()
        yield made


@pytest.fixture(scope="module")
def undisturbed(federation: LocalFederation) -> dict[str, Any]:
    """What a probe run gives that nobody disturbs."""
    return course(federation.run(PROBE))


def course(run: dict[str, Any]) -> dict[str, Any]:
    """Return what two runs must have in common."""
    assert run["state"] == "done", run["detail"]
    return {
        "digests": [entry["arrays_sha256"] for entry in run["history"]],
        "members": [entry["members"] for entry in run["history"]],
        "metrics": [entry["metrics"] for entry in run["history"]],
    }


def disturbed(federation: LocalFederation, toml: str, disturb: Disturb) -> dict[str, Any]:
    """Start a run, disturb it, put everything up again, and return the run at its end."""
    run_id = federation.run(toml, wait=False)["run_id"]
    disturb(federation, run_id)
    for daemon in (federation.coordinator, *federation.nodes.values()):
        if daemon.process is None:
            daemon.start()
    return federation.watch(run_id, timeout=150)


def rounds_done(federation: LocalFederation, run_id: str, number: int) -> None:
    """Wait until so many rounds are complete."""
    wait_until(lambda: federation.show(run_id)["rounds_done"] >= number, f"round {number}", 120)


def kill_child(daemon: Daemon, module: str) -> None:
    """``kill -9`` a worker of a daemon, as soon as there is one."""

    def found() -> list[psutil.Process]:
        return [child for child in psutil.Process(daemon.pid).children() if module in child.cmdline()]

    wait_until(lambda: bool(found()), f"a worker of {daemon.name}", 30)
    for child in found():
        child.kill()


def coordinator_at_the_offer(federation: LocalFederation, run_id: str) -> None:
    """Before anybody has answered."""
    federation.coordinator.kill()


def coordinator_between_rounds(federation: LocalFederation, run_id: str) -> None:
    """Right after a round was committed."""
    rounds_done(federation, run_id, 1)
    federation.coordinator.kill()


def coordinator_in_a_round(federation: LocalFederation, run_id: str) -> None:
    """While members work; the nodes' replies wait for it."""
    rounds_done(federation, run_id, 1)
    time.sleep(0.15)
    federation.coordinator.kill()
    time.sleep(1.5)


def run_worker_in_a_round(federation: LocalFederation, run_id: str) -> None:
    """The daemon starts another."""
    for number in (1, 2):
        rounds_done(federation, run_id, number)
        kill_child(federation.coordinator, RUN_WORKER)


def node_at_the_offer(federation: LocalFederation, run_id: str) -> None:
    """While it loads its worker."""
    federation.nodes["birch"].kill()


def node_in_a_round(federation: LocalFederation, run_id: str) -> None:
    """While it works."""
    rounds_done(federation, run_id, 1)
    time.sleep(0.1)
    federation.nodes["birch"].kill()


def node_worker_in_a_round(federation: LocalFederation, run_id: str) -> None:
    """The node starts another, from the state of the last round."""
    for number in (1, 2):
        rounds_done(federation, run_id, number)
        kill_child(federation.nodes["cedar"], NODE_WORKER)


def everything(federation: LocalFederation, run_id: str) -> None:
    """A power cut."""
    rounds_done(federation, run_id, 2)
    for daemon in (federation.coordinator, *federation.nodes.values()):
        daemon.kill()


@pytest.mark.parametrize(
    "disturb",
    [
        coordinator_at_the_offer,
        coordinator_between_rounds,
        coordinator_in_a_round,
        run_worker_in_a_round,
        node_at_the_offer,
        node_in_a_round,
        node_worker_in_a_round,
        everything,
    ],
)
def test_a_killed_process_changes_nothing(
    federation: LocalFederation, undisturbed: dict[str, Any], disturb: Disturb
) -> None:
    """Same digest, members and metrics in every round."""
    assert course(disturbed(federation, PROBE, disturb)) == undisturbed


def _a_reply_is_on_its_way(federation: LocalFederation) -> None:
    runs = federation.coordinator.home / "runs"
    wait_until(lambda: any(part.stat().st_size for part in _parts(runs)), "a reply in mid-air", 90)


def _parts(runs: Path) -> list[Path]:
    return [path for path in runs.rglob("*.part") if path.exists()]


@pytest.mark.slow
@pytest.mark.parametrize("who", ["coordinator", "ash"])
def test_a_kill_in_mid_reply_changes_nothing(federation: LocalFederation, who: str) -> None:
    """A large reply is cut off on its way, at either end."""

    def cut(federation: LocalFederation, run_id: str) -> None:
        _a_reply_is_on_its_way(federation)
        (federation.coordinator if who == "coordinator" else federation.nodes[who]).kill()

    assert course(disturbed(federation, LARGE, cut)) == course(federation.run(LARGE))


def power_cut(federation: LocalFederation) -> None:
    """Kill every daemon, and start it again."""
    everything_down = (federation.coordinator, *federation.nodes.values())
    for daemon in everything_down:
        daemon.kill()
    for daemon in everything_down:
        daemon.start()


def model_of(federation: LocalFederation, run: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return what a run must come to whatever happens: its course, and its model's facts and tensors."""
    folder = federation.coordinator.home / "runs" / run["run_id"]
    return course(run), (folder / "model.json").read_bytes() + (folder / "model.safetensors").read_bytes()


def in_training(federation: LocalFederation, run_id: str) -> None:
    """A power cut after the first round, then a lender's worker."""
    rounds_done(federation, run_id, 1)
    power_cut(federation)
    rounds_done(federation, run_id, 2)
    kill_child(federation.nodes["ash"], NODE_WORKER)


def in_preparation(federation: LocalFederation, run_id: str) -> None:
    """While members count for the first time, and again when the first totals are there."""
    folder = federation.coordinator.home / "runs" / run_id
    wait_until(lambda: any((folder / "in").glob("*.json")), "the first step to be asked", 60)
    kill_child(federation.coordinator, RUN_WORKER)
    kill_child(federation.nodes["birch"], NODE_WORKER)
    wait_until((folder / "preparation" / "step-1.totals").exists, "the first totals", 90)
    power_cut(federation)


def in_validation(federation: LocalFederation, run_id: str) -> None:
    """While members evaluate a round's model: a lender's worker and the run's, then a power cut."""
    asked = federation.coordinator.home / "runs" / run_id / "in"
    first, second = (asked / f"{message_id(run_id, number, 1, 'evaluate', 'cedar')}.json" for number in (1, 2))
    wait_until(first.exists, "the first evaluation", 90)
    kill_child(federation.nodes["cedar"], NODE_WORKER)
    kill_child(federation.coordinator, RUN_WORKER)
    wait_until(second.exists, "the second evaluation", 90)
    power_cut(federation)


def when_the_model_is_left(federation: LocalFederation, run_id: str) -> None:
    """After the last round, while its model is written, signed and registered."""
    rounds_done(federation, run_id, ROUNDS)
    federation.coordinator.kill()


@pytest.fixture(scope="module")
def undisturbed_model(federation: LocalFederation) -> tuple[dict[str, Any], bytes]:
    """What a run of the default model gives that nobody disturbs."""
    return model_of(federation, federation.run(MODEL))


@pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(in_preparation, marks=pytest.mark.slow),
        pytest.param(in_training, marks=pytest.mark.slow),
        pytest.param(in_validation, marks=pytest.mark.slow),
        pytest.param(when_the_model_is_left, marks=pytest.mark.slow),
    ],
)
def test_the_real_model_resumes_to_the_same_bytes(
    federation: LocalFederation, undisturbed_model: tuple[dict[str, Any], bytes], disturb: Disturb
) -> None:
    """The torch model on real loans too: counts, moments, random state, sums, and what is signed in the end."""
    assert model_of(federation, disturbed(federation, MODEL, disturb)) == undisturbed_model


@pytest.mark.slow
def test_a_contract_is_published_once_whenever_the_coordinator_dies(tmp_path: Path) -> None:
    """Killed at any moment of ``contract publish`` and asked again, there is one version, signed and on record."""
    with LocalFederation(tmp_path / "federation") as federation:
        federation.init_coordinator()
        for delay in (0.0, 0.25, 0.3, 0.35, 0.4, 0.5):
            federation.coordinator.start()
            publishing = threading.Thread(target=_publish, args=(federation.coordinator,))
            publishing.start()
            time.sleep(delay)
            federation.coordinator.kill()
            publishing.join()
        federation.coordinator.start()
        federation.coordinator.command("contract", "publish", str(CONTRACT))
        listed = federation.coordinator.json("contract", "list")["contracts"]
        assert [one["version"] for one in listed] == [1]
        entries = federation.coordinator.json("audit", "list", "--event", "contract.published")
        assert len(entries) == 1
        federation.coordinator.command("audit", "verify")


def _publish(coordinator: Daemon) -> None:
    with suppress(CommandFailedError):  # killed under it, or not up yet
        coordinator.command("contract", "publish", str(CONTRACT))
