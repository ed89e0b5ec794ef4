"""Long sequences in parts: a statement takes so many values and no more."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_T = TypeVar("_T")


def batches(items: Iterable[_T], size: int) -> Iterator[tuple[_T, ...]]:
    """Yield the items in order, as many at a time as ``size`` says, fewer at the end."""
    rest = iter(items)
    while part := tuple(islice(rest, size)):
        yield part
