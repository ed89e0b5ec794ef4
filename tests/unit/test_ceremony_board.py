"""The coordinator's bulletin board over a real database, with parties that really deal."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from ceremony_federation import BoardAtTest, approval_of, founding_members, sqlite_board
from ceremony_sample import Generation, begin, exchange
from coordinator_at_test import MovableClock
from jointrisk.errors import (
    ConflictError,
    CorruptError,
    InvalidInputError,
    JointriskError,
    NotFoundError,
    RefusedError,
    UnauthenticatedError,
    UnavailableError,
)
from jointrisk.federation.signing import Signed, sign_document
from jointrisk.oprf.ceremony import Kind, MessageKind, Party, Reason, SignedMessage, Terms
from jointrisk.oprf.ceremony.aborts import Abort
from jointrisk.oprf.ceremony.messages import sign_message
from jointrisk_coordinator.ceremonies.board import CeremonyView
from jointrisk_coordinator.ceremonies.proposing import Wish
from roster_forge import key_of

NAMES = ("ant", "bee", "cat", "dog", "eel")
HOLDERS = NAMES[:3]


@pytest.fixture
def desk(tmp_path: Path) -> BoardAtTest:
    """A board of five members, without a key."""
    members = founding_members(*NAMES)
    return sqlite_board(tmp_path / "c", lambda: members, MovableClock())


def run(desk: BoardAtTest, view: CeremonyView, old: Generation | None = None, seed: int = 0) -> Generation:
    """Approve a ceremony, have its parties do everything, and return what they made."""
    desk.approve(view, *view.waiting_for)
    parties = begin(view.terms, seed, old)
    desk.post(*exchange(parties))
    done = desk.board.get(view.terms.session)
    assert (done.state, done.key is not None) == ("done", True)
    assert done.key is not None
    return Generation(done.key, {name: party.share for name, party in parties.items() if party.share})


def first_key(desk: BoardAtTest, threshold: int = 2) -> Generation:
    """Return a first key of three holders."""
    return run(desk, desk.start(*HOLDERS, threshold=threshold))


def running(desk: BoardAtTest) -> tuple[CeremonyView, dict[str, Party]]:
    """Return a ceremony that has begun and its parties, who have said nothing."""
    view = desk.start(*HOLDERS)
    desk.approve(view, *HOLDERS)
    return view, begin(view.terms)


def state(desk: BoardAtTest, view: CeremonyView) -> str:
    """Return the state of a ceremony."""
    return desk.board.get(view.terms.session).state


def keys_of(parties: dict[str, Party], name: str) -> SignedMessage:
    """Return a party's first message."""
    return parties[name].sent[0]


# -- proposals ---------------------------------------------------------------------------------------------------------


def test_there_is_no_ceremony_at_first(desk: BoardAtTest) -> None:
    """Nothing to show, nothing to give up."""
    assert (desk.board.newest(), desk.board.generations(0), desk.board.number) == (None, [], 0)
    with pytest.raises(NotFoundError, match="no ceremony goes on"):
        desk.board.abort()
    with pytest.raises(NotFoundError):
        desk.board.get(bytes(16))


def test_the_first_key_is_proposed_to_its_holders(desk: BoardAtTest) -> None:
    """Terms name the members' present keys; everybody is waited for, and the log says so."""
    view = desk.start("cat", "ant", threshold=2)
    terms = view.terms
    assert (terms.kind, terms.federation, terms.epoch, terms.old_generation) == (Kind.GENERATE, "testing", 1, 0)
    assert (terms.new_generation, terms.threshold, list(terms.indices)) == (1, 2, ["cat", "ant"])
    assert terms.identities == {name: desk.members()[name].identity_key for name in ("cat", "ant")}
    assert (view.state, view.waiting_for, view.missing, view.key) == ("approving", ("ant", "cat"), (), None)
    assert view.started_at == desk.clock()
    assert desk.events() == ["ceremony.proposed"]


