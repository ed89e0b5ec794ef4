"""Approvals of a key ceremony: a person at a member has read its terms, and the member signs that.

Who has to approve (PROTOCOL.md section 0): every party, as nobody takes part without its people; and, where there are
holders already, as many of them as the present threshold says, so that no coordinator gives the key to others alone.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.federation.document import Digest, Document, HexId, Name
from jointrisk.federation.signing import Signed, sign_document, verify_document
from jointrisk.oprf.ceremony import GroupKey

CEREMONY_APPROVAL = "ceremony-approval"
"""The kind of a signed approval of a ceremony."""


class CeremonyApproval(Document):
    """What an approver signs.

    Attributes:
        federation: the federation's name.
        session: of the ceremony, 16 bytes as hex.
        terms_digest: SHA-256 of its terms (`jointrisk.oprf.ceremony`): kind, epoch, threshold, holders, dealers, keys.
        approver: the member that approves.
    """

    federation: Name
    session: HexId
    terms_digest: Digest
    approver: Name


@dataclass(frozen=True)
class PresentHolders:
    """The holders of the present generation of shares.

    Attributes:
        names: who they are; empty before the first ceremony.
        threshold: how many of them it takes.
    """

    names: frozenset[str] = frozenset()
    threshold: int = 0

    @classmethod
    def of(cls, key: GroupKey | None) -> "PresentHolders":
        """Return the holders of a generation; none where there is none yet."""
        return cls(frozenset(dict(key.holders)), key.threshold) if key else cls()


def sign_ceremony_approval(approval: CeremonyApproval, key: Ed25519PrivateKey) -> Signed:
    """Sign an approval with the approver's identity key."""
    return sign_document(CEREMONY_APPROVAL, approval.payload(), key)


def read_ceremony_approval(signed: Signed, approver_key: bytes) -> CeremonyApproval:
    """Verify and read an approval.

    Raises:
        UnauthenticatedError: ``approver_key`` has not signed it as an approval of a ceremony.
        CorruptError: it is signed, yet no approval.
    """
    return CeremonyApproval.parse(verify_document(signed, CEREMONY_APPROVAL, approver_key))


def waiting_for(parties: Iterable[str], present: PresentHolders, approved: Collection[str]) -> list[str]:
    """Return whose approvals are awaited still, sorted; empty when the ceremony can begin.

    Args:
        parties: everybody who takes part.
        present: today's holders.
        approved: who has approved.
    """
    waiting = set(parties) - set(approved)
    if len(present.names & set(approved)) < present.threshold:
        waiting |= present.names - set(approved)
    return sorted(waiting)
