"""The port where the lender's own systems ask for signals: TLS, access control, and a record of who was refused.

The server shows the node's member certificate; clients trust the federation's CA and expect the member's name
(docs/signals.md). Without ``client_ca`` callers prove who they are by tokens; with it TLS asks each for a certificate.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from jointrisk.errors import InvalidInputError, JointriskError
from jointrisk.federation.certificates import KeyPair, certificate_fingerprint, certificate_from_pem
from jointrisk.rpc.guard import Context, Guard
from jointrisk.rpc.refusals import Who, recorder
from jointrisk.rpc.server import bind, new_server
from jointrisk.rpc.tls import open_server_credentials, server_credentials
from jointrisk.rpc.v1.signal_pb2_grpc import add_SignalServiceServicer_to_server
from jointrisk_node.signals.access import AccessDesk, Role, Shown
from jointrisk_node.signals.desk import SignalDesk
from jointrisk_node.signals.ports import Journal
from jointrisk_node.signals.service import SignalServicer
from jointrisk_node.signals.settings import SignalSettings

log = structlog.get_logger()

_ROLES = {"/jointrisk.v1.SignalService/Query": Role.QUERY, "/jointrisk.v1.SignalService/Screen": Role.SCREEN}
_LONGEST_HEADER = 200


class SignalPort:
    """The port of one daemon.

    Args:
        desk: asks.
        access: who may.
        journal: records who was refused.
        settings: where to listen.
        transport: returns the node's transport key and certificate to use now.
        ca: the federation's CA, PEM.
    """

    def __init__(
        self,
        desk: SignalDesk,
        access: AccessDesk,
        journal: Journal,
        settings: SignalSettings,
        *,
        transport: Callable[[], KeyPair],
        ca: bytes,
    ) -> None:
        self._desk = desk
        self._access = access
        self._settings = settings
        self._transport = transport
        self._ca = ca
        self._server = new_server(Guard([self._check], recorder(journal.append, _anybody, event="signals.refused")))
        self.port = 0
        """Where it listens; 0 before it does."""

    async def start(self) -> None:
        """Listen, where the settings say that this node does.

        Raises:
            ConflictError: the address is taken.
            InvalidInputError: the file of the callers' CAs cannot be read.
        """
        if not self._settings.listen:
            return
        own_ca = await asyncio.to_thread(_client_ca, self._settings.client_ca) if self._settings.client_ca else b""
        credentials = (
            server_credentials(self._transport, own_ca)
            if own_ca
            else open_server_credentials(self._transport, self._ca)
        )
        add_SignalServiceServicer_to_server(SignalServicer(self._desk, self._caller), self._server)
        self.port = bind(self._server, self._settings.listen, credentials)
        await self._server.start()
        log.info("signals.listening", address=self._settings.listen)

    async def stop(self, grace: float) -> None:
        """Take no more calls, and end those that go on after so many seconds."""
        await self._server.stop(grace)

    def _caller(self, context: Context, role: Role) -> str:
        return self._access.caller(_shown(context), role)

    async def _check(self, context: Context, method: str) -> None:
        if method in _ROLES:
            self._caller(context, _ROLES[method])


def _shown(context: Context) -> Shown:
    pairs = context.invocation_metadata() or ()
    said = next((value for key, value in pairs if key == "authorization"), "")
    pems = context.auth_context().get("x509_pem_cert") or ()
    pem = next(iter(pems), None)
    certificate = None if pem is None else certificate_fingerprint(certificate_from_pem(bytes(pem)))
    return Shown(said if isinstance(said, str) else "", certificate)


def _client_ca(path: str) -> bytes:
    try:
        pem = Path(path).read_bytes()
        certificate_from_pem(pem)
    except (OSError, JointriskError):
        raise InvalidInputError(
            f"expected PEM certificates in {path}", remedy="Check [signals] client_ca in node.toml."
        ) from None
    return pem


def _anybody(context: Context) -> Who:
    """Return where a call came from; all share a minute."""
    return Who("", context.peer()[:_LONGEST_HEADER])
