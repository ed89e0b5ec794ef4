"""Single calls of a member of good standing, and of strangers at the join port, that break the rules."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from attack_arena import HONEST, Arena, call
from hostile_node import HostileNode
from jointrisk.errors import (
    CorruptError,
    InvalidInputError,
    JointriskError,
    NotFoundError,
    RefusedError,
    TooLargeError,
    UnauthenticatedError,
)
from jointrisk.federation.approval import Approval, sign_approval
from jointrisk.federation.certificates import (
    certificate_from_der,
    certificate_request,
    certificate_to_pem,
    member_of,
    new_transport_key,
)
from jointrisk.federation.invitation import decode_token, sign_join
from jointrisk.federation.names import COORDINATOR_SERVER_NAME
from jointrisk.federation.signing import new_identity_key, public_bytes, sign_document
from jointrisk.rpc.channel import channel
from jointrisk.rpc.documents import to_message
from jointrisk.rpc.v1 import coordinator_operator_pb2 as operator_pb
from jointrisk.rpc.v1 import join_pb2, membership_pb2
from jointrisk.rpc.v1.coordinator_operator_pb2_grpc import CoordinatorOperatorStub
from jointrisk.rpc.v1.document_pb2 import SignedDocument
from jointrisk.rpc.v1.join_pb2_grpc import JoinServiceStub
from jointrisk.rpc.v1.membership_pb2_grpc import MembershipServiceStub

pytestmark = pytest.mark.federation

HUGE = 2**64 - 1
SERVICE = "/jointrisk.v1.MembershipService/"


def request_for(key: Any, name: str = "") -> bytes:
    """Return a PKCS #10 request, in a name."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    return x509.CertificateSigningRequestBuilder(subject).sign(key, SHA256()).public_bytes(Encoding.DER)


async def refused(arena: Arena, node: HostileNode, method: str, request: Any) -> JointriskError:
    """Call a method of membership that has to be refused and to be on record, and return its error."""
    before = arena.last_record()
    async with node.channel() as opened:
        with pytest.raises(JointriskError) as caught:
            await call(getattr(MembershipServiceStub(opened), method), request)
    record = await arena.recorded(before, "rpc.refused", caller=node.name, method=SERVICE + method)
    assert record["code"] == caught.value.code
    arena.require_serving()
    return caught.value


async def test_operators_methods_are_not_served_to_members(arena: Arena) -> None:
    """What the coordinator's own people may do, nobody may from outside; who tries is on record."""
    node, before = arena.members["oscar"], arena.last_record()
    async with node.channel() as opened:
        stub = CoordinatorOperatorStub(opened)
        tries = {
            "Invite": operator_pb.InviteRequest(member_id="friend"),
            "Remove": operator_pb.RemoveRequest(member_id=HONEST),
            "StartRun": operator_pb.StartRunRequest(),
        }
        for method, request in tries.items():
            with pytest.raises(NotFoundError, match="not served here"):
                await call(getattr(stub, method), request)
            await arena.recorded(
                before, "rpc.refused", caller="oscar", method=f"/jointrisk.v1.CoordinatorOperator/{method}"
            )
    listed = {member.member_id for member in arena.operator("ListMembers", operator_pb.ListMembersRequest()).members}
    assert HONEST in listed
    assert "friend" not in listed


async def test_a_roster_version_of_the_far_future_gets_the_present_roster(arena: Arena) -> None:
    """Whatever version a node claims to have, it gets the one that is."""
    async with arena.members["oscar"].channel() as opened:
        for version in (HUGE, 10**6, 0):
            request = membership_pb2.GetRosterRequest(known_version=version)
            answer = await call(MembershipServiceStub(opened).GetRoster, request)
            assert answer.roster.kind == "roster"


async def test_requests_for_certificates_that_break_their_form_are_refused(arena: Arena) -> None:
    """Garbage, too long, another kind of key, a key that is not the caller's."""
    node = arena.members["oscar"]
    stolen = bytearray(request_for(ec.generate_private_key(ec.SECP256R1())))
    stolen[-1] ^= 1
    for request in (
        b"",
        b"\x30\x82" * 500,
        request_for(new_transport_key()) + bytes(5000),
        request_for(rsa.generate_private_key(65537, 2048)),
        request_for(ec.generate_private_key(ec.SECP384R1())),
        bytes(stolen),
    ):
        renewal = membership_pb2.RenewRequest(certificate_request=request)
        assert type(await refused(arena, node, "Renew", renewal)) is InvalidInputError


