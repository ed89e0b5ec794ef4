"""A coordinator and members that break the rules of key ceremonies, against real desks, links and a real board.

The attacker has the coordinator's place, and the identity key of one member, "cat", where the test says so.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpc import aio

from ceremony_federation import (
    FOUNDERS,
    WAIT,
    CeremonyFederation,
    DeskAtTest,
    DirectCalls,
    approval_of,
    shown,
    transcript,
)
from ceremony_sample import SUITE, begin, exchange
from coordinator_at_test import MASTER
from coordinator_served import ServedCoordinator
from jointrisk.errors import (
    ConflictError,
    CorruptError,
    InvalidInputError,
    JointriskError,
    NotFoundError,
    RefusedError,
    TooLargeError,
    UnauthenticatedError,
)
from jointrisk.federation.ceremony_approval import CeremonyApproval, sign_ceremony_approval
from jointrisk.oprf.ceremony import Board, Dealer, Holder, Kind, MessageKind, Party, SignedMessage, Terms
from jointrisk.oprf.ceremony.bodies import Keys
from jointrisk.oprf.ceremony.messages import LONGEST_BODY, sign_message
from jointrisk.oprf.ceremony.party_state import PartyState
from jointrisk.rpc.documents import to_message
from jointrisk.rpc.guard import Guard
from jointrisk.rpc.server import bind, check_protocol, new_server
from jointrisk.rpc.tls import peer, server_credentials
from jointrisk.rpc.v1 import ceremony_pb2 as pb
from jointrisk.rpc.v1.ceremony_pb2_grpc import add_CeremonyServiceServicer_to_server
from jointrisk_coordinator.ceremonies.board import BulletinBoard, CeremonyView
from jointrisk_coordinator.ceremonies.proposing import Wish
from jointrisk_coordinator.ceremonies.service import CeremonyServicer
from jointrisk_coordinator.daemon import _recorder
from jointrisk_coordinator.membership.ledger import MembershipRules
from jointrisk_node.coordinator_channel import CoordinatorChannel
from jointrisk_node.holder import CeremonyDesk, CeremonyLink, GenerationLedger
from jointrisk_node.holder.participation import BoardView
from jointrisk_node.holder.transcripts import Transcript
from node_at_test import NodeAtTest
from roster_forge import key_of, public_of

SESSION, OTHER = b"an evil ceremony", b"another evil one"
ESCAPES = "\x1b[2J\x07approved by all\r\n\x00\u202e"


@pytest.fixture
def asked(tmp_path: Path) -> CeremonyFederation:
    """Three honest nodes whose people are asked."""
    return CeremonyFederation(tmp_path, *FOUNDERS, approve_all=False)


def first_terms(*names: str, **changed: Any) -> Terms:
    """Return terms of a first key among these, or others."""
    holders = tuple(Holder(name, public_of(name)) for name in names or FOUNDERS)
    return replace(Terms(SESSION, Kind.GENERATE, "testing", 1, 0, 1, 2, holders), **changed)


def forged_view(terms: Terms, *, approvals: Iterable[str] = (), messages: Iterable[SignedMessage] = ()) -> BoardView:
    """Return a ceremony as an attacker shows it, with approvals signed by whoever is named."""
    signed = tuple(approval_of(terms, name) for name in approvals)
    return BoardView(terms, "running", "", signed, (), abort_asked=False, messages=tuple(messages))


def approved_by_people(federation: CeremonyFederation, terms: Terms) -> None:
    """Have the people at all nodes approve what the attacker shows."""
    for node in federation.nodes.values():
        node.approve(forged_view(terms))


async def first_key(asked: CeremonyFederation) -> CeremonyView:
    """Make a key honestly, with people's approvals."""
    view = asked.propose("start", *FOUNDERS, threshold=2)
    for node in asked.nodes.values():
        node.approve(shown(view))
    await asked.settle()
    asked.done()
    return asked.newest()


# -- terms that nobody should agree to ---------------------------------------------------------------------------------


def require_refused(node: DeskAtTest, terms: Terms, said: str) -> None:
    """Check that a node refuses terms, whoever has approved them, with a record, and that a person cannot."""
    view = forged_view(terms, approvals=FOUNDERS)
    assert node.desk.consider(view) is None
    with pytest.raises(RefusedError, match=said) as caught:
        node.approve(view)
    assert caught.value.remedy
    assert node.desk.take_part(view) == ()
    (reason,) = node.refusals()
    assert re.search(said, reason)
    assert node.desk.ours(terms).startswith("refused: ")
    assert node.sealed_parties() == 0


