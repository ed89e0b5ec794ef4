"""Key ceremonies on SQLite and on PostgreSQL, with the schemas that the migrations make."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from ceremony_federation import (
    FOUNDERS,
    WAIT,
    BoardAtTest,
    CeremonyFederation,
    approval_of,
    founding_members,
    shown,
    transcript,
)
from ceremony_sample import Generation, begin, exchange
from coordinator_at_test import MASTER, MovableClock
from jointrisk.errors import NotFoundError, RefusedError
from jointrisk.oprf.ceremony import MessageKind, Reason, Terms
from jointrisk.oprf.ceremony.aborts import Abort
from jointrisk.oprf.ceremony.messages import sign_message
from jointrisk.oprf.ceremony.terms import LARGEST_NUMBER
from jointrisk.store import AuditLog, Store, open_store
from jointrisk_coordinator.ceremonies.board import CeremonyView
from jointrisk_coordinator.ceremonies.proposing import Wish
from jointrisk_coordinator.store import MIGRATIONS as COORDINATOR
from jointrisk_node.holder import CeremonyDesk, CeremonyLink, GenerationLedger
from jointrisk_node.holder.tables import CeremonySeen, KeyShare
from jointrisk_node.store import MIGRATIONS as NODE
from roster_forge import key_of


@pytest.fixture
def coordinator_store(database_url: str) -> Iterator[Store]:
    """The coordinator's own tables."""
    opened = open_store(database_url, COORDINATOR)
    yield opened
    opened.close()


@pytest.fixture
def node_store(database_url: str) -> Iterator[Store]:
    """A node's own tables."""
    opened = open_store(database_url, NODE)
    yield opened
    opened.close()


def held(desk: BoardAtTest, view: CeremonyView, old: Generation | None = None) -> Generation:
    """Approve a ceremony and have its parties do everything."""
    desk.approve(view, *view.waiting_for)
    parties = begin(view.terms, old=old)
    desk.post(*exchange(parties))
    key = desk.board.get(view.terms.session).key
    assert key is not None
    return Generation(key, {name: party.share for name, party in parties.items() if party.share})


def test_a_boards_life(coordinator_store: Store) -> None:
    """A key, a proposal that is given up, a refresh, a rotation that is refused at length, and a restart."""
    names = tuple(f"{name}{'-x' * 20}"[:40] for name in "abcdefghi")
    members = founding_members(*names)
    desk = BoardAtTest(coordinator_store, lambda: members, MovableClock())
    first = held(desk, desk.start(*names[:3]))
    desk.board.propose(Wish("refresh"), names)
    desk.board.abort()
    second = held(desk, desk.board.propose(Wish("refresh"), names), first)
    assert (second.key.public_key, second.key.generation) == (first.key.public_key, 3)
    rotation = desk.board.propose(Wish("rotate", 5, names), ())
    desk.approve(rotation, *names)
    for name in names:
        abort = Abort(Reason.DEADLINE, tuple(one for one in names if one != name)).encode()
        desk.post(sign_message(rotation.terms, MessageKind.ABORT, name, abort, key_of(name).sign))
    with pytest.raises(NotFoundError):
        desk.board.get(bytes(16))
    before = desk.board.number, desk.board.newest(), desk.board.generations(0), desk.board.generation
    desk.restart()
    assert (desk.board.number, desk.board.newest(), desk.board.generations(0), desk.board.generation) == before
    assert [one.key for one in before[2]] == [first.key, second.key]
    assert desk.board.propose(Wish("rotate"), ()).terms.epoch == 3
    desk.audit.verify().require_sound()


def desk_on(store: Store, federation: CeremonyFederation, name: str) -> CeremonyDesk:
    """Return a node's desk over another database."""
    node = federation.nodes[name]
    return CeremonyDesk(
        store,
        node.membership,
        GenerationLedger(store, MASTER),
        MASTER,
        AuditLog(store, clock=federation.clock),
        approve_all=True,
        confirmations=WAIT,
        randomness=os.urandom,
        clock=federation.clock,
    )


async def test_a_desks_life(tmp_path: Path, node_store: Store) -> None:
    """Two keys, a refresh, restarts, deleted shares, and what it learns of when it begins anew."""
    federation = CeremonyFederation(tmp_path, *FOUNDERS)
    ant = federation.nodes["ant"]
    for what, holders, threshold in (("start", FOUNDERS, 2), ("refresh", (), 0), ("rotate", (), 0)):
        ant.desk = desk_on(node_store, federation, "ant")
        ant.link = CeremonyLink(ant.desk, ant.calls)
        key = await federation.make(what, *holders, threshold=threshold)
        assert ant.key() == key == federation.nodes["bee"].key()
    again = desk_on(node_store, federation, "ant")
    assert [again.generations.ours(number) for number in (1, 2, 3)] == ["its share is deleted", *["holds a share"] * 2]
    assert again.generations.learn_after() == 3
    assert again.learn([transcript(one) for one in federation.board.generations(0)]) == []
    assert [key.generation for key in again.generations.all()] == [1, 2, 3]
    assert again.unfinished() == []
    with node_store.reading() as session:
        assert session.scalar(select(func.count()).where(KeyShare.sealed.is_(None))) == 1
        assert session.scalar(select(func.count()).where(CeremonySeen.finished, CeremonySeen.party.is_(None))) == 3
    AuditLog(node_store).verify().require_sound()


def test_a_desk_keeps_the_largest_numbers_and_the_last_proposals(tmp_path: Path, node_store: Store) -> None:
    """Numbers up to the end of uint32; of a flood of proposals the last hundred, and what was approved."""
    federation = CeremonyFederation(tmp_path, *FOUNDERS)
    desk = desk_on(node_store, federation, "ant")
    view = shown(federation.propose("start", *FOUNDERS, threshold=2))
    largest = replace(view.terms, epoch=LARGEST_NUMBER, new_generation=LARGEST_NUMBER, session=b"of great numbers")
    assert desk.consider(replace(view, terms=largest)) == approval_of(largest, "ant")
    others = [_of_strangers(view.terms, number) for number in range(120)]
    for number, terms in enumerate(others):
        federation.clock.move(seconds=number)
        assert desk.consider(replace(view, terms=terms)) is None
    with node_store.reading() as session:
        assert session.scalar(select(func.count()).select_from(CeremonySeen)) == 101
    assert [desk.ours(terms)[:7] for terms in (largest, others[0], others[-1])] == ["approve", "no say", "refused"]
    with pytest.raises(RefusedError, match="other terms"):
        desk.consider(replace(view, terms=replace(others[-1], threshold=3)))


def _of_strangers(terms: Terms, number: int) -> Terms:
    strangers = tuple(replace(holder, name=f"stranger-{at}") for at, holder in enumerate(terms.holders))
    return replace(terms, holders=strangers, session=number.to_bytes(16, "big"))
