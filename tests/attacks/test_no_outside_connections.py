"""Nothing of a federation talks to anybody outside of it, whatever the libraries in it would like to tell home."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from connection_witness import ConnectionWitness, is_here, is_outside
from lender_books import add_lender, publish_sample, run_settings, sound_rows, write_book
from local_federation import LocalFederation

ADAM = 'strategy = "fedadam"\n'


@pytest.mark.federation
def test_a_federation_connects_to_itself_only(tmp_path: Path) -> None:
    """Daemons, workers and commands, through joining, two trainings and audits: every target is this machine."""
    witness = ConnectionWitness(tmp_path / "witness")
    # On whatever a person's shell says, telemetry stays off.
    environment = witness.environment | {"FLWR_TELEMETRY_ENABLED": "1"}
    with witness, LocalFederation(tmp_path / "f", founding_members=2, approvals_required=1) as federation:
        federation.coordinator.environment.update(environment)
        federation.init_coordinator()
        federation.coordinator.start()
        publish_sample(federation)
        for name in ("bank", "shop"):
            book = write_book(tmp_path / f"{name}.parquet", sound_rows())
            add_lender(federation, name, book=book, environment=environment)
        federation.wait_online()
        for more in ("", ADAM):
            run = federation.run(run_settings(rounds=1, more=more))
            assert run["state"] == "done", run["detail"]
        federation.nodes["bank"].command("data", "check")
    events = list(witness.events())
    started = " | ".join(" ".join(map(str, words)) for event, words in events if event == "started")
    for process in ("cli coordinator", "cli node", "node.training.worker", "coordinator.runs.worker"):
        assert process in started, "every kind of process has been watched"
    assert [(event, arguments) for event, arguments in events if is_outside(event, arguments)] == []
    remotes = witness.remotes()
    assert any("cli node" in process for process, _ in remotes), "the stream to the coordinator has been seen"
    assert [one for one in remotes if not is_here(one[1])] == []


@pytest.mark.parametrize("script", ["import urllib.request as r; r.urlopen('http://192.0.2.1/', timeout=0.1)",
                                    "import socket; socket.getaddrinfo('telemetry.invalid', 443)"])  # fmt: skip
def test_a_connection_outside_would_be_seen(tmp_path: Path, script: str) -> None:
    """The watch itself works: a request to a foreign address is among the events."""
    witness = ConnectionWitness(tmp_path / "witness")
    subprocess.run(
        [sys.executable, "-c", script], env=os.environ | witness.environment, capture_output=True, check=False
    )
    assert any(is_outside(event, arguments) for event, arguments in witness.events())


_IMPORT = """
import os, sys

seen = []

def hook(event, arguments):
    if event == "import" and str(arguments[0]).split(".")[0] == "flwr":
        seen.append(os.environ.get("FLWR_TELEMETRY_ENABLED"))

sys.addaudithook(hook)
import jointrisk.learning.flower
from flwr.supercore import telemetry
print(set(seen), telemetry.FLWR_TELEMETRY_ENABLED)
"""


@pytest.mark.parametrize("before", [None, "0", "1"])
def test_flowers_telemetry_is_off_before_flower_is_there(before: str | None) -> None:
    """In a fresh interpreter, whatever the environment said, no module of Flower has ever seen it on."""
    environment = {name: value for name, value in os.environ.items() if name != "FLWR_TELEMETRY_ENABLED"}
    environment |= {} if before is None else {"FLWR_TELEMETRY_ENABLED": before}
    done = subprocess.run([sys.executable, "-c", _IMPORT], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'0'} 0"