def test_a_holder_that_the_coordinator_invented(asked: CeremonyFederation) -> None:
    """A sybil among the holders would be a share more for the attacker."""
    require_refused(asked.nodes["ant"], first_terms("ant", "bee", "sybil"), "sybil is no member")


def test_a_holder_under_a_key_that_nobody_has_pinned(asked: CeremonyFederation) -> None:
    """The coordinator sits down in bee's place."""
    holders = (Holder("ant", public_of("ant")), Holder("bee", public_of("sybil")), Holder("cat", public_of("cat")))
    require_refused(asked.nodes["ant"], first_terms(holders=holders), "bee is no member .* another identity key")


def test_a_member_whose_changed_key_no_person_here_has_accepted(asked: CeremonyFederation) -> None:
    """Others have endorsed it; this node's people have not compared it yet."""
    ant = asked.nodes["ant"]
    asked.forge.change_key("cat", "cat's second key", by=["ant", "bee"])
    ant.membership.apply_roster(asked.forge.signed_now())
    holders = tuple(Holder(name, public_of(name)) for name in ("ant", "bee"))
    changed = (*holders, Holder("cat", public_of("cat's second key")))
    require_refused(ant, first_terms(holders=changed), "cat is no member")


async def test_dealers_of_a_key_of_the_coordinators_own(asked: CeremonyFederation) -> None:
    """A refresh from a key that the attacker made with the same names and numbers would hand that key to all."""
    await first_key(asked)
    theirs = begin(first_terms(session=OTHER), seed=5)
    exchange(theirs)
    outcome = theirs["ant"].outcome
    assert outcome is not None
    assert outcome.key is not None
    publics = dict(outcome.key.holders)
    dealers = tuple(Dealer(name, public_of(name), at, publics[name]) for at, name in ((1, "ant"), (2, "bee")))
    terms = first_terms(
        kind=Kind.REFRESH,
        old_generation=1,
        new_generation=2,
        old_dealers=dealers,
        old_public_key=outcome.key.public_key,
    )
    require_refused(asked.nodes["ant"], terms, "another group key")


async def test_a_first_key_where_there_is_one(asked: CeremonyFederation) -> None:
    """Forgetting what there is does not make the nodes forget it."""
    await first_key(asked)
    require_refused(asked.nodes["bee"], first_terms(new_generation=2, epoch=2), "another generation than the newest")


def test_terms_exchanged_under_an_approved_session(asked: CeremonyFederation) -> None:
    """People approved two of three with bee; what is shown afterwards is a ceremony without bee."""
    ant = asked.nodes["ant"]
    ant.approve(forged_view(first_terms()))
    for other in (first_terms("ant", "cat"), first_terms(threshold=3), first_terms(new_generation=9)):
        view = forged_view(other, approvals=FOUNDERS)
        with pytest.raises(RefusedError, match="other terms than before under the same session"):
            ant.desk.consider(view)
        with pytest.raises(RefusedError, match="other terms than before under the same session"):
            ant.desk.take_part(view)
    assert ant.sealed_parties() == 0


async def test_terms_exchanged_for_a_generation_that_is_over(asked: CeremonyFederation) -> None:
    """Nor does that pass where the new terms say that they are of an old generation."""
    await first_key(asked)
    ant = asked.nodes["ant"]
    rotation = first_terms(epoch=2, old_generation=1, new_generation=2)
    ant.approve(forged_view(rotation))
    with pytest.raises(RefusedError, match="other terms than before"):
        ant.desk.take_part(forged_view(first_terms(threshold=3), approvals=FOUNDERS))
    assert ant.sealed_parties() == 0


# -- one number for two keys -------------------------------------------------------------------------------------------


def course(federation: CeremonyFederation, terms: Terms, steps: int, said: list[SignedMessage]) -> None:
    """Let all nodes take part in a ceremony that the attacker shows, so many steps; collect what they say."""
    for _ in range(steps):
        for node in federation.nodes.values():
            view = forged_view(terms, approvals=FOUNDERS, messages=said)
            said += [one for one in node.desk.take_part(view) if one not in said]


