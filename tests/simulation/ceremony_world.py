"""A world in which ceremonies go wrong: a network, disks, liars."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from ceremony_sample import (
    Generation,
    RememberingSuite,
    begin,
    generation,
    generation_terms,
    identity,
    moving_terms,
    names,
)
from jointrisk.errors import ConflictError, InvalidInputError, UnauthenticatedError
from jointrisk.oprf.ceremony import Board, GroupKey, Kind, Party, Phase, Reason, SignedMessage, Terms
from jointrisk.oprf.ceremony.messages import sign_message
from jointrisk.oprf.ceremony.party_state import PartyState
from simulation.ceremony_liars import Liar
from simulation.ceremony_lies import LIES

BOARD = "board"

Operation = tuple[str, int]


@dataclass(frozen=True)
class Plan:
    """One run, to the last detail.

    Attributes:
        layout: which ceremony, a key of `LAYOUTS`.
        seed: of all randomness of the parties.
        lies: who tells which lies.
        operations: what happens, and to which message or party (modulo how many there are).
        settles: whether afterwards everything arrives.
    """

    layout: str
    seed: int
    lies: tuple[tuple[str, str], ...]
    operations: tuple[Operation, ...]
    settles: bool


def _moved(
    to: tuple[str, ...], threshold: int, dealers: int = 2, kind: Kind = Kind.RESHARE
) -> tuple[Terms, Generation]:
    old = generation(dealers, dealers + 1)
    return moving_terms(old, names(dealers + 1)[1:], to, threshold, kind), old


LAYOUTS: dict[str, Callable[[], tuple[Terms, Generation | None]]] = {
    "generate 2 of 3": lambda: (generation_terms(2, 3), None),
    "generate 3 of 5": lambda: (generation_terms(3, 5), None),
    "refresh 2 of 3": lambda: _moved(names(3), 2, kind=Kind.REFRESH),
    "reshare to 2 others of 3": lambda: _moved(names(3, first=3), 2),
    "reshare to others only": lambda: _moved(names(3, first=7), 2),
    "reshare to 3 of 4": lambda: _moved(names(4), 3),
}
"""The ceremonies: terms, and the generation before."""


class World:
    """Parties, a board, and everything between them.

    Args:
        plan: what happens.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.terms, self.old = LAYOUTS[plan.layout]()
        self.suite = RememberingSuite()
        self.parties = begin(self.terms, plan.seed, self.old, self.suite)
        self.board = Board(self.terms, self.suite)
        self.liars = {name for name, _ in plan.lies}
        for name in self.liars:
            state = PartyState.decode(self.parties[name].state())
            lies = [LIES[lie] for liar, lie in plan.lies if liar == name]
            self.parties[name] = Liar(state, identity(name).sign, self.suite, lies, plan.seed)
        self.disk = {name: self.parties[name].state() for name in self.honest}
        self.in_flight: list[tuple[str, bytes]] = []
        self.addressed: dict[tuple[str, bytes], None] = {}
        self.committed: dict[str, GroupKey] = {}
        self.gave_up = False
        for name in list(self.parties):
            self._say(name, self.parties[name].sent)

    @property
    def honest(self) -> dict[str, Party]:
        """The parties that do not lie."""
        return {name: party for name, party in self.parties.items() if name not in self.liars}

    def run(self) -> None:
        """Do what the plan says."""
        for what, number in self.plan.operations:
            getattr(self, "_" + what.replace(" ", "_"))(number)
        if self.plan.settles:
            self.settle()

    def settle(self) -> None:
        """Let everything arrive that anybody has ever said, also what was lost."""
        arrived = -1
        while self.in_flight or arrived < len(self.addressed):
            arrived = len(self.addressed)
            self.in_flight += self.addressed
            while self.in_flight:
                self._arrive(*self.in_flight.pop(0))

    def give_up(self) -> None:
        """Let every honest party that still gathers reach its deadline."""
        for name, party in self.honest.items():
            self._after(name, party, party.give_up(Reason.DEADLINE))

    def gossip(self) -> None:
        """Let honest parties and the board tell each other all that they have seen."""
        known = -1
        while known < (now := sum(len(party.messages) for party in self.honest.values())):
            known = now
            for one in self.honest.values():
                for message in one.messages:
                    self._arrive(BOARD, message.encoded)
                    for name in self.honest:
                        self._arrive(name, message.encoded)

    def _deliver(self, number: int) -> None:
        if self.in_flight:
            self._arrive(*self.in_flight.pop(number % len(self.in_flight)))

    def _lose(self, number: int) -> None:
        if self.in_flight:
            self.in_flight.pop(number % len(self.in_flight))

    def _duplicate(self, number: int) -> None:
        if self.in_flight:
            self._arrive(*self.in_flight[number % len(self.in_flight)])

    def _forge(self, number: int) -> None:
        """Change one byte of a message on its way; the true one arrives as well."""
        if self.in_flight:
            recipient, data = self.in_flight[number % len(self.in_flight)]
            at = number // 7 % len(data)
            self._arrive(recipient, data[:at] + bytes([data[at] ^ (1 + number % 255)]) + data[at + 1 :])

    def _impersonate(self, number: int) -> None:
        """Sign somebody else's message with a key of nobody in the ceremony."""
        if self.in_flight:
            recipient, data = self.in_flight[number % len(self.in_flight)]
            message = SignedMessage.decode(data)
            body = Random(number).randbytes(len(message.body))  # noqa: S311 - faults, no secrets
            forged = sign_message(self.terms, message.kind, message.sender, body, identity("stranger").sign)
            self._arrive(recipient, forged.encoded)

    def _misattribute(self, number: int) -> None:
        """Pass one party's message off as another's."""
        if self.in_flight:
            recipient, data = self.in_flight[number % len(self.in_flight)]
            message = SignedMessage.decode(data)
            sender = list(self.parties)[number % len(self.parties)]
            if sender != message.sender:
                self._arrive(recipient, replace(message, sender=sender).encoded)

    def _kill(self, number: int) -> None:
        self._restart(self._victim(number))

    def _kill_before_storing(self, number: int) -> None:
        if self.in_flight:
            recipient, data = self.in_flight.pop(number % len(self.in_flight))
            if recipient in self.honest:
                self.parties[recipient].receive(SignedMessage.decode(data))
                self._restart(recipient)

    def _kill_before_sending(self, number: int) -> None:
        if self.in_flight:
            recipient, data = self.in_flight.pop(number % len(self.in_flight))
            if recipient in self.honest:
                self.parties[recipient].receive(SignedMessage.decode(data))
                self.disk[recipient] = self.parties[recipient].state()
                self._restart(recipient)

    def _restart_board(self, _: int) -> None:
        stored = [SignedMessage.decode(message.encoded) for message in self.board.messages]
        self.board = Board(Terms.decode(self.terms.encoded), self.suite, stored)

    def _order(self, number: int) -> None:
        """Order one party to give up."""
        name = self._victim(number)
        self.gave_up |= self.parties[name].phase is Phase.GATHERING
        self._after(name, self.parties[name], self.parties[name].give_up(Reason.ORDER))

    def _victim(self, number: int) -> str:
        return sorted(self.honest)[number % len(self.honest)]

    def _restart(self, name: str) -> None:
        before = self.disk[name]
        self.parties[name] = Party.restore(before, sign=identity(name).sign, suite=self.suite)
        assert self.parties[name].state() == before
        self._say(name, self.parties[name].sent)

    def _arrive(self, recipient: str, data: bytes) -> None:
        try:
            message = SignedMessage.decode(data)
        except InvalidInputError:
            return
        if recipient == BOARD:
            self._post(message)
            return
        party = self.parties[recipient]
        self._after(recipient, party, party.receive(message))

    def _post(self, message: SignedMessage) -> None:
        try:
            self.board.post(message)
        except (UnauthenticatedError, ConflictError):
            return

    def _after(self, name: str, party: Party, said: tuple[SignedMessage, ...]) -> None:
        """Store, then send."""
        if name in self.disk:
            self.disk[name] = party.state()
            if party.outcome and party.outcome.key:
                self.committed.setdefault(name, party.outcome.key)
        self._say(name, said)

    def _say(self, name: str, said: tuple[SignedMessage, ...]) -> None:
        for message in said:
            recipients = [one for one in (*self.parties, BOARD) if one != name]
            for place, recipient in enumerate(recipients):
                for version in self._versions(name, message)[place % 2]:
                    self.in_flight.append((recipient, version.encoded))
                    self.addressed[recipient, version.encoded] = None

    def _versions(self, name: str, message: SignedMessage) -> tuple[list[SignedMessage], list[SignedMessage]]:
        """Return what a party says to each side."""
        party = self.parties[name]
        return party.told[message.encoded] if isinstance(party, Liar) else ([message], [message])