async def test_a_certificate_is_for_the_caller_whatever_its_request_says(arena: Arena) -> None:
    """A request in another member's name gets a certificate of the caller."""
    async with arena.members["oscar"].channel() as opened:
        renewal = membership_pb2.RenewRequest(certificate_request=request_for(new_transport_key(), HONEST))
        issued = (await call(MembershipServiceStub(opened).Renew, renewal)).certificate
    assert member_of(certificate_to_pem(certificate_from_der(issued))).member_id == "oscar"


async def test_a_flood_of_renewals_ends_and_fills_nothing(arena: Arena) -> None:
    """One member has at most fifty live certificates; refusals beyond that are recorded so often a minute."""
    node, before = arena.members["flood"], arena.last_record()
    request = membership_pb2.RenewRequest(certificate_request=certificate_request(new_transport_key()))
    got, last = 0, JointriskError("")
    async with node.channel() as opened:
        for _ in range(120):
            try:
                await call(MembershipServiceStub(opened).Renew, request)
                got += 1
            except RefusedError as error:
                last = error
    assert got < 50
    assert "still valid" in last.message
    assert 1 <= len(arena.records(before, "rpc.refused", caller="flood")) <= 60
    arena.require_serving()
    async with arena.members["oscar"].channel() as opened:
        await call(MembershipServiceStub(opened).Renew, request)


def join_request(token: str, **changed: Any) -> join_pb2.JoinRequest:
    """Return a proper request to join, or one with other fields; its proof fits unless it is changed too."""
    said, key = decode_token(token), new_identity_key()
    fields: dict[str, Any] = {
        "invitation_id": said.invitation_id,
        "secret": said.secret,
        "certificate_request": certificate_request(new_transport_key()),
        "identity_key": public_bytes(key),
    } | changed
    fields.setdefault("proof", sign_join(key, fields["invitation_id"], fields["certificate_request"]))
    return join_pb2.JoinRequest(**fields)


async def join(arena: Arena, request: join_pb2.JoinRequest) -> join_pb2.JoinResponse:
    """Call the join port, which asks for no certificate."""
    address = arena.operator("GetStatus", operator_pb.GetCoordinatorStatusRequest()).join_address
    async with channel(address, ca=arena.ca, pair=None, server_name=COORDINATOR_SERVER_NAME) as opened:
        answer: join_pb2.JoinResponse = await call(JoinServiceStub(opened).Join, request)
    return answer


async def test_garbage_approvals_approve_nothing(arena: Arena) -> None:
    """Wrong kind, signer, signature, approver, candidate, form: each refused, recorded, and not counted."""
    oscar, trudy = arena.members["oscar"], arena.members["trudy"]
    await join(arena, join_request(arena.invite("candidate")))
    async with oscar.channel() as opened:
        listed = await call(MembershipServiceStub(opened).ListAdmissions, membership_pb2.ListAdmissionsRequest())
    pending = next(one for one in listed.admissions if one.member_id == "candidate")
    approval = Approval(
        federation="local",
        admission_id=pending.admission_id,
        member_id="candidate",
        identity_key=pending.identity_key,
        previous_identity_key=None,
        approver="oscar",
    )
    sound = to_message(sign_approval(approval, oscar.identity))
    theirs = approval.model_copy(update={"approver": "trudy"})
    other_key = approval.model_copy(update={"identity_key": bytes(32)})
    cut = to_message(replace(sign_approval(approval, oscar.identity), signature=sound.signature[:63]))
    attacks: list[tuple[SignedDocument, type[JointriskError]]] = [
        (SignedDocument(), UnauthenticatedError),
        (to_message(sign_document("roster", approval.payload(), oscar.identity)), UnauthenticatedError),
        (to_message(sign_approval(approval, new_identity_key())), UnauthenticatedError),
        (cut, UnauthenticatedError),
        (to_message(sign_approval(theirs, trudy.identity)), UnauthenticatedError),
        (to_message(sign_approval(theirs, oscar.identity)), InvalidInputError),
        (to_message(sign_approval(other_key, oscar.identity)), InvalidInputError),
        (to_message(sign_document("approval", b"[" * 100_000, oscar.identity)), CorruptError),
        (to_message(sign_document("approval", b'{"approver":"oscar"}', oscar.identity)), CorruptError),
    ]
    for document, error in attacks:
        said = await refused(arena, oscar, "Approve", membership_pb2.ApproveRequest(approval=document))
        assert type(said) is error, said.message
    async with oscar.channel() as opened:
        for _ in range(3):
            state = await call(MembershipServiceStub(opened).Approve, membership_pb2.ApproveRequest(approval=sound))
            assert (state.approvals, state.approvals_required, state.admitted) == (1, 2, False)