@pytest.mark.parametrize("steps_before", [0, 1], ids=["not begun", "begun"])
def test_two_ceremonies_with_one_number(asked: CeremonyFederation, steps_before: int) -> None:
    """People approved both, since the coordinator said that the first had failed. Only one of them can make a key."""
    one, other = first_terms(), first_terms(session=OTHER)
    approved_by_people(asked, one)
    approved_by_people(asked, other)
    first: list[SignedMessage] = []
    second: list[SignedMessage] = []
    course(asked, other, steps_before, second)
    course(asked, one, 5, first)
    course(asked, other, 5, second)
    assert MessageKind.ECHO in {message.kind for message in first}
    assert MessageKind.ECHO not in {message.kind for message in second}
    keys = {node.key() for node in asked.nodes.values()}
    assert len(keys) == 1
    for node in asked.nodes.values():
        assert node.refusals() == ["generation 1 is not greater than 1"]
        assert node.sealed_parties() == 0
        assert node.desk.ours(other).startswith("refused: ")


def test_a_second_ceremony_while_the_first_is_prepared(asked: CeremonyFederation) -> None:
    """All have echoed and nobody has seen all echoes: the number is taken, although nothing is committed."""
    one, other = first_terms(), first_terms(session=OTHER)
    approved_by_people(asked, one)
    approved_by_people(asked, other)
    first: list[SignedMessage] = []
    while len([message for message in first if message.kind is MessageKind.ECHO]) < 3:
        hidden = [message for message in first if message.kind is not MessageKind.ECHO]
        for node in asked.nodes.values():
            view = forged_view(one, approvals=FOUNDERS, messages=hidden)
            first += [message for message in node.desk.take_part(view) if message not in first]
    second: list[SignedMessage] = []
    course(asked, other, 5, second)
    assert second == []
    assert [node.desk.generations.newest() for node in asked.nodes.values()] == [None] * 3
    course(asked, one, 2, first)
    assert len({node.key() for node in asked.nodes.values()}) == 1


async def test_a_number_that_became_known_between_approval_and_ceremony(tmp_path: Path) -> None:
    """Two groups of holders are led to one number; who learns of the other group's key makes no second one."""
    asked = CeremonyFederation(tmp_path, *FOUNDERS, "dog", "eel", approve_all=False)
    other = first_terms("dog", "eel", session=OTHER)
    for name in ("dog", "eel"):
        asked.nodes[name].approve(forged_view(other))
    view = asked.propose("start", *FOUNDERS, threshold=2)
    for name in FOUNDERS:
        asked.nodes[name].approve(shown(view))
    await asked.settle()
    for name in ("dog", "eel"):
        assert asked.nodes[name].key() == asked.done()
        shown_other = forged_view(other, approvals=("dog", "eel"))
        assert asked.nodes[name].desk.take_part(shown_other) == ()
        assert asked.nodes[name].desk.generations.ours(1) == "holds none"


# -- a hostile board with a hostile member -----------------------------------------------------------------------------


def hear(node: DeskAtTest, terms: Terms, *shown_to_it: SignedMessage) -> tuple[SignedMessage, ...]:
    """Show a node these messages and no others; return what it says that is not among them."""
    said = node.desk.take_part(forged_view(terms, approvals=FOUNDERS, messages=shown_to_it))
    return tuple(message for message in said if message not in shown_to_it)


def two_faced(terms: Terms) -> tuple[Party, Party]:
    """Return two parties with cat's stolen key: the same recipient keys, and different polynomials to deal."""
    one, other = (PartyState.decode(begin(terms, seed)["cat"].state()) for seed in (1, 2))
    secrets = replace(one.secrets, dealing=other.secrets.dealing)
    faces = (one, replace(one, secrets=secrets))
    first, second = (Party(face, key_of("cat").sign, SUITE) for face in faces)
    return first, second


def guilty(terms: Terms, messages: Iterable[SignedMessage]) -> frozenset[str]:
    """Return whom these messages convict."""
    return Board(terms, SUITE, messages).guilty


def test_different_deals_for_different_nodes(asked: CeremonyFederation) -> None:
    """A split echo: each honest node agrees to a sound ceremony of its own. No key comes of it, and cat is proven."""
    terms = first_terms()
    approved_by_people(asked, terms)
    ant, bee = asked.nodes["ant"], asked.nodes["bee"]
    faces = two_faced(terms)
    keys = (*hear(ant, terms), *hear(bee, terms), faces[0].sent[0])
    deals = (*hear(ant, terms, *keys), *hear(bee, terms, *keys))
    for face in faces:
        for message in keys:
            face.receive(message)
    one, other = (face.sent[-1] for face in faces)
    assert (one.kind, one != other) == (MessageKind.DEAL, True)
    (echo_of_ant,) = hear(ant, terms, *keys, *deals, one)
    (echo_of_bee,) = hear(bee, terms, *keys, *deals, other)
    assert echo_of_ant.kind == echo_of_bee.kind == MessageKind.ECHO
    everything = (*keys, *deals, one, other, echo_of_ant, echo_of_bee)
    for face, deal in zip(faces, (one, other), strict=True):  # and it echoes to each what that one wants to hear
        for message in (*deals, deal):
            face.receive(message)
        everything += (face.sent[-1],)
    for node in (ant, bee):
        hear(node, terms, *everything)
        assert node.desk.generations.newest() is None
    assert guilty(terms, everything) == {"cat"}
    assert guilty(terms, (*keys, echo_of_ant, echo_of_bee)) == {"cat"}, "the echoes alone prove it"


