"""Keeping the membership current over gRPC: the roster, the certificate, approvals."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import structlog

from jointrisk.errors import CorruptError, NotFoundError
from jointrisk.federation.certificates import (
    KeyPair,
    certificate_from_der,
    certificate_from_pem,
    certificate_request,
    certificate_to_pem,
    issued_by,
    key_to_pem,
    member_of,
    new_transport_key,
)
from jointrisk.foreign_text import printable
from jointrisk.rpc.documents import from_message, to_message
from jointrisk.rpc.errors import from_rpc
from jointrisk.rpc.v1 import membership_pb2 as pb
from jointrisk_node.attempts import attempt
from jointrisk_node.membership.membership import Membership
from jointrisk_node.membership.views import Candidate

if TYPE_CHECKING:
    from jointrisk.rpc.v1.membership_pb2_grpc import MembershipServiceAsyncStub

CALL_SECONDS = 20.0
"""Within which the coordinator answers one call."""

_RETRY = timedelta(seconds=5)
_LONGEST_TEXT = 2000

log = structlog.get_logger()


class MembershipLink:
    """What the node asks the coordinator about membership.

    Args:
        membership: this node's membership.
        stub: returns the service over the present channel, which is another one after a renewal.
    """

    def __init__(self, membership: Membership, stub: "Callable[[], MembershipServiceAsyncStub]") -> None:
        self._membership = membership
        self._stub = stub

    async def refresh_roster(self) -> bool:
        """Fetch the roster if there is a newer one, and apply it; return whether there was.

        Raises:
            UnavailableError, DeadlineError: the coordinator cannot be reached.
            RosterRuleError, CorruptError: what it sent breaks a rule.
        """
        known = self._membership.roster.version
        with coordinator_errors():
            request = pb.GetRosterRequest(known_version=known)
            response = await self._stub().GetRoster(request, timeout=CALL_SECONDS)
        if not response.HasField("roster"):
            return False
        return await asyncio.to_thread(self._membership.apply_roster, from_message(response.roster))

    async def renew_if_due(self) -> bool:
        """Renew the certificate, with a fresh key, when two thirds of its lifetime have passed.

        Key and certificate are swapped in one atomic write: a node that is killed anywhere in here has a pair that
        works. Channels go on with the old pair until they are opened again.

        Returns:
            Whether it was renewed.

        Raises:
            JointriskError: the coordinator refused, cannot be reached, or sent something else.
        """
        if await asyncio.to_thread(self._membership.until_renewal) > timedelta():
            return False
        key = new_transport_key()
        request = pb.RenewRequest(certificate_request=certificate_request(key))
        with coordinator_errors():
            response = await self._stub().Renew(request, timeout=CALL_SECONDS)
        certificate = certificate_from_der(response.certificate)
        pair = KeyPair(key_to_pem(key), certificate_to_pem(certificate))
        authority = certificate_from_pem(self._membership.ca_pem)
        ours = member_of(pair.chain).member_id == self._membership.member_id
        if not ours or not issued_by(certificate, authority) or certificate.public_key() != key.public_key():
            raise CorruptError("the coordinator sent a certificate that is not the one that was asked for")
        await asyncio.to_thread(self._membership.keys.keep_transport, pair)
        log.info("membership.certificate_renewed", expires_at=certificate.not_valid_after_utc.isoformat())
        return True

    async def candidates(self) -> list[Candidate]:
        """Return the admissions that wait for approvals.

        Raises:
            JointriskError: the coordinator refused or cannot be reached.
        """
        with coordinator_errors():
            response = await self._stub().ListAdmissions(pb.ListAdmissionsRequest(), timeout=CALL_SECONDS)
        return [_candidate(admission) for admission in response.admissions]

    async def approve(self, member_id: str, compared: str) -> pb.ApproveResponse:
        """Approve a candidate whose fingerprint a person has compared.

        Raises:
            NotFoundError: there is no such candidate.
            InvalidInputError: the fingerprint is not that of its key.
            RefusedError: what the coordinator says of it contradicts what is pinned here.
        """
        candidate = _named(await self.candidates(), member_id)
        if candidate is None:
            raise NotFoundError(f"{member_id} does not wait for approvals", remedy="See `jointrisk node members list`.")
        return await self._approve(candidate, compared)

    async def accept(self, member_id: str, compared: str) -> tuple[bool, pb.ApproveResponse | None]:
        """Accept a member's changed key, and approve its admission where one is pending.

        Returns:
            Whether the key is pinned now, and how the admission stands, if there was one.

        Raises:
            NotFoundError: there is nothing to accept.
            InvalidInputError: the fingerprint is not that of the key.
        """
        candidate = _named(await self.candidates(), member_id)
        changed = candidate if candidate is not None and candidate.previous_identity_key is not None else None
        approved = await self._approve(changed, compared) if changed is not None else None
        pinned = await asyncio.to_thread(self._membership.accept, member_id, compared, changed)
        if approved is not None and approved.admitted:
            await self.refresh_roster()
            pinned = member_id in self._membership.trusted()
        return pinned, approved

    async def keep_current(
        self,
        announced: asyncio.Event,
        *,
        every: timedelta = timedelta(seconds=30),
        renewed: Callable[[], Awaitable[None]],
        roster_changed: Callable[[], Awaitable[None]],
    ) -> None:
        """Poll the roster and renew the certificate until cancelled.

        Args:
            announced: set by whoever hears of a newer roster, to poll at once.
            every: time between polls otherwise.
            renewed: called after the certificate was renewed, to open channels again.
            roster_changed: called after another roster was applied.
        """
        while True:
            announced.clear()
            await attempt("membership", self._step(self.refresh_roster, roster_changed))
            await attempt("membership", self._step(self.renew_if_due, renewed))
            try:
                # Not wait_for, which can swallow a cancellation on Python 3.11.
                async with asyncio.timeout(self._pause(every)):
                    await announced.wait()
            except TimeoutError:
                continue

    async def _step(self, act: Callable[[], Awaitable[bool]], then: Callable[[], Awaitable[None]]) -> None:
        if await act():
            await then()

    async def _approve(self, candidate: Candidate, compared: str) -> pb.ApproveResponse:
        signed = await asyncio.to_thread(self._membership.approval_of, candidate, compared)
        with coordinator_errors():
            request = pb.ApproveRequest(approval=to_message(signed))
            return await self._stub().Approve(request, timeout=CALL_SECONDS)

    def _pause(self, every: timedelta) -> float:
        """Return the seconds until the next turn: to the renewal, where that comes before the next poll."""
        until_due = self._membership.until_renewal()
        return (min(every, until_due) if until_due > timedelta() else min(every, _RETRY)).total_seconds()


@contextmanager
def coordinator_errors() -> Iterator[None]:
    """Raise what a failed call to the coordinator stands for, in words that can be shown on any terminal."""
    try:
        yield
    except grpc.RpcError as failure:
        error = from_rpc(failure, peer="the coordinator")
        message, remedy = (printable(text, _LONGEST_TEXT) for text in (error.message, error.remedy))
        raise type(error)(message, remedy=remedy) from failure


def _named(candidates: Sequence[Candidate], member_id: str) -> Candidate | None:
    return next((candidate for candidate in candidates if candidate.member_id == member_id), None)


def _candidate(admission: pb.Admission) -> Candidate:
    return Candidate(
        admission_id=admission.admission_id,
        member_id=admission.member_id,
        identity_key=admission.identity_key,
        previous_identity_key=admission.previous_identity_key or None,
        approved_by=tuple(admission.approved_by),
        approvals_required=admission.approvals_required,
    )
