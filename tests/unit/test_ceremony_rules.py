"""What a node requires of a ceremony's terms, row by row of the table in `jointrisk_node.holder.rules`."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from ceremony_sample import (
    Generation,
    begin,
    exchange,
    generation,
    generation_terms,
    holders,
    identity,
    moving_terms,
)
from jointrisk.errors import CorruptError
from jointrisk.federation.ceremony_approval import CeremonyApproval, sign_ceremony_approval
from jointrisk.federation.signing import Signed, public_bytes
from jointrisk.oprf import group
from jointrisk.oprf.ceremony import Dealer, GroupKey, Kind, Terms
from jointrisk_node.holder.rules import Standing, objection
from jointrisk_node.holder.transcripts import Transcript, approvers, committed, require_rightful

MEMBERS = tuple(f"bank-{number}" for number in range(1, 7))
HOLDERS = MEMBERS[:3]
SESSION = b"sixteen bytes!!!"


def standing(**changed: Any) -> Standing:
    """Return what a node knows that has seen no ceremony yet, or that knows something else."""
    identities = {name: frozenset({public_bytes(identity(name))}) for name in MEMBERS}
    return replace(Standing("sample", identities, None, 0, 0), **changed)


@cache
def old() -> Generation:
    """Return a key of three holders: epoch 1, generation 1."""
    return generation(2, 3)


def afterwards(**changed: Any) -> Standing:
    """Return what a node knows that has verified that key, or that knows something else."""
    return standing(**({"present": old().key, "generation": 1, "epoch": 1} | changed))


def first(**changed: Any) -> Terms:
    """Return the terms of a first key, or others."""
    return replace(Terms(SESSION, Kind.GENERATE, "sample", 1, 0, 1, 2, holders(HOLDERS)), **changed)


def rotation(**changed: Any) -> Terms:
    """Return the terms of a rotation, or others."""
    return replace(first(), **({"epoch": 2, "old_generation": 1, "new_generation": 2} | changed))


def refresh(**changed: Any) -> Terms:
    """Return the terms of a refresh, or others."""
    return replace(moving_terms(old(), HOLDERS[:2], HOLDERS, 2, Kind.REFRESH), **changed)


def reshare(**changed: Any) -> Terms:
    """Return the terms of a resharing to other holders, or others."""
    return replace(moving_terms(old(), HOLDERS[1:], MEMBERS[2:], 3), **changed)


@cache
def elsewhere() -> Generation:
    """Return another key of the same holders, with the same numbers."""
    parties = begin(generation_terms(2, 3, b"another ceremony"), seed=7)
    exchange(parties)
    outcome = parties[HOLDERS[0]].outcome
    assert outcome is not None
    assert outcome.key is not None
    return Generation(outcome.key, {name: party.share for name, party in parties.items() if party.share})


RIGHT: dict[str, tuple[Callable[[], Terms], Callable[[], Standing]]] = {
    "a first key": (first, standing),
    "a first key after ceremonies that came to nothing": (
        lambda: first(epoch=5, new_generation=7),
        lambda: standing(generation=6, epoch=4),
    ),
    "a rotation": (rotation, afterwards),
    "a rotation to others": (lambda: rotation(holders=holders(MEMBERS[3:]), threshold=3), afterwards),
    "a refresh": (refresh, afterwards),
    "a refresh after ceremonies that came to nothing": (
        lambda: refresh(new_generation=9),
        lambda: afterwards(generation=8, epoch=5),
    ),
    "a resharing": (reshare, afterwards),
}
WRONG: dict[str, tuple[Callable[[], Terms], Callable[[], Standing], str]] = {
    "federation": (lambda: first(federation="other"), standing, "another federation"),
    "parties: an unknown holder": (
        lambda: first(holders=holders((*HOLDERS, "sybil"))),
        standing,
        "sybil is no member that this node trusts",
    ),
    "parties: a holder under another key": (
        first,
        lambda: standing(identities={**standing().identities, "bank-2": frozenset({bytes(32)})}),
        "bank-2 is no member that this node trusts, or has another identity key",
    ),
    "parties: a dealer that was removed": (
        reshare,
        lambda: afterwards(identities={n: k for n, k in standing().identities.items() if n != "bank-2"}),
        "bank-2 is no member",
    ),
    "numbers: the generation that there is": (
        lambda: rotation(new_generation=2),
        lambda: afterwards(generation=2),
        "generation 2 is not greater than 2",
    ),
    "numbers: a generation that binds this node": (refresh, lambda: afterwards(generation=5), "not greater than 5"),
    "numbers: the present epoch for another key": (
        lambda: rotation(epoch=1),
        afterwards,
        "epoch 1 is not greater than 1",
    ),
    "numbers: an epoch that binds this node": (rotation, lambda: afterwards(epoch=2), "epoch 2 is not greater than 2"),
    "numbers: of a first key": (first, lambda: standing(epoch=1), "epoch 1 is not greater than 1"),
    "key: a first key where there is one": (
        lambda: first(epoch=2, new_generation=2),
        afterwards,
        "another generation than the newest",
    ),
    "key: a rotation where there is none": (rotation, standing, "another generation than the newest"),
    "key: a refresh of what is not known here": (refresh, standing, "another generation than the newest"),
    "key: an older generation": (
        lambda: refresh(new_generation=4),
        lambda: afterwards(present=replace(old().key, generation=3), generation=3),
        "another generation than the newest",
    ),
    "key: another group key": (
        lambda: moving_terms(elsewhere(), HOLDERS[:2], HOLDERS, 2, Kind.REFRESH),
        afterwards,
        "another group key",
    ),
    "key: another epoch": (lambda: refresh(epoch=2), afterwards, "another group key"),
    "key: dealers with other shares of the same key": (
        lambda: _with_moved_shares(refresh()),
        afterwards,
        "its index or public key is another",
    ),
    "key: a dealer that holds nothing": (lambda: _with_stranger(reshare()), afterwards, "no holder of the newest"),
    "key: more dealers than the threshold": (
        lambda: moving_terms(old(), HOLDERS, HOLDERS, 2, Kind.REFRESH),
        afterwards,
        "expected 2 dealers, got 3",
    ),
    "shape: a refresh to fewer": (lambda: refresh(holders=holders(HOLDERS[:2])), afterwards, "keeps holders"),
    "shape: a refresh with another threshold": (lambda: refresh(threshold=3), afterwards, "keeps holders"),
    "shape: a refresh in another order": (
        lambda: refresh(holders=holders(tuple(reversed(HOLDERS)))),
        afterwards,
        "keeps holders",
    ),
}


def _with_moved_shares(terms: Terms) -> Terms:
    """Return terms with the same group key, and dealers whose public keys were shifted so that the sum stays."""
    one, other = terms.old_dealers
    assert one.public_key is not None
    assert other.public_key is not None
    some = group.multiply_base(group.scalar_of(5))
    by = {
        dealer.name: group.multiply(group.scalar_invert(terms.coefficients[dealer.name]), some)
        for dealer in (one, other)
    }
    moved = (
        replace(one, public_key=group.add(one.public_key, by[one.name])),
        replace(other, public_key=group.subtract(other.public_key, by[other.name])),
    )
    return replace(terms, old_dealers=moved)


def _with_stranger(terms: Terms) -> Terms:
    """Return terms in which a member without a share stands in a dealer's place."""
    one, other = terms.old_dealers
    stranger = Dealer("bank-6", public_bytes(identity("bank-6")), one.index, one.public_key)
    return replace(terms, old_dealers=(stranger, other))