def test_recipient_keys_swapped_by_the_board(asked: CeremonyFederation) -> None:
    """Shares are sealed to keys that their owners have signed, or to none."""
    terms = first_terms()
    approved_by_people(asked, terms)
    ant, bee = asked.nodes["ant"], asked.nodes["bee"]
    (of_bee,) = hear(bee, terms)
    stolen = replace(of_bee, body=Keys(tuple(bytes([9]) + bytes(30) + bytes([n]) for n in range(3))).encode())
    own_signature = sign_message(terms, MessageKind.KEYS, "bee", stolen.body, key_of("coordinator key").sign)
    (of_cat,) = begin(terms)["cat"].sent
    said = hear(ant, terms, stolen, own_signature, of_cat)
    assert [message.kind for message in said] == [MessageKind.KEYS]
    said = hear(ant, terms, *said, of_bee, of_cat)
    assert [message.kind for message in said] == [MessageKind.DEAL], "the true keys, and it deals"


def test_recipient_keys_swapped_by_their_owner(asked: CeremonyFederation) -> None:
    """A member that shows one dealer other keys than another is proven by the deals that carry them."""
    terms = first_terms()
    approved_by_people(asked, terms)
    ant, bee = asked.nodes["ant"], asked.nodes["bee"]
    cats = [begin(terms, seed)["cat"].sent[0] for seed in (1, 2)]
    keys = (*hear(ant, terms), *hear(bee, terms))
    (deal_of_ant,) = hear(ant, terms, *keys, cats[0])
    (deal_of_bee,) = hear(bee, terms, *keys, cats[1])
    (refusal,) = hear(ant, terms, *keys, cats[0], deal_of_ant, deal_of_bee)
    assert refusal.kind is MessageKind.ABORT
    assert guilty(terms, [*keys, refusal]) == {"cat"}
    assert hear(ant, terms, *keys, cats[0], deal_of_ant, deal_of_bee, refusal) == ()
    assert ant.sealed_parties() == 0


async def test_messages_replayed_from_another_ceremony(asked: CeremonyFederation) -> None:
    """All that the parties said in one ceremony is nothing in the next; withheld messages only delay it."""
    view = await first_key(asked)
    rotation = asked.propose("rotate")
    for name, node in asked.nodes.items():
        asked.board.approve(name, node.approve(shown(rotation)))
    ant = asked.nodes["ant"]
    approvals = tuple(asked.newest().approvals.values())
    first = ant.desk.take_part(shown(rotation, approvals=approvals, messages=view.messages))
    assert [message.kind for message in first] == [MessageKind.KEYS]
    for _ in range(3):
        assert ant.desk.take_part(shown(rotation, approvals=approvals, messages=())) == first
    await asked.settle()
    assert asked.done() == ant.key()
    assert view.key is not None
    assert ant.key().public_key != view.key.public_key


# -- transcripts of what never was -------------------------------------------------------------------------------------


def invented(*names: str, approvals: Iterable[str] = FOUNDERS, **changed: Any) -> Transcript:
    """Return a whole ceremony that an attacker held alone, with keys of these names, and approvals by the others."""
    terms = first_terms(*names, **changed)
    said = exchange(begin(terms))
    return Transcript(terms, tuple(said), tuple(approval_of(terms, name) for name in (*approvals, *names)))


def under_other_keys() -> Transcript:
    """Return a ceremony of ant and bee as the attacker's keys make it."""
    terms = first_terms(holders=(Holder("ant", public_of("sybil")), Holder("bee", public_of("mole"))))
    keys = {"ant": key_of("sybil"), "bee": key_of("mole")}
    parties = {
        name: Party.begin(terms, name, sign=key.sign, suite=SUITE, randomness=os.urandom) for name, key in keys.items()
    }
    approvals = (approval_of(terms, "ant", key="sybil"), approval_of(terms, "bee", key="mole"))
    return Transcript(terms, tuple(exchange(parties)), approvals)


