"""Sums of one cohort under one set of keys: one exchange for each, and whoever is missing ends the series.

For sums that are of use only if the very members of the one before are in them: the levels of a tree after its first,
and the evaluations of trees. A worker that begins again begins a new series; the same question to the same members is
answered again, under fresh masks.
"""

from collections.abc import Mapping, Sequence

from jointrisk.learning.aggregation import Cohort
from jointrisk.learning.flower import Message, RecordDict
from jointrisk.learning.secure_aggregation import Kind, Layout, Mode, SeriesAggregator, Sums, Terms
from jointrisk.learning.secure_aggregation.sharing import Randomness
from jointrisk.learning.secure_aggregation.terms import SESSION_LENGTH
from jointrisk.learning.secure_runs.content import Asked, read_reply, request_content, wire_kind
from jointrisk.learning.secure_runs.notes import Note, Notebook
from jointrisk.learning.secure_runs.sitting import Sitting

STATISTIC = "series"
"""What the terms of a series name."""


class Series:
    """The series of a run, one after the other.

    Args:
        sitting: what is the same in all sums.
        notebook: keeps what has to outlive this process.
        randomness: `os.urandom` outside tests.
    """

    def __init__(self, sitting: Sitting, notebook: Notebook, randomness: Randomness) -> None:
        self._sitting = sitting
        self._notebook = notebook
        self._randomness = randomness
        self._names: tuple[str, ...] = ()
        self._aggregator: SeriesAggregator | None = None
        self._number = 0

    def sum(self, cohort: Cohort, names: Sequence[str], asked: Asked, layout: Layout) -> Sums | Mapping[str, str]:
        """Return the sum of these members' inputs, or why members are missing: then the series has ended.

        Args:
            cohort: the participants.
            names: who is asked; another set than before begins a new series.
            asked: the question.
            layout: of the inputs.
        """
        if self._aggregator is None or set(names) != set(self._names):
            self._aggregator, self._names, self._number = SeriesAggregator(self._terms(cohort.round)), tuple(names), 0
            for _ in (Kind.KEYS, Kind.AGREE):
                if failures := self._exchange(cohort, self._aggregator):
                    return failures
                self._aggregator.advance()
        self._number += 1
        self._aggregator.ask(self._number, asked.digest(), layout)
        aggregator = self._aggregator
        return self._exchange(cohort, aggregator, asked) or aggregator.outcome().sums

    def _exchange(self, cohort: Cohort, aggregator: SeriesAggregator, asked: Asked | None = None) -> Mapping[str, str]:
        """Ask every member of the series once; return why members are missing."""
        requests = {name: frame for name, frame in aggregator.requests().items() if name in self._names}
        content = request_content(requests, asked)
        kind, label = wire_kind(aggregator.kind), f"{aggregator.terms.digest.hex()}/{self._number}"
        messages = [Message(content, cohort.numbers[name], kind) for name in requests]

        def take(member: str, reply: RecordDict) -> None:
            aggregator.take(member, read_reply(reply))

        done = cohort.collect(messages, take, quorum=len(messages), label=label)
        if done.failures:
            self._aggregator = None
        return done.failures

    def _terms(self, number: int) -> Terms:
        """Return terms that no series had before, and write down that it begins."""
        note = self._notebook.read(number, STATISTIC)
        attempt = note.terms.attempt + 1 if note is not None else 1
        session = self._randomness(SESSION_LENGTH)
        terms = self._sitting.terms(Mode.SERIES, session=session, number=number, attempt=attempt, statistic=STATISTIC)
        self._notebook.write(number, STATISTIC, Note(terms))
        return terms
