"""Work on many elements, on all cores that this process may use.

Threads, not processes: libsodium computes without Python's lock, so that two threads keep two cores busy (the suite
`oprf` of tests/benchmarks measures it), nothing is copied, no secret goes to another process, and nothing has to be
kept running.
"""

import os
from collections.abc import Callable, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from jointrisk.errors import InvalidInputError, TooLargeError

MAX_BATCH = 4096
"""The greatest number of elements in one request."""

_SMALL = 16  # Below, starting threads costs more than they save.
_CHUNKS_PER_CORE = 4  # A core that others use, too, holds up less.

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Spread(Protocol):
    """How work on many elements is spread: cuts the items in chunks and returns the results in the chunks' order."""

    def __call__(self, work: Callable[[Sequence[_Item]], _Result], items: Sequence[_Item], /) -> list[_Result]:
        """Work on all chunks. The first error of one ends the whole."""
        ...


def require_batch(items: Sized) -> None:
    """Refuse a batch with nothing in it, or with too much.

    Raises:
        InvalidInputError: there is nothing in it.
        TooLargeError: there are more than `MAX_BATCH`.
    """
    if not len(items):
        raise InvalidInputError("expected at least one element in a batch, got none")
    if len(items) > MAX_BATCH:
        raise TooLargeError(f"expected at most {MAX_BATCH} elements in a batch, got {len(items)}")


def in_chunks(work: Callable[[Sequence[_Item]], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Cut the items in chunks, work on them at the same time, and return the results in the chunks' order.

    Args:
        work: called with each chunk, which is not empty. Its first error ends the whole.
        items: what to work on.
    """
    if len(items) < _SMALL or (cores := _cores()) == 1:
        return [work(items)] if items else []
    size = -(-len(items) // (cores * _CHUNKS_PER_CORE))
    chunks = [items[begin : begin + size] for begin in range(0, len(items), size)]
    with ThreadPoolExecutor(cores, thread_name_prefix="oprf") as pool:
        return list(pool.map(work, chunks))


def map_items(
    function: Callable[[_Item], _Result], items: Sequence[_Item], spread: Spread = in_chunks
) -> list[_Result]:
    """Return the function's result for each item, in order, computed on all cores unless it is spread otherwise."""
    done = spread(lambda chunk: [function(item) for item in chunk], items)
    return [result for chunk in done for result in chunk]


def _cores() -> int:
    """Return how many cores this thread may use; not every system can tell."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
