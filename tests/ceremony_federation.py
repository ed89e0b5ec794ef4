"""A bulletin board and nodes' desks over real databases in one process: no network is between them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, cast

from coordinator_at_test import MASTER, MovableClock
from jointrisk.federation.ceremony_approval import CeremonyApproval, sign_ceremony_approval
from jointrisk.federation.certificates import (
    Identity,
    certificate_fingerprint,
    certificate_to_der,
    issue_authority,
    new_transport_key,
)
from jointrisk.federation.fingerprint import terms_fingerprint
from jointrisk.federation.history import RosterMember
from jointrisk.federation.roster import sign_roster
from jointrisk.federation.roster_view import Anchor, accept_roster
from jointrisk.federation.signing import Signed, private_bytes
from jointrisk.oprf.ceremony import GroupKey, SignedMessage, Terms
from jointrisk.rpc.v1 import ceremony_pb2 as pb
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_coordinator.ceremonies.board import BulletinBoard, CeremonyView
from jointrisk_coordinator.ceremonies.proposing import Wish
from jointrisk_coordinator.ceremonies.service import CeremonyServicer
from jointrisk_coordinator.store.tables import load_tables as coordinator_tables
from jointrisk_node.holder import CeremonyDesk, CeremonyLink, GenerationLedger
from jointrisk_node.holder.participation import BoardView
from jointrisk_node.holder.transcripts import Transcript
from jointrisk_node.membership.belief import store_joining
from jointrisk_node.membership.membership import Membership
from jointrisk_node.membership.tables import ONLY_ROW, OwnMembership
from node_at_test import NodeAtTest
from roster_forge import NOW, Forge, key_of, public_of

CA = issue_authority("testing", new_transport_key(), now=NOW, lifetime=timedelta(days=3650))
FOUNDERS = ("ant", "bee", "cat")
WAIT = timedelta(days=7)
"""How long nodes wait for all confirmations."""


class CeremonyForge(Forge):
    """A forge whose CA is a real certificate, so that a node can store the membership."""

    def signed_now(self) -> Signed:
        """Return the roster as it stands, signed, naming that CA."""
        terms = self.terms.model_copy(update={"ca_fingerprint": certificate_fingerprint(CA)})
        return sign_roster(self.roster().model_copy(update={"terms": terms}), key_of("coordinator key"))


class BoardAtTest:
    """A coordinator's board in a database; made again over the same store it is the board after a restart.

    Args:
        store: its database; whoever made it closes it.
        members: current members by name.
        clock: the time.
    """

    def __init__(self, store: Store, members: Callable[[], Mapping[str, RosterMember]], clock: MovableClock) -> None:
        self.store = store
        self.members = members
        self.clock = clock
        self.audit = AuditLog(store, clock=clock)
        self._sessions = Random("sessions")  # noqa: S311 - the same sessions every time
        self.board = self.restart()

    def restart(self) -> BulletinBoard:
        """Forget everything that is not in the database."""
        sessions = self._sessions.randbytes
        self.board = BulletinBoard(self.store, "testing", self.members, self.audit, sessions, self.clock)
        return self.board

    def start(self, *holders: str, threshold: int = 2) -> CeremonyView:
        """Propose the first key."""
        return self.board.propose(Wish("start", threshold, holders), holders)

    def approve(self, view: CeremonyView, *names: str) -> tuple[str, ...]:
        """Bring approvals; return whose is awaited still."""
        waiting: tuple[str, ...] = view.waiting_for
        for name in names:
            waiting = self.board.approve(name, approval_of(view.terms, name))
        return waiting

    def post(self, *messages: SignedMessage) -> None:
        """Post messages."""
        for message in messages:
            self.board.post(message.session, message.encoded)

    def events(self) -> list[str]:
        """Return the names of the audit records."""
        return [entry.event for entry in self.audit.entries(event="ceremony.")]


def sqlite_board(root: Path, members: Callable[[], Mapping[str, RosterMember]], clock: MovableClock) -> BoardAtTest:
    """Return a board in a new SQLite database."""
    root.mkdir()
    engine = make_engine(f"sqlite:///{root / 'state.db'}")
    coordinator_tables().create_all(engine)
    return BoardAtTest(Store(engine), members, clock)


def founding_members(*names: str) -> dict[str, RosterMember]:
    """Return members with fixed keys, as a coordinator's office gives them."""
    forge = CeremonyForge(founding_members=len(names))
    forge.found(*names)
    return dict(_judged(forge, names[0]).history.members)


