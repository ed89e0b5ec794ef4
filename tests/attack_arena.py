"""Where attacks happen: a real coordinator daemon, an honest node's daemon, and members whose keys an attacker has."""

import asyncio
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc

from coordinator_at_test import MASTER
from hostile_node import HostileNode
from jointrisk.commandline.daemon_call import daemon
from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb
from jointrisk.rpc.v1 import training_pb2
from jointrisk.rpc.v1.coordinator_operator_pb2_grpc import CoordinatorOperatorStub
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk.transfer import message_id
from local_federation import LocalFederation, wait_until
from node_at_test import NodeAtTest

HONEST = "honest"
LEASE = 5.0
CHUNK, LARGEST = 64 << 10, 8 << 20
SETTINGS = f"""
[training]
lease = "{LEASE:.0f}s"
heartbeat = "1s"
chunk_bytes = {CHUNK}
max_message_bytes = {LARGEST}
"""
_TURNS = 3
POLICY = '[data]\nsource = ""\n[policy]\ntasks = ["probe"]\nminimum_parties = 1\nplain_aggregation = true\n'


@dataclass(frozen=True)
class Bait:
    """A run whose offer one hostile member has not answered: an open task of a known id."""

    run_id: str
    message_id: str

    def reply(self, content: bytes = b"{}", **changed: Any) -> training_pb2.NodeFrame:
        """Return a whole reply to it in one frame, or one with other fields."""
        fields: dict[str, Any] = {
            "message_id": self.message_id,
            "total_bytes": len(content),
            "sha256": hashlib.sha256(content).digest(),
            "data": content,
        } | changed
        return training_pb2.NodeFrame(reply=training_pb2.Reply(**fields))


class Arena:
    """One federation for many attacks.

    Args:
        root: where everything goes.
        hostile: names of the members that an attacker has.
    """

    def __init__(self, root: Path, hostile: tuple[str, ...]) -> None:
        self.root = root
        self.federation = LocalFederation(root / "f", founding_members=len(hostile) + 1, approvals_required=2)
        self.federation.init_coordinator(SETTINGS)
        self.federation.coordinator.start()
        self.home = self.federation.coordinator.home
        self.address = self.operator("GetStatus", pb.GetCoordinatorStatusRequest()).address
        self.ca = (self.home / "ca.crt").read_bytes()
        self.audit = AuditLog(Store(make_engine(f"sqlite:///{self.home / 'state.db'}")))
        self._start_honest()
        self.members = {name: self.join(name) for name in hostile}
        self._turns: Iterator[str] = cycle(hostile[:_TURNS])
        self._log_seen = 0

    def operator(self, method: str, request: Any) -> Any:
        """Ask the coordinator's operator service."""
        with daemon(self.home, "coordinator") as opened:
            return getattr(CoordinatorOperatorStub(opened), method)(request, timeout=30)

    def invite(self, name: str) -> str:
        """Return a token."""
        token: str = self.operator("Invite", pb.InviteRequest(member_id=name)).token
        return token

    def join(self, name: str) -> HostileNode:
        """Let a node join over the join port, and hand its keys to the attacker."""
        home = self.root / name
        asyncio.run(NodeAtTest(home).join(self.invite(name)))
        return HostileNode.take_over(name, home, MASTER, address=self.address, ca=self.ca)

    def next_hostile(self) -> HostileNode:
        """Return a member that the attacker has; each in its turn, since refusals are recorded so often a minute."""
        return self.members[next(self._turns)]

    def start_run(self, *members: str, more: str = "", task_settings: str = "") -> str:
        """Start a probe run and return its id."""
        names = ", ".join(f'"{name}"' for name in sorted(members))
        run = f'task = "probe"\nmembers = [{names}]\naggregation = "plain"\nminimum_members = 1\n{more}'
        toml = f"{run}\n[task_settings]\n{task_settings}"
        run_id: str = self.operator("StartRun", pb.StartRunRequest(toml=toml)).run_id
        return run_id

    def bait(self, member: str, *others: str) -> Bait:
        """Start a run that waits for what ``member``, and others, say to its offer."""
        run_id = self.start_run(member, *others, more='offer_deadline = "1h"')
        return Bait(run_id, message_id(run_id, 0, 1, "offer", member))

    def end(self, run_id: str) -> None:
        """Cancel a run that may have ended."""
        if self.run(run_id).state in ("starting", "running", "waiting"):
            self.operator("CancelRun", pb.CancelRunRequest(run_id=run_id))

    def run(self, run_id: str) -> pb.Run:
        """Return a run as it is."""
        found: pb.Run = self.operator("GetRun", pb.GetRunRequest(run_id=run_id))
        return found

    def follow(self, run_id: str, timeout: float = 60) -> pb.Run:
        """Wait until a run has ended and return it."""
        wait_until(lambda: bool(self.run(run_id).ended_at), f"{run_id} to end", timeout)
        return self.run(run_id)

    def online(self) -> set[str]:
        """Return the members that have a stream."""
        listed = self.operator("ListMembers", pb.ListMembersRequest())
        return {member.member_id for member in listed.members if member.online}

    def last_record(self) -> int:
        """Return the number of the newest audit record."""
        return self.audit.newest(1)[-1].seq

    def records(self, after: int, event: str, **fields: str | int) -> list[dict[str, Any]]:
        """Return the fields of later records of an event that have these fields."""
        entries = self.audit.entries(after=after, event=event)
        return [dict(entry.fields) for entry in entries if fields.items() <= dict(entry.fields).items()]

    async def recorded(self, after: int, event: str, **fields: str | int) -> dict[str, Any]:
        """Wait for such a record and return its fields."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            if found := self.records(after, event, **fields):
                return found[0]
            await asyncio.sleep(0.02)
        raise AssertionError(f"no record of {event} with {fields}")

    def require_serving(self) -> None:
        """Check that the daemon has not died and that the honest node's stream was never cut."""
        coordinator = self.federation.coordinator
        assert coordinator.process is not None
        assert coordinator.process.poll() is None, coordinator.log_tail()
        assert HONEST in self.online()
        lines = self._new_log().splitlines()
        assert not [line for line in lines if "training.disconnected" in line and f'"{HONEST}"' in line]
        # gRPC logs with a traceback that a peer has gone while a frame was on its way; ours mean an error unforeseen.
        foreign = '"grpc._cython.cygrpc"'
        assert not [line for line in lines if "rpc.failed" in line or ("Traceback" in line and foreign not in line)]

    def _new_log(self) -> str:
        """Return what the coordinator has logged since the last look."""
        with (self.home.parent / "coordinator.log").open() as file:
            file.seek(self._log_seen)
            new = file.read()
            self._log_seen = file.tell()
        return new

    def log_bytes(self) -> int:
        """Return how much the coordinator has logged so far."""
        return (self.home.parent / "coordinator.log").stat().st_size

    def stop(self) -> None:
        """Stop all processes."""
        self.federation.stop()

    def _start_honest(self) -> None:
        node = self.federation.add_node(HONEST, start=False)
        (node.home / "node.toml").write_text(POLICY)
        node.start()
        self.federation.wait_online(HONEST)


async def call(method: Any, request: Any) -> Any:
    """Call a unary method of a stub, with typed errors."""
    from jointrisk.rpc.errors import from_rpc

    try:
        return await method(request, timeout=20)
    except grpc.RpcError as failure:
        raise from_rpc(failure, peer="the coordinator") from None
