"""A real node daemon whose coordinator is an attacker, and what its audit log and its folders show."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import psutil

from jointrisk.commandline.daemon_call import daemon
from jointrisk.rpc.v1 import node_operator_pb2 as pb
from jointrisk.rpc.v1.node_operator_pb2_grpc import NodeOperatorStub
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from local_federation import LocalFederation
from node_at_test import NodeAtTest

NAME = "victim"
SETTINGS = '[data]\nsource = ""\n[policy]\ntasks = ["probe"]\nminimum_parties = 3\nplain_aggregation = true\n'
_WORKER = "jointrisk_node.training.worker"
_PATIENCE = 30.0


class Victim:
    """A node that is a member with two others, and its coordinator's state directory; the coordinator has stopped.

    Args:
        root: where everything goes.
    """

    def __init__(self, root: Path) -> None:
        self.federation = LocalFederation(root / "f")
        self.federation.init_coordinator()
        self.coordinator = self.federation.coordinator
        self.coordinator.start()
        self.node = self.federation.add_node(NAME, start=False)
        (self.node.home / "node.toml").write_text(SETTINGS)
        for name in ("friend", "other"):
            asyncio.run(NodeAtTest(root / name).join(self.federation.invite(name)))
        self.node.start()
        self.federation.wait_online(NAME)
        self.coordinator.stop()
        self.audit = AuditLog(Store(make_engine(f"sqlite:///{self.node.home / 'state.db'}")))
        self._pid = self.node.pid

    def last_record(self) -> int:
        """Return the number of the newest audit record."""
        return self.audit.newest(1)[-1].seq

    def records(self, after: int, event: str) -> list[dict[str, Any]]:
        """Return the fields of later records of an event."""
        return [dict(entry.fields) for entry in self.audit.entries(after=after, event=event)]

    async def recorded(self, after: int, event: str) -> dict[str, Any]:
        """Wait for a record of an event and return its fields."""
        await self.wait(lambda: bool(self.records(after, event)), f"a record of {event}")
        return self.records(after, event)[0]

    async def wait(self, condition: Any, what: str) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"waited for {what}:\n{self.node.log_tail()}"
            await asyncio.sleep(0.02)

    def workers(self) -> list[int]:
        """Return the process ids of the node's workers."""
        children = psutil.Process(self.node.pid).children(recursive=True)
        return [child.pid for child in children if child.is_running() and _WORKER in child.cmdline()]

    def files(self) -> list[str]:
        """Return what lies in the folder of training tasks."""
        folder = self.node.home / "training"
        # os.walk takes no offence at folders that are gone by now
        return sorted(str(Path(root, name).relative_to(folder)) for root, _, names in os.walk(folder) for name in names)

    def status(self) -> pb.NodeStatus:
        """Return what the daemon says of itself."""
        with daemon(self.node.home, "node") as opened:
            said: pb.NodeStatus = NodeOperatorStub(opened).GetStatus(pb.GetNodeStatusRequest(), timeout=20)
        return said

    def require_unharmed(self) -> None:
        """Check that the daemon goes on, has met no error that nobody foresaw, and has written nowhere else."""
        assert self.node.pid == self._pid
        assert self.status().member_id == NAME
        log = (self.node.home.parent / f"{NAME}.log").read_text()
        for unforeseen in ("Traceback", "training.stream_failed", "training.task_lost"):
            assert unforeseen not in log
        beside = {path.name for path in self.node.home.parent.iterdir()}
        assert beside == {"coordinator", "coordinator.log", NAME, f"{NAME}.log", "keys"}

    def restart(self) -> None:
        """Stop and start the node: it connects at once, however long it meant to wait."""
        self.node.stop()
        self.node.start()
        self._pid = self.node.pid

    def stop(self) -> None:
        """Stop the processes."""
        self.federation.stop()
