"""The tutorials, executed: every command of both pages in the order of their steps, with three members."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from demo_data import LENDERS, write_lenders

pytestmark = [pytest.mark.federation, pytest.mark.timeout(400)]  # every command is a process of its own

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = {"coordinator": "docs/tutorial-coordinator.md", "member": "docs/tutorial-member.md"}
_BLOCK = re.compile(r"<!-- step (\d+) -->\n```sh\n(.*?)```", re.DOTALL)
_ROWS = 4000


def steps() -> list[tuple[int, str, str]]:
    """Return (step, role, commands) of both pages, in order."""
    found = [
        (int(number), role, text)
        for role, page in PAGES.items()
        for number, text in _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    ]
    return sorted(found)


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Path]:
    """A folder with the lenders' loan books and the contract; whatever is started in it is ended."""
    for lender in write_lenders(tmp_path / "data"):
        pq.write_table(pq.read_table(lender.train).slice(0, _ROWS), tmp_path / f"{lender.name}.parquet")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    yield tmp_path
    for process in psutil.process_iter():
        if str(tmp_path) in " ".join(_environment(process).values()):
            process.kill()


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        found = process.environ()
    except psutil.Error:
        return {}
    return {key: value for key, value in found.items() if key.startswith("JOINTRISK_")}


def run(folder: Path, commands: str, name: str, port: str = "") -> None:
    """Run one block as its reader would, in the folder."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "JOINTRISK_COORDINATOR_HOME": str(folder / "coordinator"),
        "JOINTRISK_NODE_HOME": str(folder / name),
        "NAME": name,
        "PORT": port,
    }
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, f"{name}: {commands}\n{done.stdout}\n{done.stderr}"


def jointrisk(folder: Path, name: str, *arguments: str, given: str = "") -> Any:
    """Run one command of a member and return its JSON."""
    command = [sys.executable, "-m", "jointrisk.cli", "node", "--home", str(folder / name), *arguments]
    ended = subprocess.run(command, input=given.encode(), capture_output=True, check=True, timeout=60)
    return json.loads(ended.stdout)


def free_ports(count: int) -> list[str]:
    """Return ports that nobody listens at."""
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [str(one.getsockname()[1]) for one in opened]


def test_the_tutorials_run_as_they_stand(workplace: Path) -> None:
    """Each step of the pages works for a reader who types it."""
    ports = dict(zip(("7443", "7444", *LENDERS), free_ports(2 + len(LENDERS)), strict=True))
    for _, role, text in steps():
        commands = re.sub(r"\b744[34]\b", lambda port: ports[port[0]], text)
        for name in LENDERS if role == "member" else ("coordinator",):
            run(workplace, commands, name, ports.get(name, ""))
    for name in LENDERS:
        scored = pq.read_table(workplace / f"{name}.scored.parquet")
        assert scored.num_rows == _ROWS
    shown = [jointrisk(workplace, name, "ceremony", "generations", "--json") for name in LENDERS]
    keys = {one["group_key"] for generations in shown for one in generations["generations"]}
    assert len(keys) == 1
    answer = jointrisk(
        workplace,
        LENDERS[0],
        *("signals", "query", "--purpose", "admission", "--consent", "app-2", "--json"),
        given="phone CN 159 3789 3177",
    )
    assert answer["signals"][0]["exposure"]["active_loan_lenders"] == len(LENDERS)
    assert [one["generations"][0]["ours"] for one in shown] == ["holds a share"] * len(LENDERS)


def test_every_block_of_the_tutorials_is_a_step() -> None:
    """No command stands on a page that the test does not run."""
    for page in PAGES.values():
        text = (ROOT / page).read_text(encoding="utf-8")
        assert text.count("```sh") == len(_BLOCK.findall(text))