@pytest.mark.parametrize("name", RIGHT)
def test_terms_that_keep_the_rules(name: str) -> None:
    """Nothing speaks against them."""
    terms, known = RIGHT[name]
    assert objection(terms(), known()) == ""


@pytest.mark.parametrize("name", WRONG)
def test_terms_that_break_a_rule(name: str) -> None:
    """The rule is named."""
    terms, known, said = WRONG[name]
    assert said in objection(terms(), known())


# -- transcripts -------------------------------------------------------------------------------------------------------


def approval(terms: Terms, by: str, *, key: str = "", **changed: Any) -> Signed:
    """Return a signed approval of terms, or of something else."""
    said = {"federation": terms.federation, "session": terms.session.hex(), "terms_digest": terms.digest}
    return sign_ceremony_approval(
        CeremonyApproval.model_validate(said | {"approver": by} | changed), identity(key or by)
    )


def test_only_genuine_approvals_of_these_terms_count() -> None:
    """Whoever signed must be who approves, under a key of that member; anything else is passed over."""
    terms, known = first(), standing().identities
    others = [
        approval(terms, "bank-1", key="bank-2"),
        approval(terms, "bank-2", terms_digest=bytes(32)),
        approval(terms, "bank-2", session="0" * 32),
        approval(terms, "bank-2", federation="other"),
        approval(terms, "sybil"),
        Signed("approval", approval(terms, "bank-2").payload, bytes(64), bytes(32)),
        replace(approval(terms, "bank-2"), signature=bytes(64)),
        replace(approval(terms, "bank-2"), signer=public_bytes(identity("bank-3"))),
        Signed("\x1b", b"\xff", b"", b""),
    ]
    assert approvers(terms, others, known) == []
    assert approvers(terms, [*others, approval(terms, "bank-3")], known) == ["bank-3"]


def test_a_transcript_needs_every_party_and_the_threshold_of_present_holders() -> None:
    """A rotation to others alone is no ceremony that anybody agreed to."""
    terms = rotation(holders=holders(MEMBERS[3:]), threshold=2)
    known = afterwards()
    parties = [approval(terms, name) for name in MEMBERS[3:]]
    for approvals in ([], parties[1:], parties, [*parties, approval(terms, "bank-1")]):
        with pytest.raises(CorruptError, match="lacks approvals of"):
            require_rightful(Transcript(terms, (), tuple(approvals)), known)
    present = [approval(terms, name) for name in HOLDERS[:2]]
    require_rightful(Transcript(terms, (), (*parties, *present)), known)
    with pytest.raises(CorruptError, match="lacks approvals of: bank-4"):
        require_rightful(Transcript(terms, (), (*parties[1:], *present)), known)


def test_a_transcript_without_messages_commits_nothing() -> None:
    """Whatever was approved."""
    approvals = tuple(approval(first(), name) for name in HOLDERS)
    with pytest.raises(CorruptError, match="does not commit"):
        committed(Transcript(first(), (), approvals))


def test_the_sample_key_is_what_the_rules_are_tried_on() -> None:
    """The terms above really start from it."""
    key: GroupKey = old().key
    assert (key.epoch, key.generation, key.threshold) == (1, 1, 2)
    assert elsewhere().key.public_key != key.public_key
    assert _with_moved_shares(refresh()).old_public_key == key.public_key