async def test_the_join_port_takes_nothing_that_breaks_its_form(arena: Arena) -> None:
    """Each try is refused and recorded, burns no invitation, and a flood of them fills no audit log."""
    token = arena.invite("guest")
    identity = decode_token(token).invitation_id
    tries: list[tuple[dict[str, Any], type[JointriskError]]] = [
        ({"certificate_request": bytes(5000)}, InvalidInputError),
        ({"certificate_request": b"garbage"}, InvalidInputError),
        ({"certificate_request": b""}, InvalidInputError),
        ({"proof": bytes(64)}, InvalidInputError),
        ({"proof": b""}, InvalidInputError),
        ({"identity_key": bytes(31)}, InvalidInputError),
        ({"identity_key": bytes(32)}, InvalidInputError),
        ({"address": "../../etc:99999"}, InvalidInputError),
        ({"secret": b""}, UnauthenticatedError),
        ({"secret": bytes(32)}, UnauthenticatedError),
        ({"secret": bytes(30_000)}, UnauthenticatedError),
        ({"invitation_id": "0" * 32}, UnauthenticatedError),
        ({"invitation_id": "../../x"}, UnauthenticatedError),
        ({"invitation_id": "\0\x1b[2J"}, UnauthenticatedError),
    ]
    for changed, error in tries:
        before = arena.last_record()
        with pytest.raises(JointriskError) as caught:
            await join(arena, join_request(token, **changed))
        assert type(caught.value) is error, (changed, caught.value.message)
        await arena.recorded(before, "membership.join_refused")
    with pytest.raises(TooLargeError):
        await join(arena, join_request(token, certificate_request=bytes(100_000)))
    before = arena.last_record()
    for _ in range(150):
        with pytest.raises(UnauthenticatedError):
            await join(arena, join_request(token, secret=bytes(32)))
    assert 1 <= len(arena.records(before, "membership.join_refused")) <= 120 - len(tries)
    arena.require_serving()
    answer = await join(arena, join_request(token))
    assert (answer.member_id, answer.approvals_required) == ("guest", 2)
    assert identity not in str(arena.records(0, "membership.admitted"))


async def test_a_removed_member_is_cut_off_and_stays_out(arena: Arena) -> None:
    """Its open stream ends with a goodbye; a stream that was silent so far, and every new call, is refused."""
    leaver, before = arena.members["leaver"], arena.last_record()
    async with leaver.stream() as stream, leaver.stream(greeted=False) as silent, leaver.channel() as opened:
        await call(MembershipServiceStub(opened).GetRoster, membership_pb2.GetRosterRequest())
        bait = arena.bait("leaver")
        arena.federation.coordinator.command("remove", "leaver", "--reason", "broke the rules")
        frames = await stream.rest()
        assert "no longer accepted" in frames[-1].goodbye.reason
        await stream.send(bait.reply(member_id="leaver"))
        await silent.send(leaver.hello())
        assert type(await silent.refusal()) is RefusedError
        for method, request in (
            ("GetRoster", membership_pb2.GetRosterRequest()),
            ("Renew", membership_pb2.RenewRequest()),
        ):
            with pytest.raises(RefusedError, match="not one of a current member"):
                await call(getattr(MembershipServiceStub(opened), method), request)
            await arena.recorded(before, "rpc.refused", caller="leaver", method=SERVICE + method)
    # Without a greeting: gRPC's client loses the refusal of a stream when it writes to it too late (grpc/grpc#36066).
    async with leaver.stream(greeted=False) as again:
        assert type(await again.refusal()) is RefusedError
    await arena.recorded(before, "rpc.refused", caller="leaver", method="/jointrisk.v1.TrainingService/Exchange")
    assert "leaver" not in arena.online()
    assert arena.run(bait.run_id).participants[0].state == "invited"
    arena.end(bait.run_id)
    arena.require_serving()