class LyingCalls(DirectCalls):
    """A coordinator that shows transcripts and boards of its own."""

    def __init__(self, calls: DirectCalls, *transcripts: Transcript) -> None:
        super().__init__(calls._board, calls._caller)
        self._transcripts = transcripts

    async def list_generations(
        self,
        request: pb.ListGenerationsRequest,  # noqa: ARG002 - the call's signature
    ) -> pb.ListGenerationsResponse:
        """Show the attacker's transcripts."""
        return pb.ListGenerationsResponse(
            generations=[
                pb.Transcript(
                    terms=one.terms.encoded,
                    messages=[message.encoded for message in one.messages],
                    approvals=[to_message(signed) for signed in one.approvals],
                )
                for one in self._transcripts
            ]
        )


INVENTED: dict[str, tuple[Callable[[], Transcript], str]] = {
    "sybils": (lambda: invented("sybil", "mole"), "sybil is no member"),
    "a member and a sybil": (lambda: invented("cat", "sybil"), "sybil is no member"),
    "members under other keys": (under_other_keys, "ant is no member .* another identity key"),
    "another federation": (lambda: invented(federation="elsewhere"), "another federation"),
    "one approval short": (lambda: invented(approvals=("ant", "bee")), "lacks approvals of: cat"),
    "generation zero's successor skipped": (
        lambda: invented(epoch=4, old_generation=3, new_generation=4),
        "another generation than the newest",
    ),
}


async def test_a_generation_that_never_was(asked: CeremonyFederation) -> None:
    """The attacker held the ceremony alone. Nothing of it is kept, and the node goes on when the lie ends."""
    ant = asked.nodes["ant"]
    for name, (make, said) in INVENTED.items():
        link = CeremonyLink(ant.desk, LyingCalls(ant.calls, make()))
        with pytest.raises(CorruptError, match=said):
            await link.step()
        assert ant.desk.generations.all() == [], name
    await first_key(asked)
    assert ant.key() == asked.done()


async def test_a_second_key_under_a_number_that_is_known(asked: CeremonyFederation) -> None:
    """Everybody's keys are in the attacker's hands, and the ceremony is sound: the number is taken."""
    view = await first_key(asked)
    ant = asked.nodes["ant"]
    assert ant.desk.learn([invented()]) == []
    assert ant.desk.generations.all() == [view.key]
    assert asked.nodes["bee"].desk.learn([transcript(view)]) == []


# -- a board that lies about itself ------------------------------------------------------------------------------------


class Deaf(DirectCalls):
    """A board that never shows what it was given."""

    posts = 0

    async def read_board(self, request: pb.ReadBoardRequest) -> pb.ReadBoardResponse:
        """Show terms and approvals, and no message."""
        response = await super().read_board(request)
        del response.messages[:]
        return response

    async def post_message(
        self,
        request: pb.PostMessageRequest,  # noqa: ARG002 - the call's signature
    ) -> pb.PostMessageResponse:
        """Take anything."""
        self.posts += 1
        return pb.PostMessageResponse()


async def test_a_board_that_never_shows_what_it_was_given(asked: CeremonyFederation) -> None:
    """It is told a few times, and again when it has news; nobody turns in circles for it."""
    view = asked.propose("start", *FOUNDERS, threshold=2)
    for name, node in asked.nodes.items():
        asked.board.approve(name, node.approve(shown(view)))
    deaf = Deaf(lambda: asked.board, "ant")
    async with asyncio.timeout(20):
        await CeremonyLink(asked.nodes["ant"].desk, deaf).step()
    assert 1 <= deaf.posts <= 20


class Painted(DirectCalls):
    """A board whose words draw on terminals."""

    async def read_board(self, request: pb.ReadBoardRequest) -> pb.ReadBoardResponse:
        """Show the ceremony with other words, and thousands of names."""
        response = await super().read_board(request)
        response.ceremony.state = ESCAPES
        response.ceremony.detail = ESCAPES * 1000
        del response.ceremony.waiting_for[:]
        response.ceremony.waiting_for.extend([ESCAPES * 10] * 5000)
        return response


async def test_words_of_the_board_draw_on_no_terminal(asked: CeremonyFederation) -> None:
    """What a person reads before an approval is printable, and short."""
    asked.propose("start", *FOUNDERS, threshold=2)
    view = await CeremonyLink(asked.nodes["ant"].desk, Painted(lambda: asked.board, "ant")).view()
    words = (view.state, view.detail, *view.waiting_for)
    assert all(word.isprintable() for word in words)
    assert sum(map(len, words)) < 2500


