"""A party: what it says when, what it never says, and how it goes on after it was killed."""

import os
from dataclasses import replace

import pytest

from ceremony_sample import (
    SUITE,
    begin,
    exchange,
    generation,
    generation_terms,
    identity,
    moving_terms,
    names,
    reconstructed,
)
from jointrisk.errors import ConflictError, CorruptError, InvalidInputError
from jointrisk.oprf import group
from jointrisk.oprf.ceremony import Abort, Kind, MessageKind, Party, Phase, Reason, SignedMessage
from jointrisk.oprf.ceremony.messages import sign_message
from jointrisk.oprf.ceremony.party_state import PartyState

TERMS = generation_terms(2, 3)


def _tell(party: Party, messages: list[SignedMessage]) -> list[SignedMessage]:
    """Tell a party what others said, and return what it says to that."""
    return [said for message in messages if message.sender != party.name for said in party.receive(message)]


def _said(kind: MessageKind) -> list[SignedMessage]:
    """Return all messages of one kind of the ceremony that always goes the same way."""
    return [message for message in exchange(begin(TERMS)) if message.kind is kind]


def _prepared(name: str = "bank-1") -> Party:
    """Return a party that has echoed and seen no other vote."""
    party = begin(TERMS)[name]
    _tell(party, _said(MessageKind.KEYS) + _said(MessageKind.DEAL))
    assert party.phase is Phase.PREPARED
    return party


def _restored(party: Party) -> Party:
    return Party.restore(party.state(), sign=identity(party.name).sign, suite=SUITE)


def _abort(sender: str, reason: Reason = Reason.ORDER) -> SignedMessage:
    return sign_message(TERMS, MessageKind.ABORT, sender, Abort(reason).encode(), identity(sender).sign)


def _kinds(messages: list[SignedMessage] | tuple[SignedMessage, ...]) -> list[MessageKind]:
    return [message.kind for message in messages]


@pytest.mark.parametrize(("threshold", "count"), [(2, 2), (2, 3), (3, 3), (3, 5)])
def test_a_generation_makes_one_key_whose_shares_fit(threshold: int, count: int) -> None:
    """All parties compute the same key; any threshold of the shares make it, fewer do not."""
    terms = generation_terms(threshold, count)
    parties = begin(terms)
    exchange(parties)
    outcomes = {party.outcome for party in parties.values()}
    assert len(outcomes) == 1
    outcome = outcomes.pop()
    assert outcome is not None
    assert outcome.key is not None
    assert (outcome.confirmed, outcome.guilty, outcome.reason) == (names(count), (), None)
    shares = {name: party.share for name, party in parties.items() if party.share}
    assert [group.multiply_base(share) for share in shares.values()] == [key for _, key in outcome.key.holders]
    for some in (names(threshold), names(threshold, first=count - threshold + 1)):
        assert reconstructed(terms, {name: shares[name] for name in some}) == outcome.key.public_key
    fewer = {name: shares[name] for name in names(threshold - 1)}
    assert reconstructed(terms, fewer) != outcome.key.public_key


@pytest.mark.parametrize(
    ("kind", "to", "threshold"),
    [
        (Kind.REFRESH, names(3), 2),
        (Kind.RESHARE, names(5), 3),
        (Kind.RESHARE, names(3, first=3), 2),
        (Kind.RESHARE, names(4, first=7), 3),
    ],
)
def test_moving_shares_keeps_the_key(kind: Kind, to: tuple[str, ...], threshold: int) -> None:
    """After a refresh or a resharing the group key is the same; new shares make it, and do not mix with old ones."""
    old = generation(2, 3)
    terms = moving_terms(old, names(2, first=2), to, threshold, kind)
    parties = begin(terms, old=old)
    exchange(parties)
    assert {party.phase for party in parties.values()} == {Phase.COMMITTED}
    shares = {name: share for name in to if (share := parties[name].share)}
    assert reconstructed(terms, dict(list(shares.items())[-threshold:])) == old.key.public_key
    assert parties["bank-2"].share is None or parties["bank-2"].share != old.shares["bank-2"]
    mixed = {to[0]: shares[to[0]], to[1]: old.shares["bank-1"]}
    assert threshold > 2 or reconstructed(terms, mixed) != old.key.public_key


def test_a_dealer_that_is_no_holder_gets_no_share() -> None:
    """An old holder that leaves deals, echoes, and holds nothing afterwards."""
    old = generation(2, 3)
    parties = begin(moving_terms(old, names(2), names(3, first=2), 2), old=old)
    exchange(parties)
    assert _kinds(parties["bank-1"].sent) == [MessageKind.DEAL, MessageKind.ECHO]
    assert parties["bank-1"].phase is Phase.COMMITTED
    assert parties["bank-1"].share is None


