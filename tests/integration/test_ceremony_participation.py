"""A node's part in key ceremonies, over real databases: what it stores, says, repeats after a kill, and forgets."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from ceremony_federation import FOUNDERS, WAIT, CeremonyFederation, DeskAtTest, approval_of, shown, transcript
from jointrisk.errors import (
    ConflictError,
    CorruptError,
    InvalidInputError,
    JointriskError,
    RefusedError,
    UnavailableError,
)
from jointrisk.federation.fingerprint import terms_fingerprint
from jointrisk.oprf import group, sharing
from jointrisk.oprf.ceremony import GroupKey, MessageKind, SignedMessage
from jointrisk.oprf.group import Element
from jointrisk_coordinator.ceremonies.board import CeremonyView


@pytest.fixture
def federation(tmp_path: Path) -> CeremonyFederation:
    """Three nodes without a key, whose people need not be asked."""
    return CeremonyFederation(tmp_path, *FOUNDERS)


@pytest.fixture
def asked(tmp_path: Path) -> CeremonyFederation:
    """Three nodes without a key, whose people are asked."""
    return CeremonyFederation(tmp_path, *FOUNDERS, approve_all=False)


def reconstructed(federation: CeremonyFederation, key: GroupKey, *names: str) -> Element:
    """Return the public key of the secret that these nodes' stored shares make."""
    indices = {name: index for index, (name, _) in enumerate(key.holders, 1)}
    factors = sharing.lagrange(indices[name] for name in names)
    total = group.scalar_of(0)
    for name in names:
        share = federation.nodes[name].desk.generations.share(key.generation)
        total = group.scalar_add(total, group.scalar_multiply(factors[indices[name]], share))
    return group.multiply_base(total)


def approve_all(federation: CeremonyFederation, view: CeremonyView, *names: str) -> None:
    """Let people approve, and bring that to the board."""
    for name in names or FOUNDERS:
        federation.board.approve(name, federation.nodes[name].approve(shown(view)))


def say(federation: CeremonyFederation, name: str) -> tuple[SignedMessage, ...]:
    """Let a node look at the board, and return what it would post."""
    view = shown(federation.newest())
    said = federation.nodes[name].desk.take_part(view)
    return tuple(one for one in said if one not in view.messages)


def until_echo_of(federation: CeremonyFederation, name: str) -> None:
    """Let all nodes take part until this one has echoed; nobody has confirmed by then, it never will."""
    while not any(one.sender == name and one.kind is MessageKind.ECHO for one in federation.newest().messages):
        for each in federation.nodes:
            for message in say(federation, each):
                federation.board.post(message.session, message.encoded)


# -- from a proposal to shares -----------------------------------------------------------------------------------------


async def test_a_first_key(federation: CeremonyFederation) -> None:
    """All nodes know the same key, any two shares make it, and no party's state is left."""
    key = await federation.make("start", *FOUNDERS, threshold=2)
    assert {node.key() for node in federation.nodes.values()} == {key}
    assert set(federation.shares(1).values()) == {"holds a share"}
    assert reconstructed(federation, key, "ant", "cat") == key.public_key
    assert reconstructed(federation, key, "bee", "cat") == key.public_key
    assert [node.sealed_parties() for node in federation.nodes.values()] == [0, 0, 0]
    steps = ["ceremony.seen", "ceremony.approved", "ceremony.begun", "ceremony.committed"]
    assert federation.nodes["ant"].events() == steps


async def test_a_refresh_deletes_the_shares_that_it_replaces(federation: CeremonyFederation) -> None:
    """The group key stays, shares are others, and the old ones are gone from the database."""
    first = await federation.make("start", *FOUNDERS, threshold=2)
    before = {name: node.desk.generations.share(1) for name, node in federation.nodes.items()}
    second = await federation.make("refresh")
    assert (second.public_key, second.generation, second.epoch) == (first.public_key, 2, 1)
    assert reconstructed(federation, second, "ant", "bee") == first.public_key
    assert set(federation.shares(1).values()) == {"its share is deleted"}
    for name, node in federation.nodes.items():
        assert node.desk.generations.share(2) != before[name]
        assert node.events("key_share.") == ["key_share.deleted"]
        with pytest.raises(JointriskError, match="no share of generation 1"):
            node.desk.generations.share(1)


