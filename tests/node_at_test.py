"""A node's membership over a real database, and its calls over real mutual TLS."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from coordinator_at_test import MASTER
from jointrisk.clock import Clock, utc_now
from jointrisk.federation.names import COORDINATOR_SERVER_NAME
from jointrisk.rpc.channel import channel
from jointrisk.rpc.v1.membership_pb2_grpc import MembershipServiceStub
from jointrisk.statedir import StateDir
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_node.joining import join
from jointrisk_node.membership.keys import NodeKeys
from jointrisk_node.membership.link import MembershipLink
from jointrisk_node.membership.membership import Membership
from jointrisk_node.store.tables import load_tables


class NodeAtTest:
    """A node in a directory; make it again over the same directory to restart it."""

    def __init__(self, root: Path, clock: Clock = utc_now) -> None:
        self.clock = clock
        self.state = StateDir.create(root)
        engine = make_engine(f"sqlite:///{root / 'state.db'}")
        load_tables().create_all(engine)
        self.store = Store(engine)
        self.audit = AuditLog(self.store, clock=clock)
        self.keys = NodeKeys(self.state, MASTER)

    async def join(self, token: str, *, give_up_after: timedelta = timedelta(seconds=20)) -> Membership:
        """Join, asking often while approvals are missing."""
        return await join(
            token,
            self.keys,
            self.store,
            self.audit,
            poll=timedelta(milliseconds=50),
            give_up_after=give_up_after,
            clock=self.clock,
        )

    def membership(self) -> Membership:
        """Return the stored membership, as after a start."""
        return Membership(self.store, self.keys, self.audit, self.clock)

    @asynccontextmanager
    async def link(self, membership: Membership | None = None) -> AsyncIterator[MembershipLink]:
        """Open a channel to the coordinator with the certificate as it is now."""
        mine = membership or self.membership()
        opened = channel(
            mine.coordinator_address, ca=mine.ca_pem, pair=mine.transport(), server_name=COORDINATOR_SERVER_NAME
        )
        async with opened:
            yield MembershipLink(mine, lambda: MembershipServiceStub(opened))

    def events(self, prefix: str = "membership.") -> list[str]:
        """Return the names of audit records."""
        return [entry.event for entry in self.audit.entries(event=prefix)]