def test_the_share_is_hidden_until_it_is_committed() -> None:
    """A prepared party has a share, and does not give it out."""
    party = _prepared()
    assert party._secrets.share is not None
    assert party.share is None


def test_any_order_and_any_number_of_times() -> None:
    """Everything backwards and twice comes to the same end."""
    parties = begin(TERMS)
    pending = [message for party in parties.values() for message in party.sent]
    while pending:
        pending = [
            said for message in reversed(pending * 2) for party in parties.values() for said in party.receive(message)
        ]
    assert {party.phase for party in parties.values()} == {Phase.COMMITTED}


def test_votes_before_deals_are_understood_later() -> None:
    """A commit that arrives before what it is about is a commit as soon as the rest arrives."""
    party = begin(TERMS)["bank-1"]
    for kind in (MessageKind.CONFIRM, MessageKind.ECHO, MessageKind.DEAL, MessageKind.KEYS):
        _tell(party, _said(kind))
    assert party.phase is Phase.COMMITTED
    assert party.outcome is not None
    assert party.outcome.confirmed == names(3)


def test_a_party_killed_anywhere_repeats_itself() -> None:
    """Restored from any state, a party is the same party and says the same bytes."""
    said = exchange(begin(TERMS))
    party = begin(TERMS)["bank-2"]
    for message in said:
        restored = _restored(party)
        assert restored.state() == party.state()
        assert (restored.sent, restored.phase, restored.outcome) == (party.sent, party.phase, party.outcome)
        assert restored.receive(message) == party.receive(message)
    assert party.phase is Phase.COMMITTED
    assert _restored(party).share == party.share


def test_a_state_that_was_changed_is_refused() -> None:
    """A state of another length or format is no state."""
    state = begin(TERMS)["bank-1"].state()
    for other in (state[:-1], state + b"\0", b"\2" + state[1:], b""):
        with pytest.raises(InvalidInputError):
            Party.restore(other, sign=identity("bank-1").sign, suite=SUITE)


def test_a_party_restored_from_an_older_copy_stops() -> None:
    """Who meets a message of its own that it does not know says nothing more: it might contradict itself."""
    party = begin(TERMS)["bank-1"]
    old = party.state()
    _tell(party, _said(MessageKind.KEYS) + _said(MessageKind.DEAL))
    stale = Party.restore(old, sign=identity("bank-1").sign, suite=SUITE)
    with pytest.raises(ConflictError):
        stale.receive(party.sent[-1])
    for again in (stale, _restored(stale)):
        with pytest.raises(ConflictError):
            again.give_up(Reason.ORDER)
        with pytest.raises(ConflictError):
            _tell(again, _said(MessageKind.KEYS))


def test_a_party_that_lost_its_state_stops() -> None:
    """Keys that a party has announced before show up in the others' deals."""
    anew = begin(TERMS, seed=1)["bank-1"]
    with pytest.raises(ConflictError):
        _tell(anew, _said(MessageKind.KEYS) + _said(MessageKind.DEAL))


def test_a_forged_message_under_the_own_name_is_ignored() -> None:
    """Nobody stops a party by pretending to be it."""
    party = begin(TERMS)["bank-1"]
    forged = replace(_abort("bank-1"), signature=bytes(64))
    assert party.receive(forged) == ()
    assert party.phase is Phase.GATHERING
    assert _kinds(party.give_up(Reason.ORDER)) == [MessageKind.ABORT]


def test_an_order_makes_a_gathering_party_refuse_for_ever() -> None:
    """Once it has refused it never echoes, whatever arrives, and it keeps no secrets."""
    party = begin(TERMS)["bank-1"]
    (abort,) = party.give_up(Reason.DEADLINE)
    assert Abort.decode(abort.body) == Abort(Reason.DEADLINE, names(2, first=2))
    assert party.give_up(Reason.ORDER) == ()
    for restored in (party, _restored(party)):
        assert not _tell(restored, _said(MessageKind.KEYS) + _said(MessageKind.DEAL))
        assert (restored.phase, restored.is_revivable, restored.share) == (Phase.ABORTED, False, None)
        assert restored.outcome is not None
        assert (restored.outcome.guilty, restored.outcome.missing) == ((), names(2, first=2))
    assert party._secrets.dealing is None


def test_a_prepared_party_obeys_no_order() -> None:
    """Who has echoed cannot refuse: somebody may be committed already."""
    party = _prepared()
    assert party.give_up(Reason.ORDER) == ()
    assert (party.phase, party.missing()) == (Phase.PREPARED, names(2, first=2))
    _tell(party, _said(MessageKind.ECHO))
    assert party.phase is Phase.COMMITTED


