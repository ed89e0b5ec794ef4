"""What this node requires of a ceremony's terms, whatever the board and the operator say.

=============  ======================================================================================
federation     the terms are of this federation
parties        every party is a member that this node trusts, under the key that is pinned (*sybil holders*)
numbers        generation, and the epoch of a new key, are greater than all that this node knows of and was
               ever bound by (*two keys under one number*)
key            a refresh or a resharing starts from the newest generation that this node has verified: its group
               key, its holders' indices and public keys, as many dealers as its threshold (*dealers of another key*)
shape          a refresh keeps holders and threshold
=============  ======================================================================================
"""

from collections.abc import Mapping
from dataclasses import dataclass

from jointrisk.oprf.ceremony import GroupKey, Kind, Terms


@dataclass(frozen=True)
class Standing:
    """What this node knows when it looks at terms.

    Attributes:
        federation: its name.
        identities: identity keys by name that may be parties.
        present: the newest generation; None before the first.
        generation: the highest number that this node knows of or is bound by.
        epoch: the same of epochs.
    """

    federation: str
    identities: Mapping[str, frozenset[bytes]]
    present: GroupKey | None
    generation: int
    epoch: int


def objection(terms: Terms, standing: Standing) -> str:
    """Say which rule the terms break; an empty text for none."""
    if terms.federation != standing.federation:
        return "the terms are of another federation"
    for name, key in terms.identities.items():
        if key not in standing.identities.get(name, frozenset()):
            return f"{name} is no member that this node trusts, or has another identity key"
    if terms.new_generation <= standing.generation:
        return f"generation {terms.new_generation} is not greater than {standing.generation}"
    present = standing.present
    if terms.old_generation != (present.generation if present else 0):
        return "the terms start from another generation than the newest one known here"
    if terms.kind is Kind.GENERATE:
        greater = terms.epoch > standing.epoch
        return "" if greater else f"epoch {terms.epoch} is not greater than {standing.epoch}"
    return "no key is known here" if present is None else _objection_to_dealers(terms, present)


def _objection_to_dealers(terms: Terms, present: GroupKey) -> str:
    if (terms.epoch, terms.old_public_key) != (present.epoch, present.public_key):
        return "the terms are of another group key"
    known = {(name, index, public) for index, (name, public) in enumerate(present.holders, 1)}
    if not {(dealer.name, dealer.index, dealer.public_key) for dealer in terms.old_dealers} <= known:
        return "a dealer is no holder of the newest generation, or its index or public key is another"
    if len(terms.old_dealers) != present.threshold:
        return f"expected {present.threshold} dealers, got {len(terms.old_dealers)}"
    kept = ([name for name, _ in present.holders], present.threshold)
    if terms.kind is Kind.REFRESH and (list(terms.indices), terms.threshold) != kept:
        return "a refresh keeps holders and threshold"
    return ""
