"""The aggregation seam with secure sums: several exchanges with the cohort for each sum, whatever happens in between.

What is fixed is written down before the next step is asked: who was taken into each step. A worker that begins again
makes the same requests, byte for byte, and goes on. An attempt in which too few are left before survivors are asked to
sign is given up, and the next has fresh keys. After that there is no other attempt (docs/protocol.md 6.3, never-again):
who is missing is asked again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from jointrisk.errors import DeadlineError, JointriskError, RefusedError, UnavailableError
from jointrisk.learning.aggregation import Aggregate, Bounds, Cohort, Form, Ranges
from jointrisk.learning.flower import Message, RecordDict, decode, encode
from jointrisk.learning.guarantee import Guarantee
from jointrisk.learning.secure_aggregation import Aggregator, Kind, Layout, Mode, RuleError, Sums
from jointrisk.learning.secure_aggregation.sharing import Randomness
from jointrisk.learning.secure_aggregation.terms import SESSION_LENGTH
from jointrisk.learning.secure_runs import layouts
from jointrisk.learning.secure_runs.content import Asked, read_reply, request_content, wire_kind
from jointrisk.learning.secure_runs.notes import Note, Notebook
from jointrisk.learning.secure_runs.series import Series
from jointrisk.learning.secure_runs.sitting import Sitting

_BEFORE_SIGNING = (Kind.KEYS, Kind.SHARES, Kind.MASKED)


class SecureAggregation:
    """See :class:`jointrisk.learning.aggregation.Aggregation`.

    Args:
        sitting: what is the same in all sums.
        notebook: keeps what has to outlive this process.
        randomness: `os.urandom` outside tests.
        patience: how often members are asked again after survivors were asked to sign.
        pause: seconds before that.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        sitting: Sitting,
        notebook: Notebook,
        *,
        randomness: Randomness,
        patience: int = 3,
        pause: float = 2.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sitting = sitting
        self._notebook = notebook
        self._randomness = randomness
        self._patience = patience
        self._pause = pause
        self._sleep = sleep
        self._series = Series(sitting, notebook, randomness)

    def mean(self, cohort: Cohort, messages: Sequence[Message], ranges: Ranges) -> Aggregate:
        """Ask every member; the mean is of updates, fixed point (`layouts`)."""
        asked = _asked(messages, "mean", layouts.names_of(ranges))
        layout = layouts.mean_layout(messages[0], ranges)
        return self._sum(cohort, messages, asked, layout, lambda sums: layouts.mean_reply(messages[0], ranges, sums))

    def sum(
        self,
        cohort: Cohort,
        messages: Sequence[Message],
        form: Form,
        most: Bounds = MappingProxyType({}),
        *,
        whole: bool = False,
    ) -> Aggregate:
        """Ask every member; whole numbers are summed exactly, others in units of 2^-20. ``whole`` in a series."""
        asked = _asked(messages, "sum", tuple(form))
        layout = layouts.sum_layout(form, most)
        if whole:
            return self._whole(cohort, messages, asked, layout, form)
        return self._sum(cohort, messages, asked, layout, lambda sums: layouts.sum_reply(form, sums))

    def forget(self, number: int) -> None:
        """Delete what was kept of the rounds up to this one: it is complete."""
        self._notebook.forget(number)

    def _sum(
        self,
        cohort: Cohort,
        messages: Sequence[Message],
        asked: Asked,
        layout: Layout,
        reply: Callable[[Sums], RecordDict],
    ) -> Aggregate:
        number, statistic = cohort.round, _statistic(asked.kind)
        request = asked.digest()
        known = self._notebook.result(number, statistic)
        if known is not None and known[0]["request"] == request.hex():
            return _aggregate(known[0], decode(known[1]), messages[0])
        note = self._note(number, statistic, request, layout)
        session = _Session(cohort, note, asked, self._keeper(number), lambda: self._sleep(self._pause))
        refused = session.gather(self._patience)
        if refused is not None:
            return refused
        facts = self._finish(session) | {"request": request.hex()}
        outcome = session.aggregator.outcome
        if outcome is None:
            raise UnavailableError("expected the outcome of a secure sum, got none")
        content = encode(reply(outcome.sums))
        self._notebook.finish(number, statistic, facts, content)
        return _aggregate(facts, decode(content), messages[0])

    def _whole(
        self, cohort: Cohort, messages: Sequence[Message], asked: Asked, layout: Layout, form: Form
    ) -> Aggregate:
        """Ask the members of a series."""
        named = {number: name for name, number in cohort.numbers.items()}
        names = tuple(named[message.metadata.dst_node_id] for message in messages)
        numbers = self._sitting.parameters
        guarantee = Guarantee("secure", numbers.parties, numbers.colluders, numbers.threshold, numbers.minimum)
        found = self._series.sum(cohort, names, asked, layout)
        if not isinstance(found, Sums):
            here = tuple(name for name in names if name not in found)
            return Aggregate(None, here, tuple(sorted(found)), found, guarantee)
        return Aggregate(Message(layouts.sum_reply(form, found), reply_to=messages[0]), names, (), {}, guarantee)

    def _keeper(self, number: int) -> Callable[[Note], None]:
        return lambda note: self._notebook.write(number, note.terms.statistic, note)

    def _note(self, number: int, statistic: str, request: bytes, layout: Layout) -> Note:
        """Return the attempt that goes on, or begin a new one."""
        note = self._notebook.read(number, statistic)
        if note is not None and not note.over and (note.terms.request, note.terms.layout) == (request, layout):
            return note
        attempt = note.terms.attempt + 1 if note is not None else 1
        session = self._randomness(SESSION_LENGTH)
        begun = Note(
            self._sitting.terms(
                Mode.ROUND,
                session=session,
                number=number,
                attempt=attempt,
                statistic=statistic,
                request=request,
                layout=layout,
            )
        )
        self._notebook.write(number, statistic, begun)
        return begun

    def _finish(self, session: "_Session") -> dict[str, object]:
        """Have the survivors sign and release, as often as it takes; there is no other attempt."""
        while session.aggregator.outcome is None:
            session.exchange(self._patience)
            session.advance()
        return session.facts()


