"""This node's part in key ceremonies: what it has seen, what its people approved, and its party's durable state.

One rule makes it safe to be killed anywhere: what a party says is stored, with the party's state and the share that
came of it, in one transaction, before any of it is sent.
"""

import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta

from jointrisk.ceremony_suite import CeremonySuite
from jointrisk.clock import Clock, utc_now
from jointrisk.errors import ConflictError, InvalidInputError, RefusedError
from jointrisk.federation.ceremony_approval import (
    CeremonyApproval,
    PresentHolders,
    sign_ceremony_approval,
    waiting_for,
)
from jointrisk.federation.fingerprint import same_terms, terms_fingerprint
from jointrisk.federation.signing import Signed
from jointrisk.masterkey import MasterKey
from jointrisk.oprf.ceremony import (
    Outcome,
    Party,
    Phase,
    Reason,
    SignedMessage,
    Terms,
    may_retire,
)
from jointrisk.oprf.ceremony.messages import Slot
from jointrisk.oprf.group import Randomness
from jointrisk.store import AuditLog, Session, Store
from jointrisk.throttle import Throttle
from jointrisk_node.holder.ledger import GenerationLedger, bound_to, newest_in, see, seen, unfinished
from jointrisk_node.holder.rules import Standing, objection
from jointrisk_node.holder.tables import CeremonySeen
from jointrisk_node.holder.transcripts import Transcript, approvers, committed, require_rightful
from jointrisk_node.membership.membership import Membership

_LONGEST_OBJECTION = 500
_RECORDED = 30


@dataclass(frozen=True)
class BoardView:
    """A ceremony as the board shows it.

    Attributes:
        terms: what it is about.
        state: what the coordinator says of it; nothing depends on it here.
        detail: the same.
        approvals: signed, not verified yet.
        waiting_for: as the coordinator says.
        abort_asked: whether the operator wants it given up.
        messages: all of them, in order.
    """

    terms: Terms
    state: str
    detail: str
    approvals: tuple[Signed, ...]
    waiting_for: tuple[str, ...]
    abort_asked: bool
    messages: tuple[SignedMessage, ...]


