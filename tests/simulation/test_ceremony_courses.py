"""Courses of ceremonies, one for each rule that keeps them right: they go well with the rule, and wrong without it.

Each is the shortest list of operations on which random plans failed while the rule was missing. So they also show that
the simulation notices what it is there for.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest

from jointrisk.errors import JointriskError
from jointrisk.oprf.ceremony import judgement, ledger, outcome, party
from jointrisk.oprf.ceremony.aborts import Abort, Complaint, Reason
from jointrisk.oprf.ceremony.bodies import Deal
from jointrisk.oprf.ceremony.messages import Header, MessageKind, SignedMessage
from jointrisk.oprf.ceremony.outcome import Outcome, Reckoning
from jointrisk.oprf.ceremony.party_state import PartyState
from jointrisk.oprf.ceremony.suite import share_context
from jointrisk.oprf.ceremony.terms import Dealer
from simulation.ceremony_world import Plan
from simulation.test_ceremony_simulation import run


class Course(NamedTuple):
    """A plan, and the rule that it needs.

    Attributes:
        plan: what happens.
        owner: where the rule is.
        rule: its name there.
        without: what stands there when the rule is missing.
        wrong: what then goes wrong.
    """

    plan: Plan
    owner: object
    rule: str
    without: object
    wrong: str


_computed = Reckoning._computed
_encoded = PartyState.encode


def _abort_outweighs_commit(self: Reckoning) -> Outcome | None:
    refusals = outcome._refusals(self._ledger)
    return outcome._aborted(self._ledger, refusals) if refusals else _computed(self)


def _refuse_always(self: party.Party, reason: Reason) -> tuple[SignedMessage, ...]:
    return (self._refuse(Abort(reason, self.missing())),)


def _share_unchecked(self: judgement.Judge, dealer: Dealer, deal: Deal, receiver: str, key: bytes) -> bytes | None:
    context = share_context(self.terms, dealer.name, receiver)
    return self.suite.open(key, deal.sealed[self.terms.indices[receiver] - 1], context)


def _complainer_is_right(self: judgement.Judge, sender: str, complaint: Complaint) -> str | None:
    deal = self._shown(complaint.deal)
    return deal.sender if deal is not None and deal.kind is MessageKind.DEAL else None


def _constant(value: object) -> Callable[..., object]:
    return lambda *_: value


def _first_header_stands(self: ledger.Ledger, sender: str, header: Header) -> None:
    self._headers.setdefault((header.slot, sender), header)


def _echo_not_stored(self: PartyState) -> bytes:
    kept = tuple(one for one in self.messages if (one.kind, one.sender) != (MessageKind.ECHO, self.name))
    return _encoded(replace(self, messages=kept))


_TWO_FACED = (("bank-2", "echo-and-abort"),)
_TWO_DEALS = (("bank-3", "deal-twice"), ("bank-3", "echo-of-two-deals"))

COURSES = {
    "a commit outweighs an abort": Course(
        Plan("refresh 2 of 3", 54, _TWO_FACED, (), settles=True),
        Reckoning,
        "_computed",
        _abort_outweighs_commit,
        "one was committed, and is no more",
    ),
    "who has echoed keeps its share through an abort": Course(
        Plan("refresh 2 of 3", 54, _TWO_FACED, (), settles=True),
        party.Party,
        "is_revivable",
        property(_constant(value=False)),
        "one is committed, another can never be",
    ),
    "who has voted obeys no order": Course(
        Plan("refresh 2 of 3", 1, (), (), settles=True),
        party.Party,
        "give_up",
        _refuse_always,
        "the board names an honest party guilty|another",
    ),
    "a share has to fit the commitments": Course(
        Plan("refresh 2 of 3", 3, (("bank-2", "share-wrong"),), (), settles=True),
        judgement.Judge,
        "opened_share",
        _share_unchecked,
        "a share does not fit its public key",
    ),
    "a false complaint convicts the complainer": Course(
        Plan("generate 2 of 3", 7, (("bank-3", "complaint-false"),), (), settles=True),
        judgement.Judge,
        "_complained",
        _complainer_is_right,
        "honest party|another",
    ),
    "who says two things is guilty": Course(
        Plan("generate 2 of 3", 72, (("bank-2", "confirm-twice"),), (), settles=True),
        ledger.Ledger,
        "_note",
        _first_header_stands,
        "a proven liar is not named",
    ),
    "echoes show what was dealt to others": Course(
        Plan("reshare to others only", 465, _TWO_DEALS, (), settles=True),
        ledger.Ledger,
        "_note_all",
        _constant(None),
        "it is aborted for a lie of nobody",
    ),
    "two echoes of different deals are an abort": Course(
        Plan("reshare to others only", 465, _TWO_DEALS, (), settles=True),
        outcome,
        "_is_split",
        _constant(value=False),
        "everybody voted, and it has not ended",
    ),
    "a dealer proves that it knows what it commits to": Course(
        Plan("generate 2 of 3", 36, (("bank-1", "possession-wrong"),), (), settles=True),
        judgement,
        "proves_possession",
        _constant(value=True),
        "a proven liar is not named",
    ),
    "keys are no points of small order": Course(
        Plan("refresh 2 of 3", 171, (("bank-2", "keys-zero"),), (), settles=True),
        judgement.Judge,
        "_are_usable",
        _constant(value=True),
        "expected a usable X25519 key",
    ),
    "a vote is stored before it is sent": Course(
        Plan(
            "refresh 2 of 3",
            195,
            (("bank-1", "order-for-no-reason"),),
            (
                ("kill before storing", 2567),
                *(("deliver", at) for at in (5216, 8605, 273, 6714, 9197, 5035, 1790, 5856, 3617)),
                ("lose", 6848),
                *(("deliver", at) for at in (3600, 9846)),
                ("lose", 9535),
                ("deliver", 8312),
                ("kill before storing", 8173),
            ),
            settles=True,
        ),
        PartyState,
        "encode",
        _echo_not_stored,
        "its vote or its secrets",
    ),
    "a message is signed by its sender": Course(
        Plan(
            "refresh 2 of 3",
            3,
            (),
            (
                ("deliver", 8571),
                ("deliver", 6388),
                ("deliver", 248),
                ("deliver", 1049),
                ("deliver", 2611),
                ("deliver", 4414),
                ("forge", 7745),
                ("impersonate", 1),
            ),
            settles=True,
        ),
        judgement.Judge,
        "is_genuine",
        lambda self, message: message.belongs_to(self.terms),
        "honest party|another",
    ),
}


@pytest.mark.parametrize("rule", COURSES)
def test_a_course_goes_well(rule: str) -> None:
    """With all rules it ends as it may."""
    run(COURSES[rule].plan)


@pytest.mark.parametrize("rule", COURSES)
def test_without_its_rule_it_goes_wrong(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rule the simulation fails, for the reason that the rule is there."""
    course = COURSES[rule]
    monkeypatch.setattr(course.owner, course.rule, course.without)
    with pytest.raises((AssertionError, JointriskError), match=course.wrong):
        run(course.plan)
