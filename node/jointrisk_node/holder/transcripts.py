"""What a ceremony's transcript proves, to any node, whether it took part or not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jointrisk.ceremony_suite import CeremonySuite
from jointrisk.errors import CorruptError, JointriskError
from jointrisk.federation.ceremony_approval import PresentHolders, read_ceremony_approval, waiting_for
from jointrisk.federation.signing import Signed
from jointrisk.oprf.ceremony import Board, GroupKey, Outcome, SignedMessage, Terms
from jointrisk_node.holder.rules import Standing, objection


@dataclass(frozen=True)
class Transcript:
    """A ceremony that made a generation, as the board shows it.

    Attributes:
        terms: what it was about.
        messages: everything that was posted.
        approvals: signed, not verified yet.
    """

    terms: Terms
    messages: tuple[SignedMessage, ...]
    approvals: tuple[Signed, ...]


def committed(transcript: Transcript) -> tuple[Outcome, GroupKey]:
    """Return what a ceremony made.

    Raises:
        CorruptError: its messages do not commit it.
    """
    outcome = Board(transcript.terms, CeremonySuite(), transcript.messages).outcome
    if outcome is None or outcome.key is None:
        raise CorruptError("a transcript on the board does not commit its ceremony")
    return outcome, outcome.key


def require_rightful(transcript: Transcript, standing: Standing) -> None:
    """Refuse a ceremony that this node would not have agreed to at its time.

    Args:
        transcript: of a ceremony after the newest that this node knows.
        standing: what this node knows; identities are all keys that members have or had.

    Raises:
        CorruptError: its terms break a rule, or somebody has not approved them.
    """
    if against := objection(transcript.terms, standing):
        raise CorruptError(f"a transcript on the board breaks a rule: {against}")
    approved = approvers(transcript.terms, transcript.approvals, standing.identities)
    if missing := waiting_for(transcript.terms.identities, PresentHolders.of(standing.present), approved):
        raise CorruptError(f"a transcript on the board lacks approvals of: {', '.join(missing)}")


def approvers(terms: Terms, approvals: Iterable[Signed], identities: Mapping[str, frozenset[bytes]]) -> list[str]:
    """Return whose approvals of these terms are genuine.

    Args:
        terms: of the ceremony.
        approvals: as the board shows them.
        identities: keys of members by name.
    """
    signed_by = {key: name for name, keys in identities.items() for key in keys}
    found = []
    for signed in approvals:
        try:
            approval = read_ceremony_approval(signed, signed.signer)
        except JointriskError:
            continue
        said = (approval.federation, approval.session, approval.terms_digest)
        if said == (terms.federation, terms.session.hex(), terms.digest):
            # The signer's key is a hint until here: it has to be the approver's.
            found += [approval.approver] if signed_by.get(signed.signer) == approval.approver else []
    return found