async def test_a_holder_that_is_no_party_deletes_its_replaced_share_too(tmp_path: Path) -> None:
    """It verifies the transcript of a ceremony that it had no part in."""
    federation = CeremonyFederation(tmp_path, *FOUNDERS, "dog")
    await federation.make("start", *FOUNDERS, threshold=2)
    assert federation.shares(1)["dog"] == "holds none"
    made = await federation.make("reshare", "bee", "cat", "dog", threshold=2, dealers=("bee", "cat"))
    assert federation.shares(2) == dict.fromkeys(("bee", "cat", "dog"), "holds a share") | {"ant": "holds none"}
    assert federation.shares(1)["ant"] == "its share is deleted"
    assert federation.nodes["ant"].key() == made
    assert "generation.verified" in federation.nodes["ant"].events("generation.")
    assert reconstructed(federation, made, "cat", "dog") == made.public_key


async def test_a_rotation_keeps_the_shares_of_the_epoch_before(federation: CeremonyFederation) -> None:
    """Both epochs are served for a while; a refresh of the new one touches nothing of the old one."""
    first = await federation.make("start", *FOUNDERS, threshold=2)
    second = await federation.make("rotate")
    third = await federation.make("refresh")
    assert first.public_key != second.public_key == third.public_key
    assert [(key.epoch, key.generation) for key in (first, second, third)] == [(1, 1), (2, 2), (2, 3)]
    kept = [set(federation.shares(number).values()) for number in (1, 2, 3)]
    assert kept == [{"holds a share"}, {"its share is deleted"}, {"holds a share"}]
    assert federation.nodes["ant"].desk.generations.all() == [first, second, third]


# -- approval ----------------------------------------------------------------------------------------------------------


async def test_nothing_is_said_before_a_person_has_approved(asked: CeremonyFederation) -> None:
    """However often the board is read; status says what is awaited."""
    view = asked.propose("start", *FOUNDERS, threshold=2)
    await asked.settle()
    ant = asked.nodes["ant"]
    assert asked.newest().waiting_for == FOUNDERS
    assert ant.desk.ours(view.terms) == "not approved"
    approve_all(asked, view, "bee", "cat")
    await asked.settle()
    assert asked.newest().messages == ()
    assert (ant.events(), ant.desk.take_part(shown(asked.newest()))) == (["ceremony.seen"], ())
    approve_all(asked, view, "ant")
    await asked.settle()
    assert asked.done() == ant.key()
    assert ant.desk.ours(view.terms) == "approved"


async def test_a_party_that_has_approved_waits_for_the_others(asked: CeremonyFederation) -> None:
    """The board may say that all have approved: only signed approvals count."""
    view = asked.propose("start", *FOUNDERS, threshold=2)
    ant = asked.nodes["ant"]
    mine = ant.approve(shown(view))
    forged = (mine, approval_of(view.terms, "bee", key="cat"), approval_of(view.terms, "cat", terms_digest=bytes(32)))
    assert ant.desk.take_part(shown(view, state="running", waiting_for=(), approvals=forged)) == ()
    assert ant.desk.approvers(shown(view, approvals=forged)) == ["ant"]
    right = (mine, approval_of(view.terms, "bee"), approval_of(view.terms, "cat"))
    (keys,) = ant.desk.take_part(shown(view, approvals=right))
    assert keys.kind is MessageKind.KEYS


def test_a_person_has_to_have_read_these_terms(asked: CeremonyFederation) -> None:
    """Another fingerprint approves nothing; it is written in any way that people write it."""
    view = asked.propose("start", *FOUNDERS, threshold=2)
    ant = asked.nodes["ant"]
    right = terms_fingerprint(view.terms.digest)
    for wrong in ("", right[:-1], right[::-1], terms_fingerprint(bytes(32))):
        with pytest.raises(InvalidInputError, match="expected the fingerprint") as caught:
            ant.desk.approve(shown(view), wrong)
        assert right in caught.value.remedy
    assert ant.desk.ours(view.terms) == "not approved"
    typed = right.lower().replace("-", " ")
    assert ant.desk.approve(shown(view), typed) == ant.desk.approve(shown(view), right)
    assert ant.events() == ["ceremony.seen", "ceremony.approved"]


