"""Publishes the sample model over and over, each time killed one line later: ``publishing_process.py TEMPLATE``.

Every life is a process of its own (forked, so that they are quick): the first is ended by SIGKILL at the n-th line that
runs in the publishing code, in what writes files and in the store; the second publishes to the end. Prints one JSON
line for each n: what was in the way when the first died, and the digest of what the second left.
"""

import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from jointrisk import durable
from jointrisk.federation.signing import public_bytes
from jointrisk.store import AuditLog, Store, engine
from jointrisk.store.connections import make_engine
from jointrisk_coordinator.registry import ledger, publishing
from model_sample import KEY, sample_lineage, signer

WATCHED = {module.__file__ for module in (durable, engine, ledger, publishing)}


def registry(home: Path) -> publishing.ModelRegistry:
    """Open the registry of a home directory."""
    store = Store(make_engine(f"sqlite:///{home / 'state.db'}"))
    return publishing.ModelRegistry(store, home / "models", signer(), public_bytes(KEY), AuditLog(store))


def publish(home: Path, last_line: int = 0) -> None:
    """Publish; die before the given line of the watched modules, where one is given."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            lines += 1
            if lines == last_line:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    if last_line:
        sys.settrace(trace)
    registry(home).publish(home / "run", sample_lineage())


def life(home: Path, last_line: int = 0) -> int:
    """Publish in a process of its own, and return how it ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            publish(home, last_line)
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def main() -> None:
    """Kill at every line, until a life survives."""
    template = Path(sys.argv[1])
    for last_line in range(1, 10_000):
        home = template.with_name(f"home-{last_line}")
        shutil.copytree(template, home)
        first = life(home, last_line)
        left = sorted(path.name for path in (home / "models").glob("*"))
        second = life(home)
        published = [[model.number, model.digest] for model in registry(home).published()]
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (home / "models").glob("*")}
        shutil.rmtree(home)
        told = {"first": first, "left": left, "second": second, "rows": published, "files": files}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        if first == 0:
            return


if __name__ == "__main__":
    main()
