"""How a ceremony ended: the same for everybody who has the messages, and old shares last as long as they are needed."""

import random
from dataclasses import replace

import pytest

from ceremony_sample import SUITE, begin, exchange, generation, generation_terms, identity, moving_terms, names
from jointrisk.errors import ConflictError, InvalidInputError, UnauthenticatedError
from jointrisk.oprf import group, sharing
from jointrisk.oprf.ceremony import Abort, Board, MessageKind, Reason, SignedMessage, judgement, may_retire
from jointrisk.oprf.ceremony.bodies import Deal
from jointrisk.oprf.ceremony.messages import sign_message
from jointrisk.oprf.ceremony.outcome import group_key, is_final

TERMS = generation_terms(2, 3)


def _message(sender: str, kind: MessageKind, body: bytes) -> SignedMessage:
    return sign_message(TERMS, kind, sender, body, identity(sender).sign)


def _abort(sender: str, reason: Reason = Reason.ORDER, missing: tuple[str, ...] = ()) -> SignedMessage:
    return _message(sender, MessageKind.ABORT, Abort(reason, missing).encode())


def test_everybody_computes_the_same_end_from_the_same_messages() -> None:
    """The board, a party, and somebody who gets the messages later in another order come to one outcome."""
    board, parties = Board(TERMS, SUITE), begin(TERMS)
    said = exchange(parties, board)
    shuffled = random.Random(1).sample(said, len(said))  # noqa: S311 - the same order every time
    later = Board(TERMS, SUITE, shuffled)
    assert board.outcome is not None
    assert board.outcome.is_committed
    assert {board.outcome, later.outcome, *(party.outcome for party in parties.values())} == {board.outcome}
    assert Board(TERMS, SUITE, board.messages).messages == board.messages
    assert board.missing() == ()


@pytest.mark.parametrize("kind", [MessageKind.DEAL, MessageKind.ECHO])
def test_nothing_is_committed_without_every_deal_and_every_echo(kind: MessageKind) -> None:
    """One deal or one echo less is no commit."""
    said = exchange(begin(TERMS))
    left_out = next(message for message in said if message.kind is kind)
    board = Board(TERMS, SUITE, [message for message in said if message != left_out])
    assert board.outcome is None
    assert board.missing() == (left_out.sender,)
    assert board.post(left_out)
    assert board.outcome is not None
    assert board.outcome.is_committed


def test_the_board_takes_every_message_once() -> None:
    """A message that is posted again is known, and not new."""
    board, said = Board(TERMS, SUITE), exchange(begin(TERMS))
    assert [board.post(message) for message in said * 2] == [True] * len(said) + [False] * len(said)
    assert board.messages == tuple(said)


def test_a_contradiction_is_kept_and_convicts_its_sender() -> None:
    """The second thing that a party says in one slot is passed on as evidence; a third adds nothing."""
    board = Board(TERMS, SUITE)
    reasons = (Reason.ORDER, Reason.DEADLINE, Reason.FOLLOWS)
    first, second, third = (_abort("bank-1", reason) for reason in reasons)
    assert board.post(first)
    assert board.guilty == frozenset()
    assert board.post(second)
    assert board.guilty == {"bank-1"}
    with pytest.raises(ConflictError):
        board.post(third)
    assert board.messages == (first, second)


def test_no_flood_of_contradictions_hides_a_commit() -> None:
    """A party that has contradicted itself may still complete what the others echo."""
    said = exchange(begin(TERMS))
    flood = [_abort("bank-1", reason) for reason in (Reason.ORDER, Reason.DEADLINE)]
    own = [message for message in said if message.kind is MessageKind.ECHO and message.sender == "bank-1"]
    board = Board(TERMS, SUITE, [*flood, *(message for message in said if message not in own)])
    assert board.outcome is not None
    assert not board.outcome.is_committed
    assert board.post(own[0])
    assert board.outcome is not None
    assert board.outcome.is_committed
    assert board.outcome.guilty == ("bank-1",)