def test_a_refresh_keeps_everything_but_the_shares(desk: BoardAtTest) -> None:
    """The dealers are as many holders as the threshold: the first that are online."""
    old = first_key(desk)
    terms = desk.board.propose(Wish("refresh"), {"cat", "bee", "eel"}).terms
    assert (terms.kind, terms.epoch, terms.old_generation, terms.new_generation) == (Kind.REFRESH, 1, 1, 2)
    assert [(one.name, one.index) for one in terms.old_dealers] == [("bee", 2), ("cat", 3)]
    assert [one.public_key for one in terms.old_dealers] == [dict(old.key.holders)[name] for name in ("bee", "cat")]
    assert (terms.old_public_key, terms.threshold, tuple(terms.indices)) == (old.key.public_key, 2, HOLDERS)


def test_a_resharing_changes_holders_and_threshold(desk: BoardAtTest) -> None:
    """What is not said stays; dealers that are named need not be online."""
    first_key(desk)
    terms = desk.board.propose(Wish("reshare", 3, ("dog", "cat", "eel"), ("cat", "ant")), ()).terms
    assert (terms.kind, terms.threshold, tuple(terms.indices)) == (Kind.RESHARE, 3, ("dog", "cat", "eel"))
    assert [one.name for one in terms.old_dealers] == ["ant", "cat"]
    desk.board.abort()
    kept = desk.board.propose(Wish("reshare", 3), HOLDERS).terms
    assert (kept.threshold, tuple(kept.indices), kept.new_generation) == (3, HOLDERS, 3)


def test_a_rotation_makes_another_key_for_another_epoch(desk: BoardAtTest) -> None:
    """Nobody deals; the generation that there is stays named."""
    first_key(desk)
    terms = desk.board.propose(Wish("rotate"), ()).terms
    assert (terms.kind, terms.epoch, terms.old_generation, terms.new_generation) == (Kind.GENERATE, 2, 1, 2)
    assert (terms.old_dealers, terms.old_public_key, tuple(terms.indices)) == ((), None, HOLDERS)


WITHOUT_KEY: dict[str, tuple[Wish, type[JointriskError], str]] = {
    "no such wish": (Wish("steal"), InvalidInputError, "expected one of"),
    "a refresh of nothing": (Wish("refresh"), ConflictError, "no key yet"),
    "a resharing of nothing": (Wish("reshare", 2, HOLDERS), ConflictError, "no key yet"),
    "a rotation of nothing": (Wish("rotate"), ConflictError, "no key yet"),
    "no holders": (Wish("start", 2), InvalidInputError, "holders and a threshold"),
    "no threshold": (Wish("start", 0, HOLDERS), InvalidInputError, "holders and a threshold"),
    "a threshold of one": (Wish("start", 1, HOLDERS), InvalidInputError, "threshold from 2"),
    "a threshold beyond the holders": (Wish("start", 4, HOLDERS), InvalidInputError, "threshold from 2"),
    "one holder": (Wish("start", 2, ("ant",)), InvalidInputError, "2 to 9 holders"),
    "a holder twice": (Wish("start", 2, ("ant", "ant")), InvalidInputError, "once"),
    "a holder that is no member": (Wish("start", 2, ("ant", "fox")), NotFoundError, "fox is no member"),
    "a name that is none": (Wish("start", 2, ("ant", "\x1b[2J")), NotFoundError, "no member"),
}
WITH_KEY: dict[str, tuple[Wish, type[JointriskError], str]] = {
    "a second first key": (Wish("start", 2, HOLDERS), ConflictError, "a key already"),
    "a refresh to others": (Wish("refresh", 0, ("ant", "dog")), InvalidInputError, "keeps holders"),
    "a refresh with another threshold": (Wish("refresh", 3), InvalidInputError, "keeps holders"),
    "a dealer that holds nothing": (Wish("refresh", dealers=("ant", "dog")), NotFoundError, "no holder today: dog"),
    "too few dealers": (Wish("refresh", dealers=("ant",)), ConflictError, "expected 2 .* got 1"),
    "too many dealers": (Wish("reshare", dealers=HOLDERS), ConflictError, "expected 2 .* got 3"),
    "a dealer twice": (Wish("refresh", dealers=("ant", "ant")), ConflictError, "expected 2"),
    "too few online": (Wish("refresh"), ConflictError, "expected 2 .* got 1"),
}


