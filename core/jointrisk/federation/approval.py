"""Approvals: a person at a current member says yes to one candidate with one key, and the member signs it.

**How many are needed** (PROTOCOL.md section 0): ``approvals_required`` distinct current members other than the
candidate, or all of them where fewer exist. A federation of three with two approvals required that loses a member
thus goes on admitting with both of the remaining, and with none left nobody has to agree.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.federation.document import Document, HexId, IdentityKey, Name, Signature
from jointrisk.federation.signing import Signed, sign_document, verify_document

APPROVAL = "approval"
"""The kind of a signed approval."""


class Approval(Document):
    """What an approver signs.

    Attributes:
        federation: the federation's name.
        admission_id: which admission, 16 random bytes as hex.
        member_id: the candidate.
        identity_key: the candidate's key.
        previous_identity_key: the key that it replaces, for a member that changes its key; else None.
        approver: the member that approves.
    """

    federation: Name
    admission_id: HexId
    member_id: Name
    identity_key: IdentityKey
    previous_identity_key: IdentityKey | None
    approver: Name


class Endorsement(Document):
    """An approval as a roster carries it: the rest of what was signed stands beside it."""

    approver: Name
    signature: Signature


def required_approvals(approvals_required: int, other_members: int) -> int:
    """Return how many approvals an admission needs.

    Args:
        approvals_required: the federation's number.
        other_members: how many current members there are, the candidate not counted.
    """
    return min(approvals_required, other_members)


def sign_approval(approval: Approval, key: Ed25519PrivateKey) -> Signed:
    """Sign an approval with the approver's identity key."""
    return sign_document(APPROVAL, approval.payload(), key)


def read_approval(signed: Signed, approver_key: bytes) -> Approval:
    """Verify and read an approval.

    Raises:
        UnauthenticatedError: it is not signed with ``approver_key``.
        CorruptError: what was signed is no approval.
    """
    return Approval.parse(verify_document(signed, APPROVAL, approver_key))