def test_a_flood_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a party signs beyond what it may say is refused, and not remembered without bound."""
    monkeypatch.setattr(judgement, "_REMEMBERED", 10)
    said = exchange(begin(TERMS))
    board = Board(TERMS, SUITE, said[:3])
    for number in range(50):
        flood = _message("bank-1", MessageKind.DEAL, number.to_bytes(4, "big"))
        if number > 1:
            with pytest.raises(ConflictError):
                board.post(flood)
        else:
            assert board.post(flood)
    judge = board._ledger.judge
    assert max(len(judge._signed), len(judge._kept), len(judge._usable)) <= 10
    assert len(board.messages) == 5
    assert [board.post(message) for message in said[-3:]] == [True] * 3, "the others' messages are still taken"


def test_forgeries_are_refused() -> None:
    """A message with somebody else's signature is not taken."""
    with pytest.raises(UnauthenticatedError):
        Board(TERMS, SUITE).post(replace(_abort("bank-1"), sender="bank-2"))


def test_an_administrative_abort_names_nobody() -> None:
    """It tells who refused, why, and for whom it waited. Who follows gives no reason of its own."""
    board = Board(TERMS, SUITE)
    board.post(_abort("bank-1", Reason.FOLLOWS))
    assert board.outcome is not None
    assert board.outcome.reason is Reason.FOLLOWS
    board.post(_abort("bank-3", Reason.DEADLINE, ("bank-2",)))
    assert board.outcome is not None
    assert (board.outcome.refused, board.outcome.missing) == (("bank-1", "bank-3"), ("bank-2",))
    assert (board.outcome.reason, board.outcome.guilty) == (Reason.DEADLINE, ())


def test_a_vote_that_nobody_can_read_is_a_refusal() -> None:
    """Otherwise the others would wait for ever for an echo that never comes."""
    board = Board(TERMS, SUITE)
    board.post(_message("bank-2", MessageKind.ECHO, b"garbage"))
    assert board.outcome is not None
    assert (board.outcome.refused, board.outcome.guilty) == (("bank-2",), ("bank-2",))
    assert board.outcome.reason is Reason.EVIDENCE


def test_when_refusals_are_final() -> None:
    """As many new holders as the threshold, or all old dealers: one of them is honest."""
    assert not is_final(TERMS, ["bank-1"])
    assert is_final(TERMS, ["bank-1", "bank-3"])
    moving = moving_terms(generation(2, 3), names(2), names(4, first=3), 3)
    assert not is_final(moving, ["bank-1"])
    assert is_final(moving, ["bank-1", "bank-2"])
    assert not is_final(moving, ["bank-1", "bank-3", "bank-4"])
    assert is_final(moving, ["bank-3", "bank-4", "bank-5"])


def test_old_shares_last_until_new_ones_are_safe() -> None:
    """All new holders have confirmed; or at the deadline one more than the threshold, if there are so many."""
    terms = generation_terms(2, 5)
    assert not may_retire(terms, names(4), deadline_passed=False)
    assert may_retire(terms, names(5), deadline_passed=False)
    assert not may_retire(terms, names(2), deadline_passed=True)
    assert may_retire(terms, names(3), deadline_passed=True)
    assert not may_retire(terms, ("bank-1", "bank-1", "bank-1", "stranger"), deadline_passed=True)
    everybody = generation_terms(3, 3)
    assert not may_retire(everybody, names(2), deadline_passed=True)
    assert may_retire(everybody, names(3), deadline_passed=True)


def test_a_key_that_dealers_made_degenerate_is_refused() -> None:
    """Deals that add up to the identity, or give a holder a share of zero, make no key."""
    deal = Deal.decode(TERMS, next(one for one in exchange(begin(TERMS)) if one.kind is MessageKind.DEAL).body)
    opposite = tuple(group.subtract(group.IDENTITY, one) for one in deal.commitments)
    with pytest.raises(InvalidInputError):
        group_key(TERMS, [deal, replace(deal, commitments=opposite)])
    with pytest.raises(InvalidInputError):
        group_key(TERMS, [replace(deal, commitments=(deal.commitments[0], opposite[0]))])  # zero at index 1
    assert group_key(TERMS, [deal]).holders[1] == ("bank-2", sharing.evaluate_commitments(deal.commitments, 2))
