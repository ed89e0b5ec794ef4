"""gRPC adapters of signals: convert, call one method, convert back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from jointrisk.clock import Clock, rfc3339, utc_now
from jointrisk.errors import InvalidInputError, TooLargeError
from jointrisk.evaluation import Purpose
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import evaluation_pb2, signal_access_pb2
from jointrisk.rpc.v1 import signal_pb2 as pb
from jointrisk.rpc.v1.signal_access_pb2_grpc import NodeAccessOperatorServicer
from jointrisk.rpc.v1.signal_pb2_grpc import SignalServiceServicer
from jointrisk_node.asking.outcome import Consent
from jointrisk_node.signals import messages
from jointrisk_node.signals.access import AccessDesk, Grant, Role
from jointrisk_node.signals.desk import SignalDesk, Terms
from jointrisk_node.signals.screening import Row, screened

MOST_PERSONS: Final = 100
MOST_IN_MESSAGE: Final = 10_000

Caller = Callable[[Context, Role], str]
"""Returns the name of who is calling, or raises when it may not."""


def at_the_socket(context: Context, role: Role) -> str:  # noqa: ARG001 - a `Caller`
    """Return who calls on the operator socket: only the daemon's user can open it."""
    return "operator"


class SignalServicer(SignalServiceServicer):
    """Serves signals. Errors are raised as they are; the server's guard maps them.

    Args:
        desk: asks.
        caller: who may ask.
    """

    def __init__(self, desk: SignalDesk, caller: Caller) -> None:
        self._desk = desk
        self._caller = caller

    async def Query(self, request: pb.QueryRequest, context: Context) -> pb.QueryResponse:
        """Ask about a few persons."""
        terms = _terms(request.purpose, request.consent_reference, self._caller(context, Role.QUERY))
        if not 1 <= len(request.persons) <= MOST_PERSONS:
            raise TooLargeError(
                f"expected 1 to {MOST_PERSONS} persons, got {len(request.persons)}", remedy="Screen books with Screen."
            )
        persons = [messages.person(one.identifiers) for one in request.persons]
        answers = await self._desk.ask(persons, terms)
        return pb.QueryResponse(
            signals=map(messages.signal, answers.signals), epochs=map(messages.epoch, answers.epochs)
        )

    async def Screen(
        self, request_iterator: AsyncIterator[pb.ScreenRequest], context: Context
    ) -> AsyncIterator[pb.ScreenResponse]:
        """Ask about a book."""
        system = self._caller(context, Role.SCREEN)
        first = await anext(aiter(request_iterator), pb.ScreenRequest())
        if first.WhichOneof("part") != "terms":
            raise InvalidInputError("expected the terms in the first message, got something else")
        terms = _terms(first.terms.purpose, first.terms.consent_reference, system)
        async for part in screened(self._desk, terms, _rows(request_iterator)):
            # Access that was taken away, or is over, ends what goes on as well.
            self._caller(context, Role.SCREEN)
            yield messages.screened(part)


class AccessServicer(NodeAccessOperatorServicer):
    """Serves the operator socket: who of the lender's own systems may ask.

    Args:
        desk: lets systems in.
        clock: the time.
    """

    def __init__(self, desk: AccessDesk, clock: Clock = utc_now) -> None:
        self._desk = desk
        self._clock = clock

    async def AddAccess(
        self, request: signal_access_pb2.AddAccessRequest, context: Context
    ) -> signal_access_pb2.AddAccessResponse:
        """Let a system in."""
        grant, token = await asyncio.to_thread(
            self._desk.add,
            request.name,
            list(request.roles),
            expires_at=_moment(request.expires_at),
            certificate=request.certificate,
        )
        return signal_access_pb2.AddAccessResponse(grant=self._grant(grant), token=token)

    async def ListAccess(
        self, request: signal_access_pb2.ListAccessRequest, context: Context
    ) -> signal_access_pb2.AccessList:
        """List the systems that are let in."""
        return signal_access_pb2.AccessList(grants=map(self._grant, self._desk.all()))

    async def RevokeAccess(
        self, request: signal_access_pb2.RevokeAccessRequest, context: Context
    ) -> signal_access_pb2.RevokeAccessResponse:
        """Take a system's access away."""
        await asyncio.to_thread(self._desk.revoke, request.name)
        return signal_access_pb2.RevokeAccessResponse()

    def _grant(self, grant: Grant) -> signal_access_pb2.AccessGrant:
        return signal_access_pb2.AccessGrant(
            name=grant.name,
            roles=sorted(grant.roles),
            by="certificate" if grant.is_certificate else "token",
            certificate_fingerprint=grant.proof.hex() if grant.is_certificate else "",
            added_at=rfc3339(grant.added_at),
            expires_at=rfc3339(grant.expires_at),
            expired=grant.has_expired(self._clock()),
        )


_PURPOSES: Final = {
    evaluation_pb2.ADMISSION: Purpose.ADMISSION,
    evaluation_pb2.PORTFOLIO: Purpose.PORTFOLIO,
    evaluation_pb2.INVESTIGATION: Purpose.INVESTIGATION,
}


def _terms(purpose: evaluation_pb2.Purpose.ValueType, consent: str, system: str) -> Terms:
    if purpose not in _PURPOSES:
        raise InvalidInputError(f"purpose: expected one of {', '.join(_PURPOSES.values())}")
    return Terms(_PURPOSES[purpose], Consent(consent), system)


async def _rows(requests: AsyncIterator[pb.ScreenRequest]) -> AsyncIterator[Sequence[Row]]:
    async for request in requests:
        if request.WhichOneof("part") != "persons" or len(request.persons.persons) > MOST_IN_MESSAGE:
            raise InvalidInputError(f"expected up to {MOST_IN_MESSAGE:,} persons after the terms")
        yield [Row(one.row, tuple(map(messages.given, one.identifiers))) for one in request.persons.persons]


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        moment = None
    if text and (moment is None or moment.tzinfo is None):
        raise InvalidInputError("expires: expected a time as RFC 3339, with its zone")
    return moment.astimezone(UTC) if moment else None