@pytest.mark.parametrize("name", WITHOUT_KEY)
def test_a_wish_that_cannot_be_proposed_without_a_key(desk: BoardAtTest, name: str) -> None:
    """It says why, and leaves nothing."""
    wish, error, said = WITHOUT_KEY[name]
    with pytest.raises(error, match=said):
        desk.board.propose(wish, NAMES)
    assert (desk.board.newest(), desk.board.number, desk.events()) == (None, 0, [])


def test_wishes_that_cannot_be_proposed_with_a_key(desk: BoardAtTest) -> None:
    """Each says why, and leaves nothing; the ceremony that was the last stays the newest."""
    first_key(desk)
    before = desk.board.number
    for wish, error, said in WITH_KEY.values():
        with pytest.raises(error, match=said):
            desk.board.propose(wish, {"ant", "dog"})
    newest = desk.board.newest()
    assert newest is not None
    assert (newest.terms.new_generation, desk.board.number) == (1, before)


def test_one_ceremony_at_a_time(desk: BoardAtTest) -> None:
    """Another can be proposed when the first is over."""
    desk.start(*HOLDERS)
    with pytest.raises(ConflictError, match="goes on already"):
        desk.start(*HOLDERS)
    desk.board.abort()
    assert desk.start(*HOLDERS).terms.new_generation == 2


def test_numbers_are_never_used_twice(desk: BoardAtTest) -> None:
    """Whatever became of the ceremonies before, over restarts: who has voted in one may still be bound by it."""
    seen = []
    for _ in range(3):
        seen.append(desk.start(*HOLDERS).terms)
        desk.board.abort()
        desk.restart()
    first = run(desk, desk.start(*HOLDERS))
    assert [(terms.new_generation, terms.epoch) for terms in seen] == [(1, 1), (2, 2), (3, 3)]
    assert (first.key.generation, first.key.epoch) == (4, 4)
    desk.board.propose(Wish("rotate"), ())
    desk.board.abort()
    refresh = desk.board.propose(Wish("refresh"), HOLDERS).terms
    assert (refresh.new_generation, refresh.epoch, refresh.old_generation) == (6, 4, 4)
    desk.board.abort()
    assert desk.board.propose(Wish("rotate"), ()).terms.epoch == 6
    assert len({terms.session for terms in seen}) == 3


# -- approvals ---------------------------------------------------------------------------------------------------------


def test_a_ceremony_begins_when_all_parties_have_approved(desk: BoardAtTest) -> None:
    """Twice counts once; what is awaited is told each time."""
    view = desk.start(*HOLDERS)
    assert desk.approve(view, "cat") == ("ant", "bee")
    assert desk.approve(view, "cat") == ("ant", "bee")
    assert desk.approve(view, "ant") == ("bee",)
    assert state(desk, view) == "approving"
    assert desk.approve(view, "bee") == ()
    begun = desk.board.get(view.terms.session)
    assert (begun.state, begun.missing, set(begun.approvals)) == ("running", HOLDERS, set(HOLDERS))
    approved = ["ceremony.approved"] * 3
    assert desk.events() == ["ceremony.proposed", *approved, "ceremony.begun"]


def test_an_approval_of_one_that_is_no_party_is_not_enough(desk: BoardAtTest) -> None:
    """Any member may agree; it replaces nobody."""
    view = desk.start(*HOLDERS)
    assert desk.approve(view, "dog", "eel", "ant", "bee") == ("cat",)
    assert state(desk, view) == "approving"


def test_a_rotation_to_others_needs_as_many_present_holders_as_the_threshold(desk: BoardAtTest) -> None:
    """The coordinator does not give the key to others alone."""
    first_key(desk)
    view = desk.board.propose(Wish("rotate", 2, ("dog", "eel")), ())
    assert view.waiting_for == ("ant", "bee", "cat", "dog", "eel")
    assert desk.approve(view, "dog", "eel") == HOLDERS
    assert desk.approve(view, "bee") == ("ant", "cat")
    assert desk.approve(view, "cat") == ()
    assert state(desk, view) == "running"


