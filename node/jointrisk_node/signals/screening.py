"""Asking about a book: persons in parts that holders take in full batches, while the next part is read."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from jointrisk.errors import InvalidInputError
from jointrisk_node.signals.answer import Signal
from jointrisk_node.signals.desk import EpochAsked, SignalDesk, Terms
from jointrisk_node.signals.person import Given, Person, person_of

PART: Final = 4 * 4096
"""Identifiers that are asked about together, or persons that are answered for together, at least: four full batches, of
which the asker keeps two on their way."""

_AT_ONCE: Final = 32  # persons read before others have their turn


@dataclass(frozen=True, slots=True)
class Row:
    """A person of a book, as it came in.

    Attributes:
        number: the caller's number of it.
        identifiers: in any spelling.
    """

    number: int
    identifiers: tuple[Given, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Screened:
    """What became of a part of a book.

    Attributes:
        persons: how many it holds, those included that were refused.
        found: by row, what is listed about those about whom something is.
        refused: by row, the rule that an identifier breaks; nothing was asked about these.
        epochs: how each epoch was asked; empty where nothing was asked.
    """

    persons: int
    found: list[tuple[int, Signal]] = field(repr=False)
    refused: list[tuple[int, str]]
    epochs: tuple[EpochAsked, ...]


@dataclass(slots=True)
class _Part:
    persons: int = 0
    rows: list[int] = field(default_factory=list)
    sound: list[Person] = field(default_factory=list, repr=False)
    refused: list[tuple[int, str]] = field(default_factory=list)
    identifiers: int = 0

    def add(self, row: Row) -> None:
        self.persons += 1
        try:
            person = person_of(row.identifiers)
        except InvalidInputError as error:
            self.refused.append((row.number, error.message))
            return
        self.rows.append(row.number)
        self.sound.append(person)
        self.identifiers += len(person.identifiers)


async def screened(
    desk: SignalDesk, terms: Terms, rows: AsyncIterator[Sequence[Row]], *, part: int = PART
) -> AsyncIterator[Screened]:
    """Ask about a book, and yield what became of each part, in order.

    Args:
        desk: asks.
        terms: why.
        rows: the persons.
        part: how many identifiers are asked about together, or persons answered for, at least.

    Raises:
        JointriskError: as `SignalDesk.ask`; what was yielded before stays true.
    """
    parts = _parts(rows, part)
    reading = asyncio.ensure_future(anext(parts, None))
    try:
        while (now := await reading) is not None:
            reading = asyncio.ensure_future(anext(parts, None))
            yield await _answered(desk, terms, now)
    finally:
        reading.cancel()


async def _answered(desk: SignalDesk, terms: Terms, part: _Part) -> Screened:
    if not part.sound:
        return Screened(part.persons, [], part.refused, ())
    answers = await desk.ask(part.sound, terms, bulk=True)
    told = zip(part.rows, answers.signals, strict=True)
    found = [(row, signal) for row, signal in told if not signal.is_empty]
    return Screened(part.persons, found, part.refused, answers.epochs)


async def _parts(rows: AsyncIterator[Sequence[Row]], least: int) -> AsyncIterator[_Part]:
    part = _Part()
    async for some in rows:
        for place in range(0, len(some), _AT_ONCE):
            _add(part, some[place : place + _AT_ONCE])
            await asyncio.sleep(0)
            if part.identifiers >= least or part.persons >= least:
                yield part
                part = _Part()
    if part.persons:
        yield part


def _add(part: _Part, rows: Iterable[Row]) -> None:
    for row in rows:
        part.add(row)
