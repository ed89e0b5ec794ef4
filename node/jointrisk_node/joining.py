"""Joining a federation with an invitation token.

    1. fetch the certificate that stands at the join address           nothing is trusted, nothing is sent
    2. channel that trusts this one certificate: GetAuthority          the CA's SHA-256 is compared with the token's,
                                                                       and the certificate must be of that CA
    3. channel that trusts the CA: Join(secret, request, proof)        the secret leaves here for the first time
    4. while the admission waits for approvals: the same call again
    5. verify certificate and roster, store both                       the node has joined

Keys are on the disk before anything is sent, and the membership is stored in one transaction at the end: a node killed
anywhere continues with the same keys when the same command is given again.
"""

import asyncio
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import (
    ConflictError,
    CorruptError,
    DeadlineError,
    NotFoundError,
    RefusedError,
    UnauthenticatedError,
    UnavailableError,
)
from jointrisk.federation.certificates import (
    KeyPair,
    certificate_from_der,
    certificate_from_pem,
    certificate_to_pem,
    issued_by,
)
from jointrisk.federation.invitation import InvitationToken, decode_token, sign_join
from jointrisk.federation.names import COORDINATOR_SERVER_NAME, check_address
from jointrisk.federation.roster_view import View
from jointrisk.federation.signing import public_bytes
from jointrisk.rpc.channel import channel
from jointrisk.rpc.v1 import join_pb2 as pb
from jointrisk.rpc.v1.join_pb2_grpc import JoinServiceStub
from jointrisk.store import AuditLog, Store
from jointrisk_node.membership.answer import verified_answer
from jointrisk_node.membership.belief import Belief, load_belief, store_joining
from jointrisk_node.membership.keys import JoiningKeys, NodeKeys
from jointrisk_node.membership.link import CALL_SECONDS, coordinator_errors
from jointrisk_node.membership.membership import Membership
from jointrisk_node.membership.tables import OwnMembership

if TYPE_CHECKING:
    from jointrisk.rpc.v1.join_pb2_grpc import JoinServiceAsyncStub


@dataclass(frozen=True)
class Waiting:
    """What a join waits for.

    Attributes:
        member_id: the name that the invitation gives.
        identity_key: this node's public identity key, whose fingerprint the approvers compare.
        approvals: approvals so far.
        approvals_required: how many are needed.
    """

    member_id: str
    identity_key: bytes
    approvals: int
    approvals_required: int


async def join(
    token: str,
    keys: NodeKeys,
    store: Store,
    audit: AuditLog,
    *,
    address: str = "",
    waiting: Callable[[Waiting], None] = lambda _: None,
    poll: timedelta = timedelta(seconds=5),
    give_up_after: timedelta = timedelta(days=7),
    clock: Clock = utc_now,
) -> Membership:
    """Join with a token, or go on with a join that was cut off; once it has ended, the token changes nothing more.

    Args:
        token: the invitation token.
        keys: this node's keys; made if there are none.
        store: the node's database.
        audit: the audit log in the same store.
        address: where other members reach this node, "host:port"; empty when it does not listen.
        waiting: told how many approvals there are, whenever that changes.
        poll: time between questions while approvals are missing.
        give_up_after: how long to wait for approvals. The same command goes on later.
        clock: the time.

    Raises:
        InvalidInputError: the token is mistyped, or the address has no port.
        ConflictError: this node is a member of another federation or under another name.
        UnauthenticatedError: the other side is not the coordinator that the token names, or the token is unknown.
        RefusedError: the token has expired or was used; or the roster breaks a rule.
        UnavailableError: the coordinator cannot be reached.
        DeadlineError: approvals are missing still.
        CorruptError: the coordinator's answer is not what it should be.
    """
    invitation = decode_token(token)
    if address:
        check_address(address)
    before = await asyncio.to_thread(_joined_before, store, invitation)
    if before is not None and before.own.invitation_id == invitation.invitation_id:
        await asyncio.to_thread(keys.end_joining)
        return await asyncio.to_thread(Membership, store, keys, audit, clock)
    joining = await asyncio.to_thread(_prepare, keys, invitation)
    try:
        authority = await fetch_authority(invitation)
        request = _request(invitation, keys, joining, address)
        async with _join_stub(invitation, authority) as stub:
            response = await _admitted(stub, request, waiting, poll, give_up_after)
        own, view, pair = verified_answer(response, joining, authority, invitation, before, keys.identity(), clock())
    except (UnauthenticatedError, RefusedError, CorruptError) as error:
        await asyncio.to_thread(audit.append, "membership.join_failed", code=error.code, reason=error.message[:500])
        raise
    await asyncio.to_thread(_store, own, view, pair, keys, store, audit)
    return await asyncio.to_thread(Membership, store, keys, audit, clock)