async def test_a_member_without_a_say_approves_nothing(tmp_path: Path) -> None:
    """It is no party; as one of today's holders it has a say in a rotation to others."""
    federation = CeremonyFederation(tmp_path, *FOUNDERS, "dog", "eel")
    view = federation.propose("start", *FOUNDERS, threshold=2)
    dog = federation.nodes["dog"]
    with pytest.raises(RefusedError, match="neither a party"):
        dog.approve(shown(view))
    assert dog.desk.consider(shown(view)) is None
    assert dog.desk.ours(view.terms) == "no say"
    await federation.settle()
    rotation = federation.propose("rotate", "dog", "eel", threshold=2)
    assert federation.nodes["cat"].desk.ours(rotation.terms) == "not approved"
    await federation.settle()
    assert federation.done().holders[0][0] == "dog"
    assert federation.shares(2) == dict.fromkeys(FOUNDERS, "holds none") | dict.fromkeys(
        ("dog", "eel"), "holds a share"
    )


async def test_an_approval_that_did_not_arrive_is_brought_again(federation: CeremonyFederation) -> None:
    """The coordinator stopped just then, or was restored from a copy: the same signature, and one record."""
    federation.propose("start", *FOUNDERS, threshold=2)
    ant = federation.nodes["ant"]
    view = shown(federation.newest())
    lost = ant.desk.consider(view)
    ant.restart()
    assert lost is not None
    assert ant.desk.consider(view) == lost
    await federation.settle()
    assert federation.done() == ant.key()
    assert ant.events().count("ceremony.approved") == 1


async def test_a_persons_approval_is_brought_again_too(asked: CeremonyFederation) -> None:
    """Nobody is asked twice for the same terms."""
    view = asked.propose("start", *FOUNDERS, threshold=2)
    for node in asked.nodes.values():
        node.approve(shown(view))  # none of them arrives
    await asked.settle()
    assert asked.done() == asked.nodes["bee"].key()


# -- terms that are refused --------------------------------------------------------------------------------------------


async def test_a_roster_that_arrives_later_lifts_an_objection(tmp_path: Path) -> None:
    """The board may be faster than the roster; refused terms are on record once."""
    federation = CeremonyFederation(tmp_path, *FOUNDERS)
    federation.forge.admit("dog", by=["ant", "bee"])
    dog = federation.add("dog")
    view = federation.propose("start", "ant", "dog", threshold=2)
    await federation.settle()
    ant = federation.nodes["ant"]
    assert federation.newest().waiting_for == ("ant",)
    assert ant.refusals() == ["dog is no member that this node trusts, or has another identity key"]
    assert ant.desk.ours(view.terms).startswith("refused: dog is no member")
    with pytest.raises(RefusedError, match="dog is no member"):
        ant.approve(shown(view))
    assert len(ant.refusals()) == 1
    for name in FOUNDERS:
        federation.nodes[name].membership.apply_roster(federation.forge.signed_now())
    await federation.settle()
    assert federation.done() == ant.key() == dog.key()


async def test_an_expired_roster_begins_nothing(federation: CeremonyFederation) -> None:
    """Who was removed meanwhile cannot be known; with a fresh roster the ceremony goes on where it was."""
    view = federation.propose("start", *FOUNDERS, threshold=2)
    approve_all(federation, view)
    for name in FOUNDERS:
        federation.coordinator.post(*say(federation, name))
    ant = federation.nodes["ant"]
    before = ant.membership.roster.expires_at
    federation.clock.now = before
    for act in (ant.desk.consider, ant.approve, ant.desk.take_part):
        with pytest.raises(UnavailableError, match="roster expired"):
            act(shown(federation.newest()))
    assert ant.sealed_parties() == 1
    federation.clock.move(seconds=-1)
    await federation.settle()
    assert federation.done() == ant.key()