class Overfull(DirectCalls):
    """A board that shows one message a thousand times more than there can be, or one approval."""

    def __init__(self, calls: DirectCalls, what: str) -> None:
        super().__init__(calls._board, calls._caller)
        self._what = what

    async def read_board(self, request: pb.ReadBoardRequest) -> pb.ReadBoardResponse:
        """Repeat what there is."""
        response = await super().read_board(request)
        (of_cat,) = begin(Terms.decode(response.ceremony.terms))["cat"].sent
        if self._what == "messages":
            response.messages.extend([of_cat.encoded] * 1001)
        else:
            response.ceremony.approvals.extend([to_message(approval_of(first_terms(), "cat"))] * 1001)
        return response


@pytest.mark.parametrize("what", ["messages", "approvals"])
async def test_a_board_that_keeps_nodes_busy_with_verifying(asked: CeremonyFederation, what: str) -> None:
    """What no honest board has is refused before anything of it is verified."""
    asked.propose("start", *FOUNDERS, threshold=2)
    ant = asked.nodes["ant"]
    with pytest.raises(TooLargeError, match="expected at most 1000"):
        await CeremonyLink(ant.desk, Overfull(ant.calls, what)).step()
    assert ant.events() == []


async def test_a_flood_of_proposals_fills_neither_log_nor_database(asked: CeremonyFederation) -> None:
    """Each is seen and refused; so many a minute are on record, and the last are kept. What was approved stays."""
    ant = asked.nodes["ant"]
    kept = first_terms(session=OTHER)
    ant.approve(forged_view(kept))
    for number in range(150):
        sybils = first_terms("ant", "sybil", session=number.to_bytes(16, "big"))
        assert ant.desk.consider(forged_view(sybils)) is None
    assert len(ant.events()) <= 40
    with ant.node.store.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM ceremony").scalar_one()
    assert rows <= 101
    assert ant.desk.ours(kept) == "approved"
    asked.clock.move(minutes=1)
    ant.desk.consider(forged_view(first_terms("ant", "sybil", session=b"after the minute")))
    last = list(ant.node.audit.entries(event="ceremony.seen"))[-1]
    assert int(str(last.fields["unrecorded"])) > 200


class Choosy(DirectCalls):
    """A board that refuses what one member has signed."""

    async def post_message(self, request: pb.PostMessageRequest) -> pb.PostMessageResponse:
        """Refuse what cat says, as an honest board does with a third message of one sender."""
        if SignedMessage.decode(request.message).sender == "cat":
            raise ConflictError("one message for each step")
        return await super().post_message(request)


async def test_a_liars_message_that_the_board_refuses_holds_back_nobody_elses(asked: CeremonyFederation) -> None:
    """The node knows a message of cat's that this board does not take any more; its own still get there."""
    view = asked.propose("start", *FOUNDERS, threshold=2)
    for name, node in asked.nodes.items():
        asked.board.approve(name, node.approve(shown(view)))
    ant = asked.nodes["ant"]
    (of_cat,) = begin(view.terms)["cat"].sent
    assert len(ant.desk.take_part(shown(asked.newest(), messages=(of_cat,)))) == 2
    with pytest.raises(ConflictError):
        await CeremonyLink(ant.desk, Choosy(lambda: asked.board, "ant")).step()
    assert [message.sender for message in asked.newest().messages] == ["ant"]


# -- over the wire -----------------------------------------------------------------------------------------------------


Answer = bytes | tuple[tuple[str, str | bytes], ...]
"""Bytes in place of a message, or the trailing metadata of an error."""