def approval_of(terms: Terms, by: str, *, key: str = "", **changed: Any) -> Signed:
    """Return a member's signed approval of terms, or one that says something else."""
    said = {
        "federation": terms.federation,
        "session": terms.session.hex(),
        "terms_digest": terms.digest,
        "approver": by,
    } | changed
    return sign_ceremony_approval(CeremonyApproval.model_validate(said), key_of(key or by))


class DirectCalls:
    """Calls of the coordinator's service in one process; subclass it to have a coordinator that lies.

    Args:
        board: returns the board as it is now.
        caller: whose certificate it is.
    """

    def __init__(self, board: Callable[[], BulletinBoard], caller: str) -> None:
        self._board = board
        self._caller = caller

    def _service(self) -> CeremonyServicer:
        return CeremonyServicer(self._board(), lambda _: Identity("testing", self._caller, "0", NOW))

    async def read_board(self, request: pb.ReadBoardRequest) -> pb.ReadBoardResponse:
        """Read the board."""
        return await self._service().ReadBoard(request, cast("Any", None))

    async def approve_ceremony(self, request: pb.ApproveCeremonyRequest) -> pb.ApproveCeremonyResponse:
        """Bring an approval."""
        return await self._service().ApproveCeremony(request, cast("Any", None))

    async def post_message(self, request: pb.PostMessageRequest) -> pb.PostMessageResponse:
        """Post a message."""
        return await self._service().PostMessage(request, cast("Any", None))

    async def list_generations(self, request: pb.ListGenerationsRequest) -> pb.ListGenerationsResponse:
        """Read transcripts."""
        return await self._service().ListGenerations(request, cast("Any", None))


class DeskAtTest:
    """A node that has joined with the fixed key of its name.

    Args:
        root: its folder.
        name: the member.
        forge: signs its roster.
        calls: of the coordinator.
        approve_all: whether no person is asked.
        clock: the time.
    """

    def __init__(
        self, root: Path, name: str, forge: CeremonyForge, calls: DirectCalls, *, approve_all: bool, clock: MovableClock
    ) -> None:
        self.name = name
        self.root = root
        self.clock = clock
        self.calls = calls
        self._approve_all = approve_all
        self._starts = 0
        _join(NodeAtTest(root, clock), name, forge)
        self.restart()

    def restart(self) -> "DeskAtTest":
        """Forget everything that is not in the database; another start draws other random numbers."""
        self._starts += 1
        self.node = NodeAtTest(self.root, self.clock)
        self.membership: Membership = self.node.membership()
        self.desk = CeremonyDesk(
            self.node.store,
            self.membership,
            GenerationLedger(self.node.store, MASTER),
            MASTER,
            self.node.audit,
            approve_all=self._approve_all,
            confirmations=WAIT,
            randomness=Random(f"{self.name} {self._starts}").randbytes,  # noqa: S311 - the same every time
            clock=self.clock,
        )
        self.link = CeremonyLink(self.desk, self.calls)
        return self

    def approve(self, view: BoardView) -> Signed:
        """Approve as a person does who has read the terms."""
        return self.desk.approve(view, terms_fingerprint(view.terms.digest))

    def events(self, prefix: str = "ceremony.") -> list[str]:
        """Return the names of the audit records."""
        return self.node.events(prefix)

    def refusals(self) -> list[str]:
        """Return the reasons of refused terms."""
        return [str(one.fields["reason"]) for one in self.node.audit.entries(event="ceremony.refused")]

    def sealed_parties(self) -> int:
        """Return how many sealed states of parties are in the database."""
        with self.node.store.engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT count(*) FROM ceremony WHERE party IS NOT NULL").scalar_one()
        return int(found)

    def key(self) -> GroupKey:
        """Return the newest generation that it has verified."""
        key = self.desk.generations.newest()
        assert key is not None
        return key