class _Session:
    """One attempt: the protocol's state machine, and the cohort."""

    def __init__(
        self,
        cohort: Cohort,
        note: Note,
        asked: Asked,
        keep: Callable[[Note], None],
        rest: Callable[[], None],
    ) -> None:
        self.aggregator = Aggregator(note.terms)
        self._cohort = cohort
        self._note = note
        self._asked = asked
        self._keep = keep
        self._rest = rest
        self._failures: dict[str, str] = {}

    def gather(self, patience: int) -> Aggregate | None:
        """Come to a set of survivors; return why not, when too few are left."""
        while self.aggregator.kind in _BEFORE_SIGNING:
            self.exchange(patience if self._may_be_signed else 0)
            if not self.is_enough:
                if self._may_be_signed:
                    raise DeadlineError(f"too few members came back to finish a secure sum. {self._reasons()}")
                self._keep(replace(self._note, over=True))
                missing = {name: self._failures.get(name, "no answer in time") for name in self.aggregator.waiting()}
                missing |= self._failures
                here = tuple(name for name in self._note.terms.names if name not in missing)
                return Aggregate(None, here, tuple(sorted(missing)), missing, self._guarantee())
            self.advance()
        return None

    @property
    def is_enough(self) -> bool:
        """Whether the step can end: after a kill, with the very members with whom it had ended."""
        waiting = self.aggregator.waiting()
        return self.aggregator.is_enough and not (self._is_repeated and set(self._expected()) & set(waiting))

    def exchange(self, patience: int = 0) -> None:
        """Ask who has not replied in this step, and again as often as ``patience`` says while there are too few."""
        for turn in range(patience + 1):
            if turn:
                self._rest()
            self._exchange()
            if self.is_enough:
                return

    def _exchange(self) -> None:
        kind, requests = self.aggregator.kind, self.aggregator.requests()
        content = request_content(requests, self._asked if kind is Kind.MASKED else None)
        wanted = [name for name in self._expected() if name in self.aggregator.waiting()]
        if not wanted:
            return
        messages = [Message(content, self._cohort.numbers[name], wire_kind(kind)) for name in wanted]
        label = self._note.terms.digest.hex()
        done = self._cohort.collect(messages, self._take, quorum=self._quorum(len(wanted)), label=label)
        self._failures |= done.failures
        for name in done.members:
            self._failures.pop(name, None)

    def advance(self) -> None:
        """End the step, after it is written down who is in it."""
        step = self.aggregator.kind
        waiting = set(self.aggregator.waiting())
        taken = tuple(name for name in self.aggregator.requests() if name not in waiting)
        if not self._is_repeated and step is not Kind.RELEASE and self.is_enough:
            self._note = self._note.ended(taken)
            self._keep(self._note)
        try:
            self.aggregator.advance()
        except UnavailableError as error:
            raise DeadlineError(f"{error.message}. {self._reasons()}") from None
        except RuleError as error:
            about = f" (about {error.about})" if error.about else ""
            raise RefusedError(f"{error.message}{about}. {self._reasons()}") from None

    def facts(self) -> dict[str, object]:
        """Return what people are told, as plain JSON data."""
        outcome = self.aggregator.outcome
        members = outcome.members if outcome is not None else ()
        missing = {name: self._failures.get(name, "no answer in time") for name in self._note.terms.names}
        left = {name: reason for name, reason in missing.items() if name not in members}
        return {"members": list(members), "failures": left, "guarantee": self._guarantee().as_json()}

    @property
    def _is_repeated(self) -> bool:
        """Whether this step had ended before the process did."""
        return self.aggregator.kind <= len(self._note.steps)

    @property
    def _may_be_signed(self) -> bool:
        return len(self._note.steps) >= Kind.MASKED

    def _expected(self) -> tuple[str, ...]:
        """Return who is asked in this step: if it had ended before, who was taken then."""
        if self._is_repeated:
            return self._note.steps[self.aggregator.kind - 1]
        return tuple(self.aggregator.requests())

    def _quorum(self, wanted: int) -> int:
        """Return how many of those that are asked now have to reply."""
        terms, kind = self._note.terms, self.aggregator.kind
        if self._is_repeated:
            return wanted
        here = len(self.aggregator.requests()) - len(self.aggregator.waiting())
        needed = terms.parameters.needed if kind in _BEFORE_SIGNING else terms.threshold
        return max(needed - here, 1)

    def _take(self, member: str, reply: RecordDict) -> None:
        self.aggregator.take(member, read_reply(reply))

    def _guarantee(self) -> Guarantee:
        parameters, outcome = self._note.terms.parameters, self.aggregator.outcome
        dropped = {} if outcome is None else {name: kind.name.lower() for name, kind in outcome.dropped.items()}
        silent = () if outcome is None else outcome.silent
        numbers = (parameters.parties, parameters.colluders, parameters.threshold, parameters.minimum)
        return Guarantee("secure", *numbers, dropped, silent)

    def _reasons(self) -> str:
        return "; ".join(f"{member}: {reason}" for member, reason in sorted(self._failures.items()))


def _asked(messages: Sequence[Message], how: str, names: tuple[str, ...]) -> Asked:
    """Return the question, which has to be one and the same for all members."""
    first = messages[0]
    if any(message.content is not first.content for message in messages):
        encoded = encode(first.content)
        if any(encode(message.content) != encoded for message in messages):
            raise RefusedError("expected the same question to every member of a secure sum, got different ones")
    return Asked(first.metadata.message_type, "sum" if how == "sum" else "mean", names, first.content)


def _statistic(kind: str) -> str:
    return kind.replace(".", "-").replace("_", "-")


def _aggregate(facts: Mapping[str, object], reply: RecordDict, asked: Message) -> Aggregate:
    members, failures, guarantee = facts["members"], facts["failures"], facts["guarantee"]
    if not isinstance(members, list) or not isinstance(failures, dict) or not isinstance(guarantee, dict):
        raise JointriskError("expected what a secure sum came to, got something else")
    missing = tuple(sorted(failures))
    return Aggregate(Message(reply, reply_to=asked), tuple(members), missing, failures, Guarantee.from_json(guarantee))