def test_a_removed_member_approves_nothing(federation: CeremonyFederation) -> None:
    """Nor does it take part, whatever the board shows to it."""
    view = federation.propose("start", *FOUNDERS, threshold=2)
    ant = federation.nodes["ant"]
    federation.forge.remove("ant")
    ant.membership.apply_roster(federation.forge.signed_now())
    for act in (ant.desk.consider, ant.approve):
        with pytest.raises(RefusedError, match="was removed"):
            act(shown(view))
    assert ant.desk.take_part(shown(view)) == ()


async def test_who_has_voted_goes_on_with_an_expired_roster(federation: CeremonyFederation) -> None:
    """What it signed may make a key that others have: it comes to the same end as they."""
    view = federation.propose("start", *FOUNDERS, threshold=2)
    approve_all(federation, view)
    until_echo_of(federation, "ant")
    federation.clock.move(days=2)
    federation.coordinator.post(*say(federation, "ant"))
    assert MessageKind.ECHO in {message.kind for message in federation.newest().messages if message.sender == "ant"}


def test_other_terms_under_a_known_session_are_refused(asked: CeremonyFederation) -> None:
    """Before and after an approval: what was seen first is what the session means."""
    view = asked.propose("start", *FOUNDERS, threshold=2)
    other = replace(view.terms, threshold=3)
    ant = asked.nodes["ant"]
    ant.desk.consider(shown(view))
    for _ in range(2):
        for act in (ant.desk.consider, ant.approve):
            with pytest.raises(RefusedError, match="other terms than before"):
                act(shown(view, terms=other))
        ant.approve(shown(view))


# -- kills -------------------------------------------------------------------------------------------------------------


@contextmanager
def killed_at_commit(node: DeskAtTest) -> Iterator[None]:
    """Let every commit of a node fail, as if it were killed just before it."""

    def kill(_: object) -> None:
        raise UnavailableError("killed")

    event.listen(node.node.store.engine, "commit", kill)
    try:
        with suppress(UnavailableError):
            yield
    finally:
        event.remove(node.node.store.engine, "commit", kill)


@pytest.mark.parametrize("what", ["start", "refresh"])
async def test_a_node_killed_at_every_step_says_the_same_bytes(federation: CeremonyFederation, what: str) -> None:
    """Before the commit nothing has been said; after it the restarted node says what it would have said.

    Restarted nodes draw other random numbers, so nothing that is drawn twice would be the same.
    """
    if what == "refresh":
        await federation.make("start", *FOUNDERS, threshold=2)
    view = federation.propose(what, *(FOUNDERS if what == "start" else ()), threshold=2 if what == "start" else 0)
    approve_all(federation, view)
    posted, before = 0, -1
    while before != posted:
        before = posted
        for name, node in federation.nodes.items():
            with killed_at_commit(node):
                say(federation, name)
            node.restart()
            said = say(federation, name)  # killed after the commit, before it sends
            node.restart()
            assert say(federation, name) == said
            for message in said:
                federation.board.post(message.session, message.encoded)
            posted += len(said)
    key = federation.done()
    for node in federation.nodes.values():
        node.desk.learn([])
        assert node.key() == key
    assert reconstructed(federation, key, "ant", "bee") == key.public_key
    assert posted == len(federation.newest().messages)


async def test_a_node_that_missed_the_end_finds_it(federation: CeremonyFederation) -> None:
    """It was down when the last echo came: its share was stored with its own echo's state, and it confirms."""
    view = federation.propose("start", *FOUNDERS, threshold=2)
    approve_all(federation, view)
    until_echo_of(federation, "cat")
    cat = federation.nodes["cat"].restart()
    await federation.settle("ant", "bee")
    assert federation.newest().state == "done"
    assert cat.desk.generations.newest() is None
    await federation.settle()
    assert federation.newest().detail == "3 of 3 holders have stored their share"
    assert cat.desk.generations.ours(1) == "holds a share"
    assert [node.sealed_parties() for node in federation.nodes.values()] == [0, 0, 0]