BAD_APPROVALS: dict[str, tuple[Callable[[Terms], Signed], str, type[JointriskError]]] = {
    "signed by another": (lambda t: approval_of(t, "ant", key="bee"), "ant", UnauthenticatedError),
    "of another, by its own key": (lambda t: approval_of(t, "bee"), "ant", UnauthenticatedError),
    "in another's name": (lambda t: approval_of(t, "bee", key="ant"), "ant", RefusedError),
    "of other terms": (lambda t: approval_of(t, "ant", terms_digest=bytes(32)), "ant", RefusedError),
    "of another federation": (lambda t: approval_of(t, "ant", federation="elsewhere"), "ant", RefusedError),
    "of no ceremony": (lambda t: approval_of(t, "ant", session="0" * 32), "ant", NotFoundError),
    "by no member": (lambda t: approval_of(t, "fox"), "fox", NotFoundError),
    "of another kind": (
        lambda t: sign_document("approval", approval_of(t, "ant").payload, key_of("ant")),
        "ant",
        UnauthenticatedError,
    ),
    "of a kind that is none": (lambda _: Signed("\x1b", b"", b"", b""), "ant", UnauthenticatedError),
    "signed nonsense": (lambda _: sign_document("ceremony-approval", b"{", key_of("ant")), "ant", CorruptError),
    "deep nonsense": (
        lambda _: sign_document("ceremony-approval", b"[" * 100_000, key_of("ant")),
        "ant",
        CorruptError,
    ),
    "cut signature": (
        lambda t: Signed("ceremony-approval", approval_of(t, "ant").payload, b"x", b""),
        "ant",
        UnauthenticatedError,
    ),
}


@pytest.mark.parametrize("name", BAD_APPROVALS)
def test_an_approval_that_is_none_is_refused(desk: BoardAtTest, name: str) -> None:
    """It leaves nothing, and the right one still counts."""
    make, caller, error = BAD_APPROVALS[name]
    view = desk.start(*HOLDERS)
    before = desk.board.number
    with pytest.raises(error):
        desk.board.approve(caller, make(view.terms))
    assert (desk.board.number, desk.board.get(view.terms.session).approvals) == (before, {})
    assert desk.approve(view, "ant") == ("bee", "cat")


def test_approvals_after_the_end_begin_nothing(desk: BoardAtTest) -> None:
    """A ceremony that was given up before it began stays so."""
    view = desk.start(*HOLDERS)
    desk.board.abort()
    desk.approve(view, *HOLDERS)
    assert state(desk, view) == "aborted"


# -- messages ----------------------------------------------------------------------------------------------------------


def test_a_ceremony_from_its_approval_to_its_end(desk: BoardAtTest) -> None:
    """The board shows messages in their order of arrival, who is awaited, and the key that the parties made."""
    view, parties = running(desk)
    said = exchange(parties)
    missing = []
    for message in said:
        desk.post(message)
        missing.append(desk.board.get(view.terms.session).missing)
    done = desk.board.get(view.terms.session)
    assert done.messages == tuple(said)
    assert [set(one) for one in missing[:3]] == [{"bee", "cat"}, {"cat"}, set(HOLDERS)]
    assert (done.state, done.detail, done.missing) == ("done", "3 of 3 holders have stored their share", ())
    assert done.key is not None
    assert {party.outcome.key for party in parties.values() if party.outcome} == {done.key}
    assert desk.events()[-1:] == ["ceremony.ended"]
    assert desk.events().count("ceremony.ended") == 1


def test_nothing_is_posted_before_everybody_has_approved(desk: BoardAtTest) -> None:
    """Not even by a party that has."""
    view = desk.start(*HOLDERS)
    desk.approve(view, "ant", "bee")
    with pytest.raises(RefusedError, match="not approved yet"):
        desk.post(keys_of(begin(view.terms), "ant"))
    assert desk.board.get(view.terms.session).messages == ()