class ServedBoard(ServedCoordinator):
    """A real board behind real mutual TLS, or in its place whatever an attacker answers."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, MembershipRules(founding_members=3))
        self.board = BulletinBoard(
            self.store, "testing", lambda: self.office.history.members, self.audit, os.urandom, self.clock
        )
        self.lie: dict[str, Answer] = {}
        self.told = 0

    async def serve_board(self) -> None:
        """Serve the ceremony service alone at the address that nodes have."""
        record = _recorder(self.audit)
        server = new_server(Guard([check_protocol, self._check_member], record, broken=record))
        add_CeremonyServiceServicer_to_server(CeremonyServicer(self.board, peer), server)
        await self._replace(server)

    async def serve_lies(self) -> None:
        """Serve an attacker's bytes, or errors, for each method; what `lie` does not name is answered with nothing."""
        methods = ("ReadBoard", "ApproveCeremony", "PostMessage", "ListGenerations")
        handlers: dict[str, Any] = {name: grpc.unary_unary_rpc_method_handler(self._liar(name)) for name in methods}
        server = new_server(Guard())
        lying = grpc.method_handlers_generic_handler("jointrisk.v1.CeremonyService", handlers)
        server.add_generic_rpc_handlers((lying,))
        await self._replace(server)

    def _liar(self, method: str) -> Any:
        async def call(_: bytes, context: Any) -> bytes:
            answer = self.lie.get(method, b"")
            self.told += method in self.lie
            if isinstance(answer, bytes):
                return answer
            await context.abort(grpc.StatusCode.ABORTED, ESCAPES, answer)
            raise AssertionError

        return call

    async def _replace(self, server: aio.Server) -> None:
        await self.stop()
        bind(server, f"127.0.0.1:{self.port}", server_credentials(self.certificate, self.authority.certificate_pem))
        self._servers = [server]
        await server.start()


class ServedNode:
    """A node that has joined over the wire, and its link to the board."""

    def __init__(self, node: NodeAtTest) -> None:
        self.node = node
        self.membership = node.membership()
        self.desk = CeremonyDesk(
            node.store,
            self.membership,
            GenerationLedger(node.store, MASTER),
            MASTER,
            node.audit,
            approve_all=True,
            confirmations=WAIT,
            randomness=os.urandom,
        )
        self.calls = CoordinatorChannel(self.membership)
        self.link = CeremonyLink(self.desk, self.calls)


@asynccontextmanager
async def wired(root: Path, *names: str) -> AsyncIterator[tuple[ServedBoard, dict[str, ServedNode]]]:
    """Serve a board to nodes that have joined."""
    coordinator = ServedBoard(root / "c")
    await coordinator.start()
    nodes: dict[str, ServedNode] = {}
    for name in names:
        await NodeAtTest(root / name).join(coordinator.invitation(name))
    for name in names:
        made = ServedNode(NodeAtTest(root / name))
        async with made.node.link(made.membership) as link:
            await link.refresh_roster()
        nodes[name] = made
    await coordinator.serve_board()
    try:
        yield coordinator, nodes
    finally:
        for node in nodes.values():
            await node.calls.close()
        await coordinator.stop()


def refused_calls(coordinator: ServedBoard) -> list[tuple[object, object]]:
    """Return caller and code of the calls that are on record as refused."""
    return [(one.fields["caller"], one.fields["code"]) for one in coordinator.audit.entries(event="rpc.refused")]


async def test_a_member_that_posts_what_is_not_its_own(tmp_path: Path) -> None:
    """Over mutual TLS: approvals and messages in another's name, of other terms, garbage and giants. Each is on record.

    The certificate proves who brings a thing, never who has signed it.
    """
    async with wired(tmp_path, *FOUNDERS) as (coordinator, nodes):
        view = coordinator.board.propose(Wish("start", 2, FOUNDERS), FOUNDERS)
        terms, eve = view.terms, nodes["cat"]
        own, others = (nodes[name].membership.keys.identity() for name in ("cat", "ant"))

        def approval(approver: str, key: Ed25519PrivateKey, of: Terms = terms) -> pb.ApproveCeremonyRequest:
            said = CeremonyApproval(
                federation="testing", session=of.session.hex(), terms_digest=of.digest, approver=approver
            )
            return pb.ApproveCeremonyRequest(approval=to_message(sign_ceremony_approval(said, key)))

        def message(sender: str, key: Ed25519PrivateKey, body: bytes = b"x", session: bytes = terms.session) -> Any:
            signed = sign_message(terms, MessageKind.KEYS, sender, body, key.sign)
            return pb.PostMessageRequest(session=session, message=signed.encoded)

        before: list[tuple[Any, Any, type[JointriskError]]] = [
            (eve.calls.approve_ceremony, approval("ant", own), RefusedError),
            (eve.calls.approve_ceremony, approval("ant", others), UnauthenticatedError),
            (eve.calls.approve_ceremony, approval("cat", own, replace(terms, threshold=3)), RefusedError),
            (eve.calls.approve_ceremony, approval("cat", own, replace(terms, session=OTHER)), NotFoundError),
            (eve.calls.approve_ceremony, pb.ApproveCeremonyRequest(), UnauthenticatedError),
            (eve.calls.post_message, message("cat", own), RefusedError),
        ]
        running: list[tuple[Any, Any, type[JointriskError]]] = [
            (eve.calls.post_message, message("ant", own), UnauthenticatedError),
            (eve.calls.post_message, message("cat", others), UnauthenticatedError),
            (eve.calls.post_message, message("cat", own, session=OTHER), NotFoundError),
            (eve.calls.post_message, message("cat", own, session=bytes(99)), NotFoundError),
            (eve.calls.post_message, message("cat", own, bytes(LONGEST_BODY)), UnauthenticatedError),
            (eve.calls.post_message, message("cat", own, bytes(LONGEST_BODY + 1)), InvalidInputError),
            (eve.calls.post_message, pb.PostMessageRequest(session=terms.session), InvalidInputError),
            (eve.calls.post_message, pb.PostMessageRequest(message=bytes(17 << 20)), TooLargeError),
        ]
        for call, request, error in before:
            with pytest.raises(error):
                await call(request)
        assert coordinator.board.get(terms.session).approvals == {}
        for node in nodes.values():
            approved = await asyncio.to_thread(node.desk.consider, shown(view))
            assert approved is not None
            await node.calls.approve_ceremony(pb.ApproveCeremonyRequest(approval=to_message(approved)))
        for call, request, error in running:
            with pytest.raises(error):
                await call(request)
        assert coordinator.board.get(terms.session).messages == ()
        records = refused_calls(coordinator)
        assert {caller for caller, _ in records} == {"cat"}
        assert sorted({str(code) for _, code in records}) == ["invalid_input", "refused", "unauthenticated"]

        await eve.calls.post_message(message("cat", own))  # its own, signed, and no keys
        for _ in range(3):
            for name in ("ant", "bee"):
                await nodes[name].link.step()
        ended = coordinator.board.get(terms.session)
        assert (ended.state, ended.detail) == ("aborted", "proven to have broken the rules: cat")
        assert all(node.desk.generations.newest() is None for node in nodes.values())