class CeremonyDesk:
    """Methods block on the database; they are safe from any thread.

    Args:
        store: the node's database.
        membership: who is trusted, and this node's identity key.
        generations: what earlier ceremonies made.
        master: seals the state of a party.
        audit: the audit log in the same store.
        approve_all: whether no person is asked (for federations that are tests).
        confirmations: how long after a commit all new holders are waited for, before fewer confirmations are enough to
            delete old shares.
        randomness: of parties.
        clock: the time.
    """

    def __init__(
        self,
        store: Store,
        membership: Membership,
        generations: GenerationLedger,
        master: MasterKey,
        audit: AuditLog,
        *,
        approve_all: bool,
        confirmations: timedelta,
        randomness: Randomness,
        clock: Clock = utc_now,
    ) -> None:
        self.generations = generations
        self._store = store
        self._membership = membership
        self._master = master
        self._audit = audit
        self._approve_all = approve_all
        self._confirmations = confirmations
        self._randomness = randomness
        self._clock = clock
        self._lock = threading.Lock()
        self._records = Throttle(limit=_RECORDED, period=timedelta(minutes=1))
        self._deleted = True  # a process before this one may have been killed after it deleted something

    # -- what the board shows --------------------------------------------------------------------------------------

    def consider(self, view: BoardView) -> Signed | None:
        """Look at a ceremony; return this member's approval where it was given, or no person needs to be asked.

        It is the same each time: one that did not arrive, or that the board has lost, is brought again.

        Raises:
            RefusedError: the board shows other terms under a session that this node knows, or this node was removed.
            UnavailableError: its roster has expired.
        """
        with self._lock, self._store.transaction() as session:
            present = newest_in(session)
            if present is not None and view.terms.new_generation <= present.generation:
                return None  # it is over
            row = self._seen(session, view.terms)
            if row.objection or not (row.approved or (self._approve_all and self._concerned(session, view.terms))):
                return None
            return self._approve(session, row, view.terms)

    def approve(self, view: BoardView, compared: str) -> Signed:
        """Return this member's approval, after a person has read the terms.

        Args:
            view: the ceremony.
            compared: the fingerprint of the terms that the person has read.

        Raises:
            InvalidInputError: it is not the fingerprint of these terms.
            RefusedError: the terms break a rule, or this member has no say in the ceremony, or was removed.
            UnavailableError: its roster has expired.
        """
        if not same_terms(compared, view.terms.digest):
            raise InvalidInputError(
                "expected the fingerprint of this ceremony's terms, got another",
                remedy=f"Here they read {terms_fingerprint(view.terms.digest)}. Ask the coordinator's operator.",
            )
        with self._lock, self._store.transaction() as session:
            row = self._seen(session, view.terms)
            if row.objection:
                raise RefusedError(row.objection, remedy="Ask the coordinator's operator and other members.")
            if not self._concerned(session, view.terms):
                raise RefusedError("this member is neither a party of the ceremony nor a holder today")
            return self._approve(session, row, view.terms)

    def approvers(self, view: BoardView) -> list[str]:
        """Return the members whose approvals of a ceremony are genuine."""
        return approvers(view.terms, view.approvals, self._trusted_keys())

    def ours(self, terms: Terms) -> str:
        """Say what this node has decided: "approved", "not approved", "no say", or what speaks against the terms."""
        with self._store.reading() as session:
            row = seen(session, terms.session)
            if row is not None and row.objection:
                return f"refused: {row.objection}"
            if row is not None and row.approved:
                return "approved"
            return "not approved" if self._concerned(session, terms) else "no say"

    # -- taking part -----------------------------------------------------------------------------------------------

    def take_part(self, view: BoardView) -> tuple[SignedMessage, ...]:
        """Give the party what is new on the board; return all that it knows, its own messages among it.

        What of it the board lacks is to be posted: this party's word, or what a board that was restored from a copy has
        lost. Everything that is returned is stored. There is nothing before all who have to have approved.

        Raises:
            ConflictError: the party's state is older than what it has sent: this node was restored from a copy.
            RefusedError: the board shows other terms than before; or this node was removed, and has not voted.
            UnavailableError: its roster has expired, and it has not voted.
        """
        with self._lock:
            with self._store.transaction() as session:
                row = self._entered(session, view.terms)
                party = self._party(session, row, view) if row else None
                if row is None or party is None:
                    return ()
                known, shown = set(party.messages), set(view.messages)
                lost = _told(party, view)
                if lost is None and _is_overtaken(session, party, shown):
                    self._leave(row, "another ceremony made a generation before this node's vote was on the board")
                    return ()
                if lost is None:
                    if len(party.messages) != len(known) or row.party is None:
                        self._keep(row, party)
                    if _has_voted_on(party, shown):
                        self._commit(session, row, party)
                    if set(party.sent) <= shown:
                        self._finish(session, row, party)
                    return party.messages
                if not row.voted:
                    self._leave(row, "this node was restored from a copy that is older than what it has said")
            raise lost

    def unfinished(self) -> list[bytes]:
        """Return the sessions of ceremonies that this node's party is still in, oldest first."""
        with self._store.reading() as session:
            return unfinished(session)

    def learn(self, transcripts: Iterable[Transcript]) -> list[int]:
        """Verify ceremonies that made generations, oldest first, and keep what they made; return the new numbers.

        What was deleted since the last time leaves the database's files, too.

        Raises:
            CorruptError: one of them is not what its parties signed, or was not approved by those who had to.
        """
        learnt = []
        for transcript in transcripts:
            with self._lock, self._store.transaction() as session:
                if self._learn(session, transcript):
                    learnt.append(transcript.terms.new_generation)
        with self._lock:
            if self._deleted:
                self._deleted = not self._store.forget_deleted()
        return learnt

    # -- within a transaction --------------------------------------------------------------------------------------

    def _seen(self, session: Session, terms: Terms) -> CeremonySeen:
        """Return what this node has of a ceremony, judged again until it has voted in it.

        A roster may be on its way; and between an approval and the vote this node may have voted in another ceremony
        with the same numbers, or come to know a generation that was not there before (*two keys under one number*).

        Raises:
            RefusedError: these are other terms than before, or this node was removed.
            UnavailableError: its roster has expired: it cannot know who was removed meanwhile.
        """
        row = seen(session, terms.session) or self._first_seen(session, terms)
        if row.terms != terms.encoded:
            raise RefusedError("the board shows other terms than before under the same session")
        if row.voted or row.finished:
            return row
        self._membership.require_fresh()
        against = objection(terms, self._standing(session))[:_LONGEST_OBJECTION]
        if against and against != row.objection:
            self._record(session, "ceremony.refused", session=row.session, reason=against)
        row.objection = against
        if against and row.party is not None:
            self._leave(row, against)
        return row

    def _first_seen(self, session: Session, terms: Terms) -> CeremonySeen:
        row = see(session, terms, self._clock())
        self._record(session, "ceremony.seen", session=row.session, generation=row.generation)
        return row

    def _record(self, transaction: Session, event: str, /, **fields: str | int) -> None:
        """Put on record what a coordinator can make happen as often as it likes: so often a minute, and no more."""
        unrecorded = self._records.passes(self._clock())
        if unrecorded is not None:
            self._audit.append_in(transaction, event, **fields, unrecorded=unrecorded)

    def _entered(self, session: Session, terms: Terms) -> CeremonySeen | None:
        """Return what this node has of a ceremony in which it takes part; None when it does not."""
        row = seen(session, terms.session)
        if row is None or not row.approved or self._membership.member_id not in terms.identities:
            return None
        row = self._seen(session, terms)
        return None if row.finished or row.objection else row

    def _leave(self, row: CeremonySeen, why: str) -> None:
        """Take no part in a ceremony any more before having voted. The party does not begin again: it has spoken."""
        row.objection, row.party, row.finished = why, None, True
        self._deleted = True

    def _trusted_keys(self) -> dict[str, frozenset[bytes]]:
        return {name: frozenset({member.identity_key}) for name, member in self._membership.trusted().items()}

    def _standing(self, session: Session) -> Standing:
        """Return what terms are judged by: numbers of all generations known, and of ceremonies that bind this node."""
        present = newest_in(session)
        generation, epoch = bound_to(session)
        return Standing(
            federation=self._membership.federation,
            identities=self._trusted_keys(),
            present=present,
            generation=max(generation, present.generation if present else 0),
            epoch=max(epoch, present.epoch if present else 0),
        )

    def _concerned(self, session: Session, terms: Terms) -> bool:
        return self._membership.member_id in {*terms.identities, *PresentHolders.of(newest_in(session)).names}

    def _approve(self, session: Session, row: CeremonySeen, terms: Terms) -> Signed:
        approval = CeremonyApproval(
            federation=self._membership.federation,
            session=row.session,
            terms_digest=terms.digest,
            approver=self._membership.member_id,
        )
        if not row.approved:
            row.approved = True
            fingerprint = terms_fingerprint(terms.digest)
            self._audit.append_in(session, "ceremony.approved", session=row.session, terms=fingerprint)
        return sign_ceremony_approval(approval, self._membership.keys.identity())

    def _party(self, session: Session, row: CeremonySeen, view: BoardView) -> Party | None:
        """Return this node's party, made when everybody who has to has approved."""
        sign, suite = self._membership.keys.identity().sign, CeremonySuite()
        if row.party is not None:
            return Party.restore(self._master.open(_name(row), row.party), sign=sign, suite=suite)
        if waiting_for(view.terms.identities, PresentHolders.of(newest_in(session)), self.approvers(view)):
            return None
        name = self._membership.member_id
        deals = any(dealer.name == name for dealer in view.terms.old_dealers)
        self._audit.append_in(session, "ceremony.begun", session=row.session)
        return Party.begin(
            view.terms,
            name,
            sign=sign,
            suite=suite,
            randomness=self._randomness,
            old_share=self.generations.share_in(session, view.terms.old_generation) if deals else None,
        )

    def _keep(self, row: CeremonySeen, party: Party) -> None:
        """Store what the party knows, and whether it is bound by it."""
        row.voted = party.phase is not Phase.GATHERING
        row.party = self._master.seal(_name(row), party.state())

    def _commit(self, session: Session, row: CeremonySeen, party: Party) -> None:
        """Store the generation that a ceremony has made, and the share of it."""
        outcome = party.outcome
        if (
            party.phase is Phase.COMMITTED
            and outcome
            and outcome.key
            and self.generations.keep_in(session, outcome.key, row.session, party.share, self._clock())
        ):
            self._audit.append_in(session, "ceremony.committed", session=row.session, generation=row.generation)

    def _finish(self, session: Session, row: CeremonySeen, party: Party) -> None:
        """Forget the party when everything that it has to say is on the board and nobody can need it any more.

        A ceremony without an end is over when a later one has made a generation: what it could still make is of no use.
        """
        outcome, newest = party.outcome, newest_in(session)
        superseded = newest is not None and newest.generation > row.generation
        if party.phase is Phase.COMMITTED and outcome:
            row.finished = self._retire(session, party.terms, outcome) or superseded
        elif superseded or (party.phase is Phase.ABORTED and not party.is_revivable):
            guilty = ", ".join(outcome.guilty) if outcome else ""
            self._audit.append_in(session, "ceremony.aborted", session=row.session, guilty=guilty or "nobody")
            row.finished = True
        if row.finished:
            row.party = None
            self._deleted = True

    def _retire(self, session: Session, terms: Terms, outcome: Outcome) -> bool:
        """Delete the shares that a committed ceremony replaces, as soon as its own are safe; return whether they are.

        A rotation replaces nothing: both epochs are served for a while.
        """
        now, generation = self._clock(), terms.new_generation
        late = now >= self.generations.verified_at_in(session, generation) + self._confirmations
        if not may_retire(terms, outcome.confirmed, deadline_passed=late):
            return False
        for older in self.generations.delete_older_in(session, terms.epoch, generation, now):
            self._audit.append_in(session, "key_share.deleted", generation=older)
            self._deleted = True
        return True

    def _learn(self, session: Session, transcript: Transcript) -> bool:
        outcome, key = committed(transcript)
        present = newest_in(session)
        if present is not None and key.generation <= present.generation:
            if self.generations.knows_in(session, key):  # who was no party any more deletes its share, too
                self._retire(session, transcript.terms, outcome)
            return False
        # Without what binds this node: it may have been a party of the ceremony.
        standing = Standing(
            federation=self._membership.federation,
            identities=self._membership.identity_keys(),
            present=present,
            generation=present.generation if present else 0,
            epoch=present.epoch if present else 0,
        )
        require_rightful(transcript, standing)
        of = transcript.terms.session.hex()
        self.generations.keep_in(session, key, of, None, self._clock())
        self._audit.append_in(session, "generation.verified", session=of, generation=key.generation)
        self._retire(session, transcript.terms, outcome)
        return True


def _told(party: Party, view: BoardView) -> ConflictError | None:
    """Give a party what is new on the board; return what stops it for good."""
    known = set(party.messages)
    try:
        for message in view.messages:
            if message not in known:
                party.receive(message)
        if view.abort_asked:
            party.give_up(Reason.ORDER)
    except ConflictError as error:
        return error
    return None


def _has_voted_on(party: Party, shown: Collection[SignedMessage]) -> bool:
    """Tell whether the board shows this party's vote. Until then no other knows of a commit, and it may never be."""
    votes = [message for message in party.sent if message.slot is Slot.VOTE]
    return bool(votes) and set(votes) <= set(shown)


def _is_overtaken(session: Session, party: Party, shown: Collection[SignedMessage]) -> bool:
    """Tell whether another ceremony has made a generation while this party's vote was not on the board.

    The board takes no more messages then: of ceremonies that start from one generation it lets one end well.
    """
    newest = newest_in(session)
    current = {party.terms.old_generation, party.terms.new_generation}
    return newest is not None and newest.generation not in current and not _has_voted_on(party, shown)


def _name(row: CeremonySeen) -> str:
    return f"ceremony/{row.session}"