def test_the_same_message_again_changes_nothing(desk: BoardAtTest) -> None:
    """Nor does the same thing signed another time, whoever brings it."""
    view, parties = running(desk)
    message = keys_of(parties, "ant")
    desk.post(message)
    before = desk.board.number
    desk.post(message)
    desk.post(sign_message(view.terms, message.kind, "ant", message.body, key_of("ant").sign))
    assert (desk.board.number, desk.board.get(view.terms.session).messages) == (before, (message,))


def _forged(terms: Terms, parties: dict[str, Party]) -> dict[str, bytes]:
    """Return messages that no party has signed as they are."""
    right = keys_of(parties, "ant")
    other = begin(Terms(bytes(15) + b"x", *(getattr(terms, name) for name in _AFTER_SESSION)))
    return {
        "another's key": sign_message(terms, right.kind, "ant", right.body, key_of("bee").sign).encoded,
        "no party": sign_message(terms, right.kind, "dog", right.body, key_of("dog").sign).encoded,
        "another session": keys_of(other, "ant").encoded,
        "another kind": right.encoded[:1] + bytes([MessageKind.CONFIRM]) + right.encoded[2:],
        "a changed body": right.encoded[:60] + bytes([right.encoded[60] ^ 1]) + right.encoded[61:],
        "a changed signature": right.encoded[:-1] + bytes([right.encoded[-1] ^ 1]),
    }


_AFTER_SESSION = ("kind", "federation", "epoch", "old_generation", "new_generation", "threshold", "holders")


def test_what_no_party_has_signed_is_refused(desk: BoardAtTest) -> None:
    """So nobody else fills the board."""
    view, parties = running(desk)
    before = desk.board.number
    for name, content in _forged(view.terms, parties).items():
        with pytest.raises((UnauthenticatedError, InvalidInputError)):
            desk.board.post(view.terms.session, content)
        assert desk.board.number == before, name
    assert desk.board.get(view.terms.session).messages == ()


@pytest.mark.parametrize(
    "content", [b"", b"\1", bytes(200), b"\1\1" + bytes(300), b"\xff" * 70_000], ids=lambda content: f"{len(content)} B"
)
def test_bytes_that_are_no_message_are_refused(desk: BoardAtTest, content: bytes) -> None:
    """Before the database is asked."""
    view, _ = running(desk)
    before = desk.board.number
    with pytest.raises(InvalidInputError):
        desk.board.post(view.terms.session, content)
    assert desk.board.number == before


@pytest.mark.parametrize("session", [b"", bytes(16), bytes(1 << 20)], ids=["none", "zeros", "a megabyte"])
def test_a_message_for_no_ceremony(desk: BoardAtTest, session: bytes) -> None:
    """There is none of this session."""
    _, parties = running(desk)
    with pytest.raises(NotFoundError, match="no ceremony of this session"):
        desk.board.post(session, keys_of(parties, "ant").encoded)


def _contradictions(terms: Terms, sender: str, count: int) -> list[SignedMessage]:
    bodies = [Abort(Reason.ORDER, (name,)).encode() for name in NAMES[:count]]
    return [sign_message(terms, MessageKind.ABORT, sender, body, key_of(sender).sign) for body in bodies]


def test_a_party_that_contradicts_itself_is_convicted_and_fills_nothing(desk: BoardAtTest) -> None:
    """The second message is kept, for it convicts; a third is refused. The detail names who it was."""
    view, _ = running(desk)
    first, second, *more = _contradictions(view.terms, "bee", 5)
    desk.post(first, second)
    number = desk.board.number
    for message in more:
        with pytest.raises(ConflictError, match="one sender"):
            desk.post(message)
    ended = desk.board.get(view.terms.session)
    assert (ended.state, ended.messages, desk.board.number) == ("aborted", (first, second), number)
    assert ended.detail == "proven to have broken the rules: bee"


def test_a_refusal_without_evidence_accuses_nobody(desk: BoardAtTest) -> None:
    """The detail says who gave up and for whom it waited."""
    view, parties = running(desk)
    desk.post(*parties["ant"].sent, *parties["ant"].give_up(Reason.DEADLINE))
    ended = desk.board.get(view.terms.session)
    assert ended.state == "aborted"
    assert ended.detail == "given up (deadline) by ant, waited for bee, cat; nobody is accused"