async def test_an_aborted_ceremony_leaves_no_secret(federation: CeremonyFederation) -> None:
    """The operator's order ends it before anybody has echoed; the next one is made."""
    view = federation.propose("start", *FOUNDERS, threshold=2)
    approve_all(federation, view)
    for name in FOUNDERS:
        for message in say(federation, name):
            federation.board.post(message.session, message.encoded)
    assert [node.sealed_parties() for node in federation.nodes.values()] == [1, 1, 1]
    federation.board.abort()
    await federation.settle()
    assert federation.newest().state == "aborted"
    assert "nobody is accused" in federation.newest().detail
    assert [node.sealed_parties() for node in federation.nodes.values()] == [0, 0, 0]
    assert federation.nodes["ant"].events()[-1] == "ceremony.aborted"
    key = await federation.make("start", *FOUNDERS, threshold=2)
    assert (key.generation, key.epoch) == (2, 2)


# -- when old shares go ------------------------------------------------------------------------------------------------


async def test_old_shares_stay_while_a_holder_has_not_confirmed(tmp_path: Path) -> None:
    """All holders are waited for; at the deadline one more than the threshold are enough."""
    federation = CeremonyFederation(tmp_path, *FOUNDERS, "dog")
    await federation.make("start", *federation.nodes, threshold=2)
    view = federation.propose("refresh")
    approve_all(federation, view, *federation.nodes)
    dog = federation.nodes["dog"]
    until_echo_of(federation, "dog")
    await federation.settle(*FOUNDERS)
    assert federation.newest().detail == "3 of 4 holders have stored their share"
    assert {federation.shares(1)[name] for name in FOUNDERS} == {"holds a share"}
    federation.clock.now += WAIT - WAIT / 1000
    await federation.settle(*FOUNDERS)
    assert {federation.shares(1)[name] for name in FOUNDERS} == {"holds a share"}
    federation.clock.now += WAIT / 500
    await federation.settle(*FOUNDERS)
    assert {federation.shares(1)[name] for name in FOUNDERS} == {"its share is deleted"}
    assert dog.desk.generations.ours(1) == "holds a share"
    await federation.settle()
    assert set(federation.shares(1).values()) == {"its share is deleted"}
    assert [node.sealed_parties() for node in federation.nodes.values()] == [0, 0, 0, 0]


async def test_too_few_confirmations_delete_nothing_ever(federation: CeremonyFederation) -> None:
    """Two of three at threshold two: one more loss would lose the key, so the old shares stay for good."""
    await federation.make("start", *FOUNDERS, threshold=2)
    view = federation.propose("refresh")
    approve_all(federation, view)
    until_echo_of(federation, "cat")
    await federation.settle("ant", "bee")
    assert federation.newest().detail == "2 of 3 holders have stored their share"
    federation.clock.now += 100 * WAIT
    await federation.settle("ant", "bee")
    assert federation.shares(1)["ant"] == federation.shares(2)["ant"] == "holds a share"


async def test_a_later_generation_ends_what_an_earlier_one_waited_for(tmp_path: Path) -> None:
    """No sealed state of an overtaken ceremony keeps a share that its node has deleted."""
    federation = CeremonyFederation(tmp_path, *FOUNDERS, "dog")
    await federation.make("start", *federation.nodes, threshold=2)
    view = federation.propose("refresh")
    approve_all(federation, view, *federation.nodes)
    until_echo_of(federation, "dog")
    await federation.settle(*FOUNDERS)  # done; dog has not confirmed
    federation.propose("reshare", *FOUNDERS, threshold=2, dealers=("ant", "bee"))
    await federation.settle(*FOUNDERS)
    assert federation.done().generation == 3
    await federation.settle()
    for name in FOUNDERS:
        assert federation.nodes[name].sealed_parties() == 0, name
    assert [set(federation.shares(number).values()) for number in (1, 2)] == [{"its share is deleted"}] * 2
    assert federation.nodes["dog"].sealed_parties() == 0


# -- a node restored from a copy ---------------------------------------------------------------------------------------


def copy_of(node: DeskAtTest) -> Path:
    """Copy a node's state directory, as a backup does."""
    node.node.store.close()
    return Path(shutil.copytree(node.root, node.root.with_suffix(".copy")))


