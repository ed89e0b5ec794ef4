"""How long a round takes on Flower's own processes: SuperLink, SuperNodes, and what they start per message.

The figure that our rounds are compared with. Everything runs on this machine, unencrypted and from a folder
of its own; telemetry, update check and dependency installation are off, so nothing leaves the machine.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from benchmarks.process_tree import free_ports, running

APP = Path(__file__).parent / "superlink_app"
BIN = Path(sys.executable).parent


def round_seconds(nodes: int, rounds: int, deadline_seconds: float = 300) -> float:
    """Return the median seconds of ``rounds`` rounds of a trivial NumPy job.

    Raises:
        TimeoutError: the rounds did not end in time; the message holds the end of SuperLink's log.
    """
    with tempfile.TemporaryDirectory(prefix="jointrisk-superlink-") as folder, ExitStack() as stack:
        scratch = Path(folder)
        link_port, *node_ports = free_ports(nodes + 1)
        environment = _environment(scratch, link_port)
        link = [str(BIN / "flower-superlink"), "--insecure", "--disable-runtime-dependency-installation"]
        link += ["--host", "127.0.0.1", "--port", str(link_port)]
        stack.enter_context(running(link, scratch / "superlink.log", environment))
        _wait_for_port(link_port, time.monotonic() + 60)
        for port in node_ports:
            node = [str(BIN / "flower-supernode"), "--insecure", "--superlink", f"127.0.0.1:{link_port}"]
            node += ["--port", str(port)]
            stack.enter_context(running(node, scratch / f"supernode-{port}.log", environment))
        _submit(scratch, environment, nodes=nodes, rounds=rounds)
        ends = _wait_for_rounds(scratch, rounds, time.monotonic() + deadline_seconds)
    return statistics.median(after - before for before, after in pairwise(ends))


def _environment(scratch: Path, link_port: int) -> dict[str, str]:
    home = scratch / "home"
    home.mkdir()
    address = f'address = "127.0.0.1:{link_port}"\ninsecure = true\n'
    (home / "config.toml").write_text(f'[superlink]\ndefault = "here"\n\n[superlink.here]\n{address}')
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    # SuperLink finds the programs that it starts by PATH.
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    return {**os.environ, **quiet, "HOME": str(home), "FLWR_HOME": str(home), "PATH": path}


def _submit(scratch: Path, environment: dict[str, str], *, nodes: int, rounds: int) -> None:
    app = shutil.copytree(APP, scratch / "app", ignore=shutil.ignore_patterns("__pycache__"))
    config = f'nodes={nodes} rounds={rounds} progress="{scratch / "progress.json"}"'
    command = [str(BIN / "flwr"), "run", str(app), "here", "--run-config", config]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=60)


def _wait_for_port(port: int, deadline: float) -> None:
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("Flower's SuperLink did not listen in time")


def _wait_for_rounds(scratch: Path, rounds: int, deadline: float) -> list[float]:
    progress = scratch / "progress.json"
    while time.monotonic() < deadline:
        # The first entry is written before the first round.
        ends = json.loads(progress.read_text()) if progress.exists() else []
        if len(ends) == rounds + 1:
            return [float(end) for end in ends]
        time.sleep(0.1)
    tail = (scratch / "superlink.log").read_text(errors="replace")[-2000:]
    raise TimeoutError(f"Flower's processes did not finish {rounds} rounds in time: {tail}")