def test_a_commit_outweighs_an_abort_that_came_first(desk: BoardAtTest) -> None:
    """One party echoes and refuses: who sees both knows that there is a key, and who lied."""
    view, parties = running(desk)
    said = exchange(parties)
    lie = sign_message(view.terms, MessageKind.ABORT, "bee", Abort(Reason.ORDER).encode(), key_of("bee").sign)
    desk.post(*[one for one in said if one.kind in {MessageKind.KEYS, MessageKind.DEAL}], lie)
    assert state(desk, view) == "aborted"
    desk.post(*[one for one in said if one.kind in {MessageKind.ECHO, MessageKind.CONFIRM}])
    ended = desk.board.get(view.terms.session)
    assert (ended.state, ended.key is not None) == ("done", True)
    assert ended.detail == "3 of 3 holders have stored their share; proven to have broken the rules: bee"


def test_the_longest_detail_fits_its_column(tmp_path: Path) -> None:
    """Nine holders with names of forty characters, all of whom refuse: PostgreSQL takes no character too many."""
    names = tuple(f"{name}{'-x' * 20}"[:40] for name in "abcdefghi")
    members = founding_members(*names)
    desk = sqlite_board(tmp_path / "long", lambda: members, MovableClock())
    view = desk.start(*names, threshold=5)
    desk.approve(view, *names)
    for name in names:
        abort = Abort(Reason.DEADLINE, tuple(one for one in names if one != name))
        desk.post(sign_message(view.terms, MessageKind.ABORT, name, abort.encode(), key_of(name).sign))
    ended = desk.board.get(view.terms.session)
    assert ended.state == "aborted"
    assert len(ended.detail) <= 500
    assert ended.detail.startswith(f"given up (deadline) by {names[0]}, {names[1]}")


# -- the end, before its time ------------------------------------------------------------------------------------------


def test_a_ceremony_that_nobody_has_begun_ends_at_once(desk: BoardAtTest) -> None:
    """The operator takes back a proposal."""
    view = desk.start(*HOLDERS)
    desk.approve(view, "ant")
    ended = desk.board.abort()
    assert (ended.state, ended.abort_asked) == ("aborted", True)
    assert "before it began" in ended.detail
    with pytest.raises(NotFoundError):
        desk.board.abort()
    assert desk.events()[-2:] == ["ceremony.abort_asked", "ceremony.ended"]


def test_a_ceremony_that_goes_on_ends_when_its_parties_say_so(desk: BoardAtTest) -> None:
    """The order is only shown; the first refusal ends it."""
    view, parties = running(desk)
    desk.post(*parties["ant"].sent)
    asked = desk.board.abort()
    assert (asked.state, asked.abort_asked) == ("running", True)
    desk.post(*parties["ant"].give_up(Reason.ORDER))
    assert state(desk, view) == "aborted"


def test_a_ceremony_that_all_have_echoed_is_done_although_its_end_was_asked(desk: BoardAtTest) -> None:
    """An order takes nothing back that was signed."""
    view, parties = running(desk)
    desk.board.abort()
    desk.post(*exchange(parties))
    assert state(desk, view) == "done"


def test_a_stalled_ceremony_holds_nobody_up(desk: BoardAtTest) -> None:
    """After its end was asked, another one with greater numbers can be proposed and done; the old one is over then."""
    _, parties = running(desk)
    said = exchange(parties)
    desk.post(*said[:4])
    desk.board.abort()
    view = desk.start("dog", "eel")
    assert (view.terms.new_generation, view.terms.epoch) == (2, 2)
    made = run(desk, view)
    assert made.key.generation == desk.board.generation == 2
    with pytest.raises(RefusedError, match="another ceremony"):
        desk.post(*said[4:])
    assert [one.key for one in desk.board.generations(0)] == [made.key]


# -- what is stored ----------------------------------------------------------------------------------------------------