def restore(node: DeskAtTest, copy: Path) -> None:
    """Put the copy in the node's place."""
    node.node.store.close()
    shutil.rmtree(node.root)
    shutil.copytree(copy, node.root)
    node.restart()


@pytest.mark.parametrize("taken", ["before the ceremony", "after the approval", "after the keys"])
async def test_a_restored_node_stops_and_never_contradicts_itself(federation: CeremonyFederation, taken: str) -> None:
    """What it signed and forgot is on the board: it says nothing more, and takes part in the next ceremony."""
    ant = federation.nodes["ant"]
    copy = copy_of(ant) if taken == "before the ceremony" else Path()
    view = federation.propose("start", *FOUNDERS, threshold=2)
    approve_all(federation, view)
    copy = copy_of(ant) if taken == "after the approval" else copy
    for _ in range(2):  # keys, then deals
        for name in FOUNDERS:
            for message in say(federation, name):
                federation.board.post(message.session, message.encoded)
        copy = copy_of(ant) if taken == "after the keys" and copy == Path() else copy
    said = [one for one in federation.newest().messages if one.sender == "ant"]
    restore(ant, copy)
    if taken == "before the ceremony":
        ant.desk.consider(shown(federation.newest()))
    if taken == "after the keys":  # nothing that it forgot was drawn anew: it goes on
        await federation.settle()
        assert federation.done() == ant.key()
        return
    with pytest.raises(ConflictError, match="only messages that this party knows"):
        ant.desk.take_part(shown(federation.newest()))
    assert ant.desk.take_part(shown(federation.newest(), messages=())) == ()
    federation.board.abort()
    await federation.settle("bee", "cat")
    assert [one for one in federation.newest().messages if one.sender == "ant"] == said
    assert federation.newest().missing == ("ant",), "the others have echoed, and stay prepared"
    assert ant.desk.ours(view.terms).startswith("refused: this node was restored from a copy")
    key = await federation.make("start", *FOUNDERS, threshold=2)
    assert (ant.key(), ant.desk.generations.ours(2)) == (key, "holds a share")
    await federation.settle()
    assert [node.sealed_parties() for node in federation.nodes.values()] == [0, 0, 0]


# -- transcripts -------------------------------------------------------------------------------------------------------


async def test_a_node_that_was_away_learns_what_is_proven_and_nothing_else(tmp_path: Path) -> None:
    """Not committed, not approved, of other terms, out of order: nothing of that is kept. The rest is learnt once."""
    federation = CeremonyFederation(tmp_path, *FOUNDERS, "dog")
    for what, holders, threshold in (("start", FOUNDERS, 2), ("rotate", (), 0)):
        federation.propose(what, *holders, threshold=threshold)
        await federation.settle(*FOUNDERS)
    first, second = (transcript(one) for one in federation.board.generations(0))
    echoes = [at for at, one in enumerate(first.messages) if one.kind is MessageKind.ECHO]
    forged = replace(first.messages[0], signature=bytes(64))
    bad = {
        "without messages": replace(first, messages=()),
        "without an echo": replace(first, messages=tuple(m for at, m in enumerate(first.messages) if at != echoes[0])),
        "with a forged message": replace(
            first, messages=(*(m for m in first.messages if m.kind is not MessageKind.DEAL), forged)
        ),
        "with another's messages": replace(first, messages=second.messages),
        "with other terms": replace(first, terms=replace(first.terms, threshold=3)),
        "without approvals": replace(first, approvals=()),
        "without one approval": replace(first, approvals=first.approvals[1:]),
        "with another's approvals": replace(first, approvals=second.approvals),
        "before the one that it starts from": second,
    }
    dog = federation.nodes["dog"]
    for name, one in bad.items():
        with pytest.raises(CorruptError):
            dog.desk.learn([one])
        assert dog.desk.generations.newest() is None, name
    assert dog.desk.learn([first, second]) == [1, 2]
    for old in (first, replace(first, approvals=())):
        assert dog.desk.learn([old]) == []
    assert dog.desk.generations.all() == federation.nodes["ant"].desk.generations.all()
    assert dog.events("generation.") == ["generation.verified"] * 2
