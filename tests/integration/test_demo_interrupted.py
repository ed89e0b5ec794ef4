"""``make demo`` ended by Ctrl-C, or by kill -9, wherever it is: no process stays behind."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local_federation import wait_until

pytestmark = [pytest.mark.federation, pytest.mark.slow]

ROOT = Path(__file__).resolve().parent.parent.parent
MARK = "JOINTRISK_DEMO_UNDER_TEST"
MOMENTS = ["Starting the coordinator", "joins by token", "Waiting for three streams", "training.worker"]


class Demo:
    """A demo in a tree of its own, so that it is nobody else's build/demo."""

    def __init__(self, root: Path) -> None:
        self._mark = secrets.token_hex(8)
        shutil.copytree(ROOT / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        (root / "deploy").symlink_to(ROOT / "deploy")
        self._shown = root / "shown"
        with self._shown.open("wb") as shown:
            self.process = subprocess.Popen(
                [sys.executable, str(root / "tools" / "demo.py")],
                stdin=subprocess.DEVNULL,
                stdout=shown,
                stderr=shown,
                start_new_session=True,
                env=os.environ | {MARK: self._mark, "PYTHONUNBUFFERED": "1"},
            )

    def processes(self) -> Iterator[psutil.Process]:
        """Yield every living process that has the demo's environment."""
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    yield process
            except psutil.Error:
                continue

    def wait_for(self, moment: str) -> None:
        """Wait until the demo has shown a text, or runs a process whose command line holds it."""

        def there() -> bool:
            assert self.process.poll() is None, self.shown()
            return moment in self.shown() or any(moment in " ".join(one.cmdline()) for one in self.processes())

        wait_until(there, moment, 300)

    def shown(self) -> str:
        """Return what it has printed."""
        return self._shown.read_text(errors="replace")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A demo that has just been started; what is left of it is killed at the end."""
    started = Demo(tmp_path)
    yield started
    for process in started.processes():
        process.kill()
    started.process.wait()


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_leaves_no_process(demo: Demo, moment: str) -> None:
    """A terminal sends SIGINT to the whole foreground group; the demo says so and ends with 130."""
    demo.wait_for(moment)
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.process.wait(timeout=60) == 130, demo.shown()
    assert "Traceback" not in demo.shown()
    assert list(demo.processes()) == []


def test_a_killed_demo_leaves_no_process(demo: Demo) -> None:
    """Nothing of the demo can run any code then: the kernel ends daemons and workers."""
    demo.wait_for("training.worker")
    demo.process.kill()
    demo.process.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and list(demo.processes()):
        time.sleep(0.1)
    assert [" ".join(one.cmdline()) for one in demo.processes()] == []