def _metadata(remedy: bytes) -> tuple[tuple[str, str | bytes], ...]:
    return (("jointrisk-error-code", "conflict"), ("jointrisk-error-remedy-bin", remedy))


LIES: dict[str, dict[str, Answer]] = {
    "bytes that are no message": {"ReadBoard": b"\xff" * 99},
    "transcripts that are no message": {"ListGenerations": b"\xff" * 99},
    "terms that are none": {"ReadBoard": pb.ReadBoardResponse(ceremony=pb.Ceremony(terms=b"x")).SerializeToString()},
    "a message that is none": {
        "ReadBoard": pb.ReadBoardResponse(
            ceremony=pb.Ceremony(terms=first_terms().encoded), messages=[b"x"]
        ).SerializeToString()
    },
    "a transcript of nothing": {
        "ListGenerations": pb.ListGenerationsResponse(generations=[pb.Transcript()]).SerializeToString()
    },
    "more than gRPC takes": {"ReadBoard": bytes(17 << 20)},
    "an error whose remedy is no text": {"ReadBoard": _metadata(b"\xff\xfe")},
    "an error with a screen full": {"ListGenerations": _metadata(ESCAPES.encode() * 50)},
}


async def test_whatever_a_coordinator_answers_the_node_goes_on(tmp_path: Path) -> None:
    """Each lie is told twice, so the loop has outlived it; when an honest board is back, the node takes part again."""
    async with wired(tmp_path, *FOUNDERS) as (coordinator, nodes):
        ant, news = nodes["ant"], asyncio.Event()
        loop = asyncio.create_task(ant.link.keep_up(news, every=timedelta(seconds=30)))
        try:
            await coordinator.serve_lies()
            for name, lie in LIES.items():
                coordinator.lie, coordinator.told = lie, 0
                while coordinator.told < 2 and not loop.done():
                    await _hear(news)
                assert not loop.done(), name
            with pytest.raises(ConflictError) as caught:  # the last lie, as a command would print it
                await ant.calls.list_generations(pb.ListGenerationsRequest())
            assert caught.value.message.isprintable()
            assert caught.value.remedy.isprintable()
            await coordinator.serve_board()
            coordinator.board.propose(Wish("start", 2, FOUNDERS), FOUNDERS)
            async with asyncio.timeout(20):
                while "ant" not in coordinator.board.newest().approvals:  # type: ignore[union-attr]
                    await _hear(news)
            assert ant.node.events("ceremony.") == ["ceremony.seen", "ceremony.approved"]
        finally:
            loop.cancel()
            with suppress(asyncio.CancelledError):
                await loop


async def _hear(news: asyncio.Event) -> None:
    """Tell the loop of news, and give it time."""
    news.set()
    await asyncio.sleep(0.05)
