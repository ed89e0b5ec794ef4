"""A world in which secure sums go wrong: kills, losses, members that lie, a coordinator that cheats with them."""

from collections.abc import Iterable

from jointrisk.errors import CorruptError, JointriskError, UnavailableError
from jointrisk.learning.secure_aggregation import (
    Aggregator,
    Kind,
    Outcome,
    Participant,
    RuleError,
    Terms,
    encoding,
    messages,
)
from simulation.secagg_line import Line, Places, Plan
from simulation.secagg_oracle import check
from simulation.secagg_sample import (
    TRAINED,
    identity,
    members_of,
    names,
    question,
    random_input,
    seeded,
    take,
    terms,
)

HEAD = 34
"""Bytes of a frame before the body."""


class World:
    """Members, a coordinator, and everything between them.

    Args:
        plan: what happens.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.names = names(plan.parties)
        self.honest = self.names[: plan.parties - plan.colluders]
        first = terms(self.names, plan.colluders)
        self.members = members_of(first, plan.seed)
        self.inputs = {name: random_input(TRAINED, seeded(f"{plan.seed} {name}")) for name in self.names}
        self.silent: set[str] = set()
        self.lines = [Line(first, Aggregator(first))]

    @property
    def line(self) -> Line:
        """The newest attempt."""
        return self.lines[-1]

    def run(self) -> None:
        """Do what the plan says."""
        for what, number in self.plan.operations:
            getattr(self, "_" + what.replace(" ", "_"))(number)
            check(self)

    def settle(self) -> Outcome | None:
        """Let the newest attempt come to its end, with everybody that still speaks."""
        line = self.line
        for _ in Kind:
            for name in line.aggregator.waiting() if line.aggregator.outcome is None else ():
                self._pass(line, name)
            self._try_advance(line)
        check(self)
        return line.aggregator.outcome

    # What happens to everybody.

    def _exchange(self, number: int) -> None:
        if waiting := self._waiting(self.line):
            self._pass(self.line, waiting[number % len(waiting)])

    def _exchange_in_old(self, number: int) -> None:
        line = self.lines[number % len(self.lines)]
        if waiting := self._waiting(line):
            self._pass(line, waiting[number // 7 % len(waiting)])

    def _lose_reply(self, number: int) -> None:
        if waiting := self._waiting(self.line):
            name = waiting[number % len(waiting)]
            self._ask(self.line, name, self.line.aggregator.requests()[name])

    def _repeat(self, number: int) -> None:
        """Ask the same twice, with a restart between: the bytes are the same."""
        if waiting := self._waiting(self.line):
            name = waiting[number % len(waiting)]
            request = self.line.aggregator.requests()[name]
            reply = self._ask(self.line, name, request)
            self.members[name].restart()
            assert reply is None or self._ask(self.line, name, request) == reply, f"two answers: {self.plan}"

    def _kill(self, number: int) -> None:
        self.members[self.names[number % len(self.names)]].restart()

    def _kill_before_storing(self, number: int) -> None:
        """A member has computed its reply, and neither stored nor sent it."""
        if waiting := self._waiting(self.line):
            member = self.members[waiting[number % len(waiting)]]
            try:
                request = self.line.aggregator.requests()[member.name]
                member.ask(self.line.terms, request, question(self.inputs[member.name]), stores=False)
            except JointriskError:
                pass
            member.restart()

    def _lose_state(self, number: int) -> None:
        self.members[self.names[number % len(self.names)]].lose(self.line.terms)

    def _silence(self, number: int) -> None:
        self.silent.add(self.names[number % len(self.names)])

    def _advance(self, number: int) -> None:
        if self.line.aggregator.is_enough or number % 4 == 0:
            self._try_advance(self.line)

    def _restart_coordinator(self, _: int) -> None:
        line = self.line
        line.aggregator = Aggregator(Terms.decode(line.terms.encoded))
        for call in line.taken:
            line.aggregator.advance() if call is None else line.aggregator.take(*call)

    def _new_attempt(self, number: int) -> None:
        """Begin again, with all members or without one."""
        left_out = self.names[number // 3 % len(self.names)] if number % 3 else None
        members = tuple(name for name in self.names if name != left_out or len(self.names) == 3)
        values = {"attempt": len(self.lines) + 1, "session": number.to_bytes(16, "big")}
        of = terms(members, self.plan.colluders, **values)
        self.lines.append(Line(of, Aggregator(of)))

    # What cheats do.

    def _play_to_signing(self, _: int) -> None:
        """Play the newest attempt by the rules until survivors sign: where a cheat has most to gain."""
        line = self.line
        while line.aggregator.kind < Kind.SIGN:
            before = line.aggregator.kind
            for name in self._waiting(line):
                self._pass(line, name)
            self._try_advance(line)
            if line.aggregator.kind is before:
                return

    def _garble(self, number: int) -> None:
        """A colluding member sends something else than it should; what is not taken was silence."""
        waiting = [name for name in self._waiting(self.line) if name not in self.honest]
        if waiting:
            name, line = waiting[number % len(waiting)], self.line
            reply = self._ask(line, name, line.aggregator.requests()[name])
            if reply is not None:
                at = HEAD + number // 5 % (len(reply) - HEAD)
                garbled = reply[:at] + bytes((reply[at] ^ (1 + number % 255),)) + reply[at + 1 :]
                line.tainted |= line.aggregator.kind is Kind.MASKED
                self._take(line, name, garbled)

    def _ask_other_keys(self, number: int) -> None:
        """Tell one member that somebody gave no keys."""
        line = self.lines[number % len(self.lines)]
        adverts = line.aggregator._keys.adverts
        if len(adverts) > 1:
            left_out = sorted(adverts)[number // 3 % len(adverts)]
            fewer = {place: advert for place, advert in adverts.items() if place != left_out}
            self._ask(
                line,
                self._some(number),
                self._frame(line, Kind.SHARES, type(line.aggregator._keys)(line.terms, fewer).encoded),
            )

    def _ask_other_cohort(self, number: int) -> None:
        line, name = self.lines[number % len(self.lines)], self._some(number)
        place, deals = line.terms.places.get(name), line.aggregator._deals
        if place is not None and place in deals:
            cohort = self._set(number, sorted(deals))
            body = messages.cohort_body(place, cohort, deals)
            self._ask(line, name, self._frame(line, Kind.MASKED, body))

    def _ask_survivors(self, number: int) -> None:
        line = self.lines[number % len(self.lines)]
        if line.aggregator._cohort:
            survivors = self._set(number, line.aggregator._cohort)
            self._ask(line, self._some(number), self._frame(line, Kind.SIGN, encoding.places(survivors)))

    def _ask_release(self, number: int) -> None:
        """Ask for shares with all signatures over a set that somebody has signed, sometimes with made-up ones too."""
        line = self.lines[number % len(self.lines)]
        if line.signatures:
            survivors = sorted(line.signatures)[number // 3 % len(line.signatures)]
            signatures = dict.fromkeys(survivors, bytes(64)) if number % 5 == 0 else {}
            signatures |= self._with_colluders(line, survivors)
            body = messages.signatures_body(signatures)
            self._ask(line, self._some(number), self._frame(line, Kind.RELEASE, body))

    def _with_colluders(self, line: Line, survivors: Places) -> dict[int, bytes]:
        aggregator = line.aggregator
        signed = messages.survivors_signed(aggregator._keys, aggregator._cohort, survivors)
        colluding = {place for place in survivors if line.terms.name(place) not in self.honest}
        own = {place: identity(line.terms.name(place)).sign(signed) for place in colluding}
        return line.signatures[survivors] | own

    def _some(self, number: int) -> str:
        return self.names[number // 11 % len(self.names)]

    @staticmethod
    def _set(number: int, places: Iterable[int]) -> Places:
        """Return all, or all but the first, or all but the last: few sets, so that members agree on some."""
        found = tuple(places)
        return (found, found[1:], found[:-1])[number // 5 % 3]

    @staticmethod
    def _frame(line: Line, kind: Kind, body: bytes) -> bytes:
        return messages.request_frame(kind, line.terms, body)

    # How it is done, and what is seen.

    def _waiting(self, line: Line) -> list[str]:
        if line.aggregator.outcome is not None:
            return []
        return [name for name in line.aggregator.waiting() if name not in self.silent]

    def _pass(self, line: Line, name: str) -> None:
        reply = self._ask(line, name, line.aggregator.requests()[name])
        if reply is not None:
            self._take(line, name, reply)

    def _take(self, line: Line, name: str, reply: bytes) -> None:
        if take(line.aggregator, name, reply):
            line.taken.append((name, reply))

    def _try_advance(self, line: Line) -> None:
        if line.aggregator.outcome is not None:
            return
        try:
            line.aggregator.advance()
        except (RuleError, UnavailableError):
            return
        except CorruptError:
            assert line.tainted, f"a sum of right inputs is none: {self.plan}"
            return
        line.taken.append(None)

    def _ask(self, line: Line, name: str, request: bytes) -> bytes | None:
        """Ask a member; None when it refuses or is silent. What it says is seen."""
        if name in self.silent:
            return None
        member = self.members[name]
        try:
            reply = member.ask(line.terms, request, question(self.inputs[name]))
        except RuleError:
            return None
        kind, _ = messages.read_request(request, line.terms)
        party = member.running[line.terms.digest]
        assert isinstance(party, Participant)
        self._see(line, party, kind, reply)
        return reply

    def _see(self, line: Line, party: Participant, kind: Kind, reply: bytes) -> None:
        state, place = party._state, line.terms.places[party.name]
        if kind is Kind.MASKED:
            assert line.words.setdefault(party.name, reply) == reply, f"two inputs under one mask: {self.plan}"
        elif kind is Kind.SIGN:
            line.signatures[state.survivors][place] = reply[HEAD:]
        elif kind is Kind.RELEASE and party.name in self.honest:
            released = messages.read_released(messages.read_reply(reply, line.terms, kind), state.cohort)
            line.released_for.add(state.survivors)
            for dealer in released:
                (line.seeds if dealer in state.survivors else line.keys)[dealer].add(party.name)
