"""The port for other members: mutual TLS, nobody else, each call judged by the roster as it is now."""

from dataclasses import dataclass
from typing import Final

import structlog
from grpc import aio

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import UnauthenticatedError
from jointrisk.rpc import tls
from jointrisk.rpc.guard import Check, Context, Guard
from jointrisk.rpc.refusals import Who, recorder
from jointrisk.rpc.server import add_health_and_reflection, bind, check_protocol, new_server
from jointrisk.rpc.v1 import evaluation_pb2, evaluation_pb2_grpc
from jointrisk_node.audit_journal import AuditJournal
from jointrisk_node.evaluations.callers import Callers
from jointrisk_node.evaluations.desk import EvaluationDesk
from jointrisk_node.evaluations.service import EvaluationServicer
from jointrisk_node.membership.membership import Membership

_LARGEST_MESSAGE: Final = 1 << 20  # 4,096 elements are 128 KiB
_NOBODY: Final = "nobody that this federation knows"

log = structlog.get_logger()


@dataclass(frozen=True)
class PeerServer:
    """A running server.

    Attributes:
        server: gRPC's.
        servicer: has streams that stay open.
        port: at which it listens.
    """

    server: aio.Server
    servicer: EvaluationServicer
    port: int

    async def stop(self, grace: float) -> None:
        """Stop, after calls that go on, but not after more than so many seconds."""
        self.servicer.close()
        await self.server.stop(grace)


async def start_peer_server(
    address: str,
    membership: Membership,
    callers: Callers,
    desk: EvaluationDesk,
    journal: AuditJournal,
    clock: Clock = utc_now,
) -> PeerServer:
    """Serve other members. Whoever called this stops it.

    Args:
        address: "host:port" to listen at; port 0 takes a free one.
        membership: this node's: its certificate as it is at each handshake, and the CA.
        callers: who may call.
        desk: answers.
        journal: gets a record of refused calls.
        clock: the time.

    Raises:
        ConflictError: the address is taken or not this machine's.
    """
    guard = Guard([check_protocol, _members_only(callers)], recorder(journal.append, _who, clock=clock))
    server = new_server(guard, max_message_bytes=_LARGEST_MESSAGE)
    port = bind(server, address, tls.server_credentials(membership.transport, membership.ca_pem))
    servicer = EvaluationServicer(desk, tls.peer)
    evaluation_pb2_grpc.add_EvaluationServiceServicer_to_server(servicer, server)
    add_health_and_reflection(server, list(evaluation_pb2.DESCRIPTOR.services_by_name.values()))
    await server.start()
    log.info("peers.ready", port=port)
    return PeerServer(server, servicer, port)


def _members_only(callers: Callers) -> Check:
    async def check(context: Context, method: str) -> None:  # noqa: ARG001 - a check's signature
        callers.require(tls.peer(context))

    return check


def _who(context: Context) -> Who:
    """Return whose certificate it is: the CA gives names, so that there are not many."""
    try:
        name = tls.peer(context).member_id
    except UnauthenticatedError:
        name = _NOBODY
    return Who(name, name)
