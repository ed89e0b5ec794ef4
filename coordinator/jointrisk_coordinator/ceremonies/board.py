"""The bulletin board of key ceremonies.

It keeps what parties post, in the order of arrival, and shows it to every member. It refuses what no party has signed,
so that nobody fills it, and tells its operator how a ceremony stands. It decides nothing: every node judges the same
messages by itself (`jointrisk.oprf.ceremony`), and whoever distrusts this one can pass messages on by other ways.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from jointrisk.ceremony_suite import CeremonySuite
from jointrisk.clock import Clock, utc_now
from jointrisk.errors import ConflictError, NotFoundError, RefusedError
from jointrisk.federation.ceremony_approval import PresentHolders, read_ceremony_approval, waiting_for
from jointrisk.federation.history import RosterMember
from jointrisk.federation.signing import Signed
from jointrisk.oprf.ceremony import Board, GroupKey, SignedMessage, Terms
from jointrisk.oprf.ceremony.terms import SESSION_LENGTH
from jointrisk.oprf.group import Randomness
from jointrisk.store import AuditLog, Session, Store
from jointrisk_coordinator.ceremonies import ledger
from jointrisk_coordinator.ceremonies.proposing import Standing, Wish, terms_of
from jointrisk_coordinator.ceremonies.tables import CeremonyRow
from jointrisk_coordinator.ceremonies.telling import told

ENDED = frozenset({"done", "aborted"})


@dataclass(frozen=True)
class CeremonyView:
    """A ceremony as it stands.

    Attributes:
        terms: what it is about.
        state: "approving", "running", "done" or "aborted".
        detail: how it ended, for people.
        abort_asked: whether the operator has asked to give it up.
        approvals: signed, by approver.
        waiting_for: whose approval is awaited.
        missing: whose next message is awaited.
        messages: everything on the board, in order.
        key: the group key, once it is done.
        started_at: when it was proposed.
    """

    terms: Terms
    state: str
    detail: str
    abort_asked: bool
    approvals: Mapping[str, Signed]
    waiting_for: tuple[str, ...]
    missing: tuple[str, ...]
    messages: tuple[SignedMessage, ...]
    key: GroupKey | None
    started_at: datetime


class BulletinBoard:
    """Methods block on the database, but for `number`; they are safe from any thread.

    Args:
        store: the coordinator's database.
        federation: its name.
        members: returns current members by name.
        audit: the audit log in the same store.
        randomness: makes sessions.
        clock: the time.

    Attributes:
        on_changed: called after every commit that changed anything, in whatever thread made it.
    """

    def __init__(
        self,
        store: Store,
        federation: str,
        members: Callable[[], Mapping[str, RosterMember]],
        audit: AuditLog,
        randomness: Randomness,
        clock: Clock = utc_now,
    ) -> None:
        self.on_changed: list[Callable[[], None]] = []
        self._store = store
        self._federation = federation
        self._members = members
        self._audit = audit
        self._randomness = randomness
        self._clock = clock
        self._lock = threading.Lock()
        self._boards: dict[str, Board] = {}
        self._uncommitted = ""  # session of the board in memory that holds more than the database, within a change
        with store.reading() as session:
            self._number = ledger.events(session)
            self._generation = ledger.newest_generation(session)

    @property
    def number(self) -> int:
        """A number that grows with everything that happens here."""
        return self._number

    def propose(self, wish: Wish, online: Collection[str]) -> CeremonyView:
        """Put the terms of a new ceremony on the board.

        Args:
            wish: what the operator asks for.
            online: who is connected now.

        Raises:
            ConflictError: a ceremony goes on; there is a key already, or none yet.
            InvalidInputError, NotFoundError: see `terms_of`.
        """
        with self._change() as session:
            newest = ledger.newest(session)
            # One that stalls after it was to be given up holds nobody up: its numbers are never used again.
            if newest is not None and newest.state not in ENDED and not newest.abort_asked:
                raise ConflictError(
                    "a ceremony goes on already", remedy="`ceremony status` shows it, `ceremony abort` gives it up."
                )
            standing = Standing(
                federation=self._federation,
                members=self._members(),
                online=online,
                key=self._key(session),
                generation=newest.generation if newest else 0,
                epoch=ledger.highest_epoch(session),
            )
            terms = terms_of(wish, standing, self._randomness(SESSION_LENGTH))
            row = ledger.add(session, terms, self._clock())
            self._uncommitted = row.session
            self._audit.append_in(
                session,
                "ceremony.proposed",
                session=row.session,
                what=wish.what,
                generation=row.generation,
                threshold=terms.threshold,
                holders=", ".join(terms.indices),
            )
            return self._view(session, row)

    def approve(self, member_id: str, signed: Signed) -> tuple[str, ...]:
        """Take a member's approval; return whose is awaited still.

        Raises:
            UnauthenticatedError, CorruptError: it is not this member's approval.
            RefusedError: it is of other terms.
            NotFoundError: there is no such ceremony, or no such member.
        """
        members = self._members()
        if member_id not in members:
            raise NotFoundError("the approver is no member")
        approval = read_ceremony_approval(signed, members[member_id].identity_key)
        with self._change() as session:
            row = ledger.get(session, approval.session)
            terms = Terms.decode(row.terms)
            said = (approval.federation, approval.terms_digest, approval.approver)
            if said != (self._federation, terms.digest, member_id):
                raise RefusedError("the approval is of other terms, or another member's")
            if ledger.approve(session, row, member_id, signed):
                self._audit.append_in(session, "ceremony.approved", session=row.session, approver=member_id)
            waiting = self._waiting_for(session, row, terms)
            if row.state == "approving" and not waiting:
                row.state = "running"
                self._audit.append_in(session, "ceremony.begun", session=row.session)
            return waiting

    def post(self, session_id: bytes, content: bytes) -> None:
        """Put a message on the board. One that is there already changes nothing.

        Raises:
            InvalidInputError: it is no message.
            UnauthenticatedError: no party of this ceremony has signed it.
            ConflictError: its sender has contradicted itself before.
            RefusedError: the ceremony is not approved yet; or another one is done that started from the same generation
                of shares. One of them has to stand, for every node has to come to the same next generation.
            NotFoundError: there is no such ceremony.
        """
        message = SignedMessage.decode(content)
        with self._change() as session:
            row = ledger.get(session, session_id.hex())
            if row.state == "approving":
                raise RefusedError("the ceremony is not approved yet")
            board = self._board(session, row)
            if row.state != "done" and board.terms.old_generation != ledger.newest_generation(session):
                raise RefusedError("another ceremony has made a generation of shares: this one is over")
            if board.post(message):
                self._uncommitted = row.session
                ledger.post(session, row, message)
                self._conclude(session, row, board)

    def abort(self) -> CeremonyView:
        """Ask the parties to give up the ceremony that goes on.

        One that nobody has begun ends at once. Of one that has begun nobody else can take back what was signed: each
        party that has not agreed yet refuses, and the board shows when that has ended it.

        Raises:
            NotFoundError: none goes on.
        """
        with self._change() as session:
            row = ledger.newest(session)
            if row is None or row.state in ENDED:
                raise NotFoundError("no ceremony goes on")
            row.abort_asked = True
            self._audit.append_in(session, "ceremony.abort_asked", session=row.session)
            if row.state == "approving":
                self._end(session, row, "aborted", "given up by the operator before it began")
            return self._view(session, row)

    def newest(self) -> CeremonyView | None:
        """Return the ceremony that goes on, or was the last."""
        with self._lock, self._store.reading() as session:
            row = ledger.newest(session)
            return None if row is None else self._view(session, row)

    def get(self, session_id: bytes) -> CeremonyView:
        """Return a ceremony.

        Raises:
            NotFoundError: there is none of this session.
        """
        with self._lock, self._store.reading() as session:
            return self._view(session, ledger.get(session, session_id.hex()))

    @property
    def generation(self) -> int:
        """The newest generation that a ceremony has made; 0 for none."""
        return self._generation

    def holders(self) -> frozenset[str]:
        """Return who holds a share of the newest generation."""
        with self._lock, self._store.reading() as session:
            return PresentHolders.of(self._key(session)).names

    def generations(self, after: int) -> list[CeremonyView]:
        """Return the ceremonies that made generations newer than one, the oldest first."""
        with self._lock, self._store.reading() as session:
            return [self._view(session, row) for row in ledger.done(session, after)]

    # -- within a transaction --------------------------------------------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[Session]:
        """Change the board in one transaction, and tell of it after the commit."""
        with self._lock:
            try:
                with self._store.transaction() as session:
                    yield session
                    session.flush()
                    events, generation = ledger.events(session), ledger.newest_generation(session)
            except BaseException:
                self._boards.pop(self._uncommitted, None)
                raise
            finally:
                self._uncommitted = ""
            changed, self._number, self._generation = events > self._number, events, generation
        for tell in self.on_changed if changed else ():
            tell()

    def _board(self, session: Session, row: CeremonyRow) -> Board:
        """Return the messages of a ceremony, judged; from memory where they were judged before."""
        if row.session not in self._boards:
            self._boards[row.session] = Board(Terms.decode(row.terms), CeremonySuite(), ledger.messages(session, row))
        return self._boards[row.session]

    def _key(self, session: Session) -> GroupKey | None:
        rows = ledger.done(session, 0)
        outcome = self._board(session, rows[-1]).outcome if rows else None
        return outcome.key if outcome else None

    def _waiting_for(self, session: Session, row: CeremonyRow, terms: Terms) -> tuple[str, ...]:
        present = PresentHolders.of(self._key(session) if terms.old_generation else None)
        return tuple(waiting_for(terms.identities, present, ledger.approvals(session, row)))

    def _conclude(self, session: Session, row: CeremonyRow, board: Board) -> None:
        outcome = board.outcome
        if outcome is None:
            return
        row.detail = told(board.terms, outcome)
        state = "done" if outcome.is_committed else "aborted"
        if row.state == state:
            return
        self._end(session, row, state, row.detail)
        for other in ledger.going_on(session) if state == "done" else ():
            self._end(session, other, "aborted", f"overtaken by generation {row.generation}")

    def _end(self, session: Session, row: CeremonyRow, state: str, detail: str) -> None:
        row.state, row.detail, row.ended_at = state, detail, self._clock()
        self._audit.append_in(session, "ceremony.ended", session=row.session, state=state, detail=detail)

    def _view(self, session: Session, row: CeremonyRow) -> CeremonyView:
        board = self._board(session, row)
        outcome, approving = board.outcome, row.state == "approving"
        return CeremonyView(
            terms=board.terms,
            state=row.state,
            detail=row.detail,
            abort_asked=row.abort_asked,
            approvals=ledger.approvals(session, row),
            waiting_for=self._waiting_for(session, row, board.terms) if approving else (),
            missing=board.missing() if row.state == "running" else (),
            messages=board.messages,
            key=outcome.key if outcome else None,
            started_at=row.started_at,
        )