def test_a_gathering_party_follows_a_refusal() -> None:
    """It refuses too, and names nobody."""
    party = begin(TERMS)["bank-1"]
    (said,) = _tell(party, [_abort("bank-2")])
    assert Abort.decode(said.body) == Abort(Reason.FOLLOWS)
    assert party.outcome is not None
    assert (party.outcome.refused, party.outcome.guilty, party.outcome.reason) == (names(2), (), Reason.ORDER)


def test_a_commit_outweighs_an_abort() -> None:
    """A party that saw a refusal after its echo keeps its share, and is committed when the echoes come after all."""
    party = _prepared()
    assert not _tell(party, [_abort("bank-2")])
    assert (party.phase, party.is_revivable, party.share) == (Phase.ABORTED, True, None)
    party = _restored(party)
    assert _kinds(_tell(party, _said(MessageKind.ECHO))) == [MessageKind.CONFIRM]
    assert (party.phase, party.is_revivable) == (Phase.COMMITTED, False)
    assert party.share is not None
    assert party.outcome is not None
    assert party.outcome.guilty == ("bank-2",), "who voted both ways is convicted by both"


def test_a_committed_party_stays_committed() -> None:
    """No refusal undoes a commit."""
    party = _prepared()
    _tell(party, _said(MessageKind.ECHO))
    share = party.share
    _tell(party, [_abort("bank-2"), _abort("bank-3")])
    assert (party.phase, party.share) == (Phase.COMMITTED, share)


def test_refusals_of_as_many_as_cannot_all_lie_are_final() -> None:
    """With a threshold of two one may lie: after two refusals there is no commit, and no share is kept."""
    party = _prepared()
    _tell(party, [_abort("bank-2"), _abort("bank-3")])
    assert (party.phase, party.is_revivable) == (Phase.ABORTED, False)
    assert party._secrets.share is None


def test_the_echoes_of_one_are_enough_for_all() -> None:
    """A committed party's messages, relayed by anybody, commit a prepared one."""
    committed, prepared = _prepared("bank-1"), _prepared("bank-2")
    _tell(committed, _said(MessageKind.ECHO))
    _tell(prepared, list(committed.messages))
    assert prepared.phase is Phase.COMMITTED
    assert committed.outcome is not None
    assert prepared.outcome == replace(committed.outcome, confirmed=("bank-1", "bank-2"))


def test_a_wrong_old_share_is_not_dealt() -> None:
    """A dealer whose share is not of the generation in the terms does not even begin."""
    old = generation(2, 3)
    terms = moving_terms(old, names(2), names(3), 2)
    for share in (None, old.shares["bank-2"]):
        with pytest.raises(ConflictError):
            Party.begin(
                terms,
                "bank-1",
                sign=identity("bank-1").sign,
                suite=SUITE,
                randomness=lambda count: b"r" * count,
                old_share=share,
            )


def test_only_parties_take_part() -> None:
    """Who is not in the terms has no part."""
    with pytest.raises(InvalidInputError):
        Party.begin(TERMS, "stranger", sign=identity("stranger").sign, suite=SUITE, randomness=bytes)


def test_the_identity_key_has_to_be_the_one_in_the_terms() -> None:
    """A party that could only send what nobody takes does not begin."""
    with pytest.raises(InvalidInputError):
        Party.begin(TERMS, "bank-1", sign=identity("bank-2").sign, suite=SUITE, randomness=os.urandom)


def test_a_state_without_vote_and_secrets_is_corrupt() -> None:
    """An echo that is gone while the secrets went with it: the party cannot know what it has signed."""
    state = PartyState.decode(_prepared().state())
    without = replace(state, messages=tuple(one for one in state.messages if one.kind is not MessageKind.ECHO))
    with pytest.raises(CorruptError):
        Party.restore(without.encode(), sign=identity("bank-1").sign, suite=SUITE)


def test_what_is_waited_for() -> None:
    """A party tells for whom it waits: keys, then deals, then votes, then confirmations."""
    party = begin(TERMS)["bank-1"]
    expected = ["bank-2", "bank-3"]
    for kind in (MessageKind.KEYS, MessageKind.DEAL, MessageKind.ECHO, MessageKind.CONFIRM):
        assert party.missing() == tuple(expected)
        _tell(party, [message for message in _said(kind) if message.sender == "bank-2"])
        assert party.missing() == ("bank-3",)
        _tell(party, [message for message in _said(kind) if message.sender == "bank-3"])
    assert party.missing() == ()
