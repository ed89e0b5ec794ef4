"""What comes of asking: keys, who answered, who did not."""

from collections.abc import Mapping
from dataclasses import dataclass

from jointrisk.errors import QuotaError, RefusedError, UnavailableError
from jointrisk.evaluation import check_consent_reference
from jointrisk.listing.derive import ListingKeys


@dataclass(frozen=True, slots=True)
class Consent:
    """Why a person may be asked about.

    Attributes:
        reference: under which the lender's own systems hold the consent; this node's audit log holds it, holders never
            see it.

    Raises:
        InvalidInputError: the reference breaks the form, or is an identifier.
    """

    reference: str

    def __post_init__(self) -> None:
        check_consent_reference(self.reference)


@dataclass(frozen=True, slots=True)
class Blame:
    """A holder whose answer was false.

    Attributes:
        member: its name.
        why: what was wrong with the answer.
    """

    member: str
    why: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Identifiers' keys, and how they were come by.

    Attributes:
        epoch: of the group key.
        generation: of the shares that answered; of the last batch where there were several.
        quorum: the holders that answered, sorted; of the last batch where there were several.
        keys: in the order asked.
        request_ids: of all requests whose answers were used, one for each batch.
        proofs_verified: answers of other holders whose proof was verified and holds.
        blamed: who answered falsely on the way.
    """

    epoch: int
    generation: int
    quorum: tuple[str, ...]
    keys: list[ListingKeys]
    request_ids: tuple[bytes, ...]
    proofs_verified: int
    blamed: tuple[Blame, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a holder cannot be had.

    Attributes:
        why: for people, with the time since when where it is known.
        refused: whether it is up and does not want to.
        quota: whether that is because of a quota.
        other_generation: whether it says that it has another generation.
    """

    why: str
    refused: bool = False
    quota: bool = False
    other_generation: bool = False


def too_few(
    epoch: int, generation: int, threshold: int, holders: int, missing: Mapping[str, Missing]
) -> UnavailableError | RefusedError:
    """Return the error for a quorum that cannot be had.

    Args:
        epoch: of the key.
        generation: of the shares.
        threshold: how many holders are needed.
        holders: how many there are.
        missing: why each one that cannot be had cannot.
    """
    named = "; ".join(f"{name} ({reason.why})" for name, reason in sorted(missing.items()))
    left = holders - len(missing)
    text = (
        f"epoch {epoch}, generation {generation}: {threshold} holders are needed, {left} can be had; missing: {named}"
    )
    refusing = [reason for reason in missing.values() if reason.refused]
    if left + len(refusing) < threshold:
        return UnavailableError(text, remedy="Nothing was looked up. Try again when the named holders are back.")
    if left + sum(reason.quota for reason in refusing) < threshold:
        return RefusedError(text, remedy="Nothing was looked up. Ask the named holders' people.")
    return QuotaError(text, remedy="Nothing was looked up. Wait, or agree on another quota with the named holders.")
