"""Verifying what a coordinator answered to a join, before anything of it is stored."""

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.errors import CorruptError
from jointrisk.federation.certificates import (
    KeyPair,
    certificate_from_der,
    certificate_to_der,
    certificate_to_pem,
    issued_by,
    key_to_pem,
    member_of,
)
from jointrisk.federation.invitation import InvitationToken
from jointrisk.federation.names import check_address
from jointrisk.federation.roster_view import Anchor, View, accept_roster
from jointrisk.federation.signing import PUBLIC_KEY_LENGTH, public_bytes
from jointrisk.rpc.documents import from_message
from jointrisk.rpc.v1 import join_pb2 as pb
from jointrisk_node.membership.belief import Belief
from jointrisk_node.membership.keys import JoiningKeys
from jointrisk_node.membership.tables import ONLY_ROW, OwnMembership


def verified_answer(
    response: pb.JoinResponse,
    joining: JoiningKeys,
    authority: x509.Certificate,
    invitation: InvitationToken,
    before: Belief | None,
    identity: Ed25519PrivateKey,
    now: datetime,
) -> tuple[OwnMembership, View, KeyPair]:
    """Return the membership that a coordinator's answer makes, the roster as it is taken, and the key pair.

    Args:
        response: the answer, with a certificate.
        joining: what the certificate was asked for.
        authority: the CA, checked against the invitation.
        invitation: says the name.
        before: the membership that this node has already, when it comes back; its pins are kept.
        identity: this node's identity key.
        now: the present time.

    Raises:
        CorruptError: certificate, key or roster are not what they should be.
        InvalidInputError: the coordinator's address has no port.
        RosterRuleError: the roster breaks a rule.
    """
    pair, federation = _verified_pair(response, joining, authority, invitation)
    if len(response.coordinator_key) != PUBLIC_KEY_LENGTH:
        raise CorruptError("the coordinator's identity key has another length than expected")
    anchor = Anchor(
        member_id=invitation.member_id,
        identity_key=public_bytes(identity),
        coordinator_key=response.coordinator_key if before is None else before.own.coordinator_key,
        ca_fingerprint=invitation.ca_fingerprint,
    )
    signed = from_message(response.roster)
    view = accept_roster(anchor, before.known if before else None, signed, now)
    if view.removed or view.roster.terms.federation != federation:
        raise CorruptError("the roster that came is not one of this membership")
    own = OwnMembership(
        id=ONLY_ROW,
        federation=federation,
        member_id=invitation.member_id,
        identity_key=anchor.identity_key,
        coordinator_key=anchor.coordinator_key,
        coordinator_address=check_address(response.coordinator_address, "coordinator address"),
        ca_certificate=certificate_to_der(authority),
        invitation_id=invitation.invitation_id,
        joined_at=now if before is None else before.own.joined_at,
        first_changes=len(view.roster.changes) if before is None else before.own.first_changes,
        roster_version=view.roster.version,
        roster_payload=signed.payload,
        roster_signature=signed.signature,
    )
    return own, view, pair


def _verified_pair(
    response: pb.JoinResponse, joining: JoiningKeys, authority: x509.Certificate, invitation: InvitationToken
) -> tuple[KeyPair, str]:
    """Return the key pair with the certificate that came, and the federation that it names."""
    certificate = certificate_from_der(response.certificate)
    pair = KeyPair(key_to_pem(joining.key), certificate_to_pem(certificate))
    identity = member_of(pair.chain)
    if identity.member_id != invitation.member_id or not issued_by(certificate, authority):
        raise CorruptError("the certificate that came is not one for this node, of the CA in the invitation")
    if certificate.public_key() != joining.key.public_key():
        raise CorruptError("the certificate that came is for another key")
    return pair, identity.federation
