"""A coordinator's membership served over real sockets: the join port and the mutual-TLS port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from grpc import aio

from coordinator_at_test import CoordinatorAtTest, MovableClock
from jointrisk.clock import utc_now
from jointrisk.errors import JointriskError
from jointrisk.federation.certificates import KeyPair
from jointrisk.federation.names import COORDINATOR_SERVER_NAME
from jointrisk.rpc.channel import channel
from jointrisk.rpc.guard import Context, Guard
from jointrisk.rpc.server import bind, check_protocol, new_server
from jointrisk.rpc.tls import open_server_credentials, peer, server_credentials
from jointrisk.rpc.v1.join_pb2_grpc import add_JoinServiceServicer_to_server
from jointrisk.rpc.v1.membership_pb2_grpc import add_MembershipServiceServicer_to_server
from jointrisk_coordinator.authority import ServerCertificate
from jointrisk_coordinator.membership.ledger import MembershipRules
from jointrisk_coordinator.membership.service import JoinServicer, MembershipServicer


class PresentClock(MovableClock):
    """The present time, moved by as much as a test says."""

    def __init__(self) -> None:
        super().__init__(datetime.now(UTC))
        self._start = self.now

    def __call__(self) -> datetime:
        """Return the present time plus what it was moved by."""
        return utc_now() + (self.now - self._start)


class ServedCoordinator(CoordinatorAtTest):
    """A coordinator with two ports on the loopback."""

    def __init__(self, root: Path, rules: MembershipRules | None = None) -> None:
        super().__init__(root, rules, PresentClock())
        self.certificate = ServerCertificate(self.authority, self.rules.certificate_lifetime, self.clock)
        self.refused: list[JointriskError] = []
        self.join_port = 0
        self.port = 0
        self._servers: list[aio.Server] = []

    @property
    def join_address(self) -> str:
        """Where nodes join."""
        return f"127.0.0.1:{self.join_port}"

    def invitation(self, name: str, *, replace_key: bool = False) -> str:
        """Return a token for the served join port."""
        return self.office.invite(name, self.join_address, replace_key=replace_key).token

    async def start(self) -> None:
        """Serve both ports, at the same numbers as before when it was stopped."""
        ca = self.authority.certificate_pem
        members = new_server(Guard([check_protocol, self._check_member], self._record))
        add_MembershipServiceServicer_to_server(MembershipServicer(self.office, peer), members)
        self.port = bind(members, f"127.0.0.1:{self.port}", server_credentials(self.certificate, ca))
        joining = new_server(Guard([check_protocol], self._record))
        servicer = JoinServicer(self.office, f"127.0.0.1:{self.port}")
        add_JoinServiceServicer_to_server(servicer, joining)
        self.join_port = bind(joining, self.join_address, open_server_credentials(self.certificate, ca))
        self._servers = [members, joining]
        for server in self._servers:
            await server.start()

    async def stop(self) -> None:
        """Stop at once."""
        await asyncio.gather(*(server.stop(0) for server in self._servers))
        self._servers = []

    def channel(self, pair: KeyPair, *, ca: bytes | None = None) -> aio.Channel:
        """Return a channel to the mutual-TLS port that presents any pair."""
        address = f"127.0.0.1:{self.port}"
        return channel(address, ca=ca or self.authority.certificate_pem, pair=pair, server_name=COORDINATOR_SERVER_NAME)

    async def _check_member(self, context: Context, method: str) -> None:  # noqa: ARG002 - a guard's check
        self.office.require_current(peer(context))

    async def _record(self, context: Context, method: str, error: JointriskError) -> None:  # noqa: ARG002 - as above
        self.refused.append(error)


@asynccontextmanager
async def served(root: Path, rules: MembershipRules | None = None) -> AsyncIterator[ServedCoordinator]:
    """Serve a coordinator for the block."""
    coordinator = ServedCoordinator(root, rules)
    await coordinator.start()
    try:
        yield coordinator
    finally:
        await coordinator.stop()