def _everything(desk: BoardAtTest, sessions: Sequence[bytes]) -> tuple[Any, ...]:
    views = [desk.board.get(session) for session in sessions]
    return desk.board.number, desk.board.generation, desk.board.newest(), desk.board.generations(0), views


def test_a_restart_changes_nothing(desk: BoardAtTest) -> None:
    """After every single event the board that is made again shows the same, with the same number."""
    view = desk.start(*HOLDERS)
    parties = begin(view.terms)
    said = exchange(parties)
    steps: list[Callable[[], object]] = [lambda name=name: desk.approve(view, name) for name in HOLDERS]  # type: ignore[misc]
    steps += [lambda one=one: desk.post(one) for one in said]  # type: ignore[misc]
    numbers = [desk.board.number]
    for step in steps:
        step()
        numbers.append(desk.board.number)
        before = _everything(desk, [view.terms.session])
        desk.restart()
        assert _everything(desk, [view.terms.session]) == before
    assert numbers == sorted(set(numbers)), "the number grows with each event"
    assert state(desk, view) == "done"


def test_listeners_are_told_after_each_change_and_of_nothing_else(desk: BoardAtTest) -> None:
    """They see the new number; a refusal or a repetition tells nothing."""
    told: list[int] = []
    desk.board.on_changed.append(lambda: told.append(desk.board.number))
    view, parties = running(desk)
    desk.post(keys_of(parties, "ant"), keys_of(parties, "ant"))
    with pytest.raises(UnauthenticatedError):
        desk.board.approve("ant", approval_of(view.terms, "ant", key="bee"))
    assert told == sorted(set(told))
    assert len(told) == 5


@contextmanager
def failing(desk: BoardAtTest, error: Exception) -> Iterator[None]:
    """Let every commit fail, as a full disk does."""

    def fail(_: object) -> None:
        raise error

    event.listen(desk.store.engine, "commit", fail)
    try:
        yield
    finally:
        event.remove(desk.store.engine, "commit", fail)


@pytest.mark.parametrize("error", [UnavailableError("the disk is full"), RuntimeError("the disk is full")])
def test_a_message_whose_transaction_fails_can_be_posted_again(desk: BoardAtTest, error: Exception) -> None:
    """Memory and database stay the same: what was not stored is not shown, and not taken for known."""
    view, parties = running(desk)
    said = exchange(parties)
    desk.post(*said[:3])
    before = _everything(desk, [view.terms.session])
    with failing(desk, error), pytest.raises(type(error)):
        desk.post(said[3])
    assert _everything(desk, [view.terms.session]) == before
    desk.post(*said[3:])
    assert desk.board.get(view.terms.session).messages == tuple(said)
    desk.restart()
    assert desk.board.get(view.terms.session).messages == tuple(said)


def test_a_proposal_or_approval_whose_transaction_fails_leaves_nothing(desk: BoardAtTest) -> None:
    """It can be made again."""
    lost = UnavailableError("the disk is full")
    with failing(desk, lost), pytest.raises(UnavailableError):
        desk.start(*HOLDERS)
    assert (desk.board.newest(), desk.board.number) == (None, 0)
    view = desk.start(*HOLDERS)
    with failing(desk, lost), pytest.raises(UnavailableError):
        desk.approve(view, "ant")
    assert desk.approve(view, "ant") == ("bee", "cat")


def test_generations_are_listed_after_any_one(desk: BoardAtTest) -> None:
    """With everything that proves them; ceremonies that made nothing are not among them."""
    first = first_key(desk)
    desk.board.propose(Wish("refresh"), HOLDERS)
    desk.board.abort()
    second = run(desk, desk.board.propose(Wish("refresh"), HOLDERS), first, seed=1)
    assert second.key.public_key == first.key.public_key
    assert [one.key for one in desk.board.generations(0)] == [first.key, second.key]
    assert [one.key for one in desk.board.generations(1)] == [second.key]
    assert desk.board.generations(3) == []
    assert all(set(one.approvals) == set(HOLDERS) for one in desk.board.generations(0))
    desk.restart()
    assert [one.key for one in desk.board.generations(0)] == [first.key, second.key]
    assert desk.board.generation == 3