class CeremonyFederation:
    """A board and a desk for each member.

    Args:
        root: where everything goes.
        names: founders.
        approve_all: whether no person is asked.
    """

    def __init__(self, root: Path, *names: str, approve_all: bool = True) -> None:
        self.root = root
        self.clock = MovableClock(NOW)
        self.forge = CeremonyForge(founding_members=len(names))
        self.forge.found(*names)
        self.coordinator = sqlite_board(root / "coordinator", self.members, self.clock)
        self.nodes: dict[str, DeskAtTest] = {}
        for name in names:
            self.add(name, approve_all=approve_all)

    @property
    def board(self) -> BulletinBoard:
        """The board as it is now."""
        return self.coordinator.board

    def members(self) -> Mapping[str, RosterMember]:
        """Return current members."""
        return dict(_judged(self.forge, next(iter(self.forge.keys))).history.members)

    def add(self, name: str, *, approve_all: bool = True) -> DeskAtTest:
        """Let a node join."""
        calls = DirectCalls(lambda: self.board, name)
        made = DeskAtTest(self.root / name, name, self.forge, calls, approve_all=approve_all, clock=self.clock)
        self.nodes[name] = made
        return made

    def propose(self, what: str, *holders: str, threshold: int = 0, dealers: tuple[str, ...] = ()) -> CeremonyView:
        """Propose a ceremony with everybody online."""
        return self.board.propose(Wish(what, threshold, holders, dealers), tuple(self.nodes))

    async def settle(self, *names: str) -> None:
        """Let nodes, all unless named, read the board until nothing happens any more."""
        before = -1
        while before != self.board.number:
            before = self.board.number
            for name in names or tuple(self.nodes):
                await self.nodes[name].link.step()

    async def make(self, what: str, *holders: str, threshold: int = 0, dealers: tuple[str, ...] = ()) -> GroupKey:
        """Run a whole ceremony, and return what it made."""
        self.propose(what, *holders, threshold=threshold, dealers=dealers)
        await self.settle()
        return self.done()

    def done(self) -> GroupKey:
        """Return the key of the newest ceremony, which is done."""
        view = self.newest()
        assert view.state == "done", (view.state, view.detail, view.waiting_for, view.missing)
        assert view.key is not None
        return view.key

    def newest(self) -> CeremonyView:
        """Return the newest ceremony."""
        view = self.board.newest()
        assert view is not None
        return view

    def shares(self, generation: int) -> dict[str, str]:
        """Return what each node has of a generation."""
        return {name: one.desk.generations.ours(generation) for name, one in self.nodes.items()}


def shown(view: CeremonyView, **changed: Any) -> BoardView:
    """Return a ceremony as a node sees it, or with something exchanged."""
    seen = BoardView(
        terms=view.terms,
        state=view.state,
        detail=view.detail,
        approvals=tuple(view.approvals.values()),
        waiting_for=view.waiting_for,
        abort_asked=view.abort_asked,
        messages=view.messages,
    )
    return replace(seen, **changed)


def transcript(view: CeremonyView, **changed: Any) -> Transcript:
    """Return a ceremony's transcript, or one with something exchanged."""
    return replace(Transcript(view.terms, view.messages, tuple(view.approvals.values())), **changed)


def _judged(forge: CeremonyForge, name: str) -> Any:
    anchor = Anchor(name, public_of(name), public_of("coordinator key"), certificate_fingerprint(CA))
    return accept_roster(anchor, None, forge.signed_now(), NOW)


def _join(node: NodeAtTest, name: str, forge: CeremonyForge) -> None:
    """Store a membership as joining does."""
    node.state.write("keys/identity.sealed", MASTER.seal("node identity", private_bytes(key_of(name))))
    signed, view = forge.signed_now(), _judged(forge, name)
    own = OwnMembership(
        id=ONLY_ROW,
        federation="testing",
        member_id=name,
        identity_key=public_of(name),
        coordinator_key=public_of("coordinator key"),
        coordinator_address="127.0.0.1:7443",
        ca_certificate=certificate_to_der(CA),
        invitation_id="0" * 32,
        joined_at=NOW,
        first_changes=len(view.roster.changes),
        roster_version=view.roster.version,
        roster_payload=signed.payload,
        roster_signature=signed.signature,
    )
    store_joining(node.store, node.audit, own, view)
