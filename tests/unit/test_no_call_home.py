"""Nothing of Flower or torch calls home, and the daemons load neither."""

import subprocess
import sys

import pytest

_WATCHED = """
import sys
def hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request"):
        print("CALLED", event, args, flush=True)
sys.addaudithook(hook)
"""
_TASKS = """
from jointrisk.learning.flower import ConfigRecord, Context, RecordDict, act_as, instruction
from jointrisk.learning.strategies import make_strategy
from jointrisk.learning.tasks import Assignment, load_task, task_settings
import flwr.supercore.telemetry as telemetry
assert telemetry.FLWR_TELEMETRY_ENABLED == "0"
act_as("run", 1)
settings = task_settings("probe", {})
task = load_task("probe")
load_task("default_model")
make_strategy("fedadam", {}, 3)
arrays = task.initial_arrays(settings, None, 1, b"", "probe", {})
content = RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": 1})})
app = task.client_app(Assignment(settings, 1, 1))
app(instruction(content, "train", 1, "id", "1"), Context(1, 1, {}, RecordDict(), {}))
import time
time.sleep(0.5)  # telemetry would go out from a thread
print("DONE")
"""


def run(code: str) -> str:
    """Run code in a process of its own, with telemetry asked for, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"FLWR_TELEMETRY_ENABLED": "1", "PATH": "/usr/bin:/bin"},
    )
    return done.stdout


def test_training_makes_no_connection() -> None:
    """Whatever the environment says: no name is looked up, no address connected to."""
    assert run(_WATCHED + _TASKS) == "DONE\n"


@pytest.mark.parametrize("module", ["jointrisk_node.training.link", "jointrisk_coordinator.runs.supervisor"])
def test_daemons_load_neither_torch_nor_flower(module: str) -> None:
    """They carry files; the workers compute."""
    code = f"import sys, {module}; print({{'torch', 'flwr', 'numpy'}} & set(sys.modules))"
    assert run(code) == "set()\n"