async def fetch_authority(invitation: InvitationToken) -> x509.Certificate:
    """Return the CA certificate, having checked it against the token: steps 1 and 2.

    Raises:
        UnavailableError: nobody, or no coordinator, answers at the join address.
        UnauthenticatedError: whoever answers is not the coordinator that the token names.
    """
    leaf = await asyncio.to_thread(_presented_certificate, invitation.address)
    async with _join_stub(invitation, leaf) as stub:
        with coordinator_errors():
            answer = await stub.GetAuthority(pb.GetAuthorityRequest(), timeout=CALL_SECONDS)
    fingerprint = hashlib.sha256(answer.ca_certificate).digest()
    if not hmac.compare_digest(fingerprint, invitation.ca_fingerprint):
        raise _not_the_coordinator("its CA is not the one in the invitation")
    authority = certificate_from_der(answer.ca_certificate)
    if not issued_by(leaf, authority):
        raise _not_the_coordinator("its certificate is not of the CA in the invitation")
    return authority


def _joined_before(store: Store, invitation: InvitationToken) -> Belief | None:
    """Return the membership that this node has, if the invitation is for that one.

    Raises:
        ConflictError: it is for another.
    """
    try:
        with store.reading() as session:
            before = load_belief(session)
    except NotFoundError:
        return None
    if (before.own.member_id, before.anchor.ca_fingerprint) != (invitation.member_id, invitation.ca_fingerprint):
        raise ConflictError(
            f"this node is {before.own.member_id} of {before.own.federation}, and the invitation is for another",
            remedy="Make another node: jointrisk node --home DIRECTORY init.",
        )
    return before


def _prepare(keys: NodeKeys, invitation: InvitationToken) -> JoiningKeys:
    keys.identity()
    return keys.joining(invitation.invitation_id)


def _presented_certificate(address: str) -> x509.Certificate:
    host, _, port = address.rpartition(":")
    try:
        pem = ssl.get_server_certificate((host.strip("[]"), int(port)), timeout=CALL_SECONDS)
    except (OSError, ValueError) as error:
        raise UnavailableError(
            f"no coordinator answers at {address}: {type(error).__name__}",
            remedy="Is the coordinator running, and is its join port reachable from here?",
        ) from error
    return certificate_from_pem(pem.encode())


@asynccontextmanager
async def _join_stub(invitation: InvitationToken, root: x509.Certificate) -> "AsyncIterator[JoinServiceAsyncStub]":
    """Open a channel to the join port that trusts one certificate."""
    opened = channel(invitation.address, ca=certificate_to_pem(root), pair=None, server_name=COORDINATOR_SERVER_NAME)
    async with opened:
        yield JoinServiceStub(opened)


async def _admitted(
    stub: "JoinServiceAsyncStub",
    request: pb.JoinRequest,
    waiting: Callable[[Waiting], None],
    poll: timedelta,
    give_up_after: timedelta,
) -> pb.JoinResponse:
    """Ask until there is a certificate. Once the invitation is taken, a coordinator that is away is waited for."""
    end = asyncio.get_running_loop().time() + give_up_after.total_seconds()
    told: Waiting | None = None
    while True:
        try:
            with coordinator_errors():
                response = await stub.Join(request, timeout=CALL_SECONDS)
            if response.certificate:
                return response
            state = Waiting(response.member_id, request.identity_key, response.approvals, response.approvals_required)
            if state != told:
                told = state
                waiting(state)
        except (UnavailableError, DeadlineError):
            if told is None:
                raise
        if asyncio.get_running_loop().time() + poll.total_seconds() > end:
            raise DeadlineError(
                "other members have not approved this node yet",
                remedy="Give the same command again later; the token stays good for this node.",
            )
        await asyncio.sleep(poll.total_seconds())


def _request(invitation: InvitationToken, keys: NodeKeys, joining: JoiningKeys, address: str) -> pb.JoinRequest:
    identity = keys.identity()
    return pb.JoinRequest(
        invitation_id=invitation.invitation_id,
        secret=invitation.secret,
        certificate_request=joining.request,
        identity_key=public_bytes(identity),
        proof=sign_join(identity, invitation.invitation_id, joining.request),
        address=address,
    )


def _store(own: OwnMembership, view: View, pair: KeyPair, keys: NodeKeys, store: Store, audit: AuditLog) -> None:
    """Store what a join made. Killed before the membership is in, the same command does it all again."""
    keys.keep_transport(pair)
    store_joining(store, audit, own, view)
    keys.end_joining()


def _not_the_coordinator(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(
        f"whoever answers at the join address is not the coordinator that the token names: {why}",
        remedy="Nothing secret was sent. Tell the person who gave you the token: somebody may be in between.",
    )
