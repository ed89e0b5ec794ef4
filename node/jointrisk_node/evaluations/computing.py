"""Multiplying with the share, so that a book that is screened never keeps an application waiting.

Requests of up to `ONLINE_AT_MOST` elements are *online*, all others *bulk*. Online requests are computed while the
loop's thread waits for their charges to be on the disk: those of a person or two by one thread, larger ones by another,
so that a person waits behind other single persons only. Bulk requests wait in a bounded queue for threads on all cores
but one; each is computed in slices, and before each slice the thread gives way to online work and looks whether anybody
still waits for the result. libsodium computes without Python's lock, so that a slice keeps the others out for
microseconds only.
"""

import asyncio
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Final, Generic, TypeVar

from jointrisk.errors import DeadlineError, UnavailableError
from jointrisk.oprf.group import Randomness, in_one_piece
from jointrisk.oprf.holder import Evaluation, evaluate_share
from jointrisk_node.background import background_threads
from jointrisk_node.evaluations.shares import Held

ONLINE_AT_MOST: Final = 64
"""The most elements of an online request."""

WAITING_AT_MOST: Final = 64
"""Bulk requests in the queue, those that are computed included."""

WAITING_OF_ONE: Final = 16
"""Bulk requests of one asker."""

ONLINE_OF_ONE: Final = 32
"""Online requests of one asker at the same time; others wait for no more of them than that."""

ONLINE_OF_ALL: Final = 256
"""Online requests of all askers at the same time."""

_FEW: Final = 2  # elements: a person or two, 0.4 to 0.6 ms
_SLICE: Final = 16  # elements; a millisecond
_GIVES_WAY: Final = 0.005  # seconds; then a slice is computed all the same, so that bulk goes on
_SWITCH_SECONDS: Final = 0.0001  # in place of 5 ms, which an online request would wait for each time it wants the lock

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Precedence:
    """Who goes first: bulk threads wait a little while online work is there. Safe from any thread."""

    def __init__(self) -> None:
        self._online = 0
        self._lock = threading.Lock()
        self._quiet = threading.Event()
        self._quiet.set()

    @contextmanager
    def online(self) -> Iterator[None]:
        """Mark online work for the time of the block."""
        with self._lock:
            self._online += 1
            self._quiet.clear()
        try:
            yield
        finally:
            with self._lock:
                self._online -= 1
                if not self._online:
                    self._quiet.set()

    def give_way(self) -> None:
        """Wait while online work is there, but not for long."""
        self._quiet.wait(_GIVES_WAY)


class Places:
    """A bounded number of places for requests that wait or are computed, and of these for each asker. For one loop.

    Args:
        all_together: how many.
        of_one: of one asker.
    """

    def __init__(self, all_together: int, of_one: int) -> None:
        self._all_together = all_together
        self._of_one = of_one
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self._taken.total()

    @contextmanager
    def place(self, asker: str) -> Iterator[None]:
        """Keep a place for the time of the block.

        Raises:
            UnavailableError: none is free, or this asker has its part of them.
        """
        if self.taken >= self._all_together or self._taken[asker] >= self._of_one:
            raise UnavailableError(
                f"this holder is busy: {self.taken} places are taken, {self._taken[asker]} of them yours",
                remedy="Send the next one when one is answered.",
            )
        self._taken[asker] += 1
        try:
            yield
        finally:
            self._taken[asker] -= 1


class Evaluator:
    """Computes answers. For one event loop.

    Args:
        randomness: of proofs.
        bulk_threads: threads for bulk work; None for all cores but one.

    Attributes:
        precedence: of online work.
        online_places: for online requests.
        bulk_places: for bulk requests.
    """

    def __init__(self, randomness: Randomness = os.urandom, bulk_threads: int | None = None) -> None:
        sys.setswitchinterval(_SWITCH_SECONDS)  # of the whole process; it costs bulk work nothing that can be measured
        self.precedence = Precedence()
        self._randomness = randomness
        threads = bulk_threads or max(1, len(os.sched_getaffinity(0)) - 1)
        self._bulk = background_threads(threads, "evaluation-bulk")
        self._few = ThreadPoolExecutor(1, thread_name_prefix="evaluation-few")
        self._online = ThreadPoolExecutor(1, thread_name_prefix="evaluation-online")
        self.online_places = Places(ONLINE_OF_ALL, ONLINE_OF_ONE)
        self.bulk_places = Places(WAITING_AT_MOST, WAITING_OF_ONE)

    def close(self) -> None:
        """End the threads; what waits is not computed."""
        for pool in (self._bulk, self._online, self._few):
            pool.shutdown(wait=False, cancel_futures=True)

    def online(
        self, held: Held, quorum: Sequence[int], blinded: Sequence[bytes], then: Callable[[Evaluation], _Result]
    ) -> "Begun[_Result]":
        """Begin to answer an online request.

        Args:
            held: the share.
            quorum: the indices of all that are asked.
            blinded: the elements; one that is not valid is an InvalidInputError of the result.
            then: what else there is to compute, such as a signature.
        """

        def work() -> _Result:
            return then(evaluate_share(held.share, held.index, quorum, blinded, self._randomness, _in_one))

        if len(blinded) <= _FEW:
            return Begun(self._few.submit(in_one_piece()(work)))
        return Begun(self._online.submit(work))

    async def bulk(
        self, held: Held, quorum: Sequence[int], blinded: Sequence[bytes], time_left: float | None
    ) -> Evaluation:
        """Answer a bulk request, unless its asker gives up before. The caller keeps a place.

        Args:
            held: the share.
            quorum: the indices of all that are asked.
            blinded: the elements.
            time_left: seconds until the asker's deadline; None for no deadline.

        Raises:
            InvalidInputError: an element is not valid.
            DeadlineError: the deadline has passed.
        """
        gone = threading.Event()
        ends = None if time_left is None else time.monotonic() + time_left

        def check() -> None:
            self.precedence.give_way()
            if gone.is_set() or (ends is not None and time.monotonic() >= ends):
                raise DeadlineError("nobody waits for this answer any more")

        work = partial(evaluate_share, held.share, held.index, quorum, blinded, self._randomness, _Slices(check))
        return await _until_nobody_waits(self._bulk, work, gone)


class Begun(Generic[_Result]):
    """What a thread computes.

    Args:
        future: of the thread.
    """

    def __init__(self, future: Future[_Result]) -> None:
        self._future = future

    async def result(self) -> _Result:
        """Return it, or raise what its computation raised."""
        # Mostly it is there: then the loop needs no word from the thread.
        return self._future.result() if self._future.done() else await asyncio.wrap_future(self._future)


class _Slices:
    """Spreads work over time: slice after slice, with a check before each."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def __call__(self, work: Callable[[Sequence[_Item]], _Result], items: Sequence[_Item], /) -> list[_Result]:
        done = []
        for begin in range(0, len(items), _SLICE):
            self._check()
            done.append(work(items[begin : begin + _SLICE]))
        return done


def _in_one(work: Callable[[Sequence[_Item]], _Result], items: Sequence[_Item], /) -> list[_Result]:
    return [work(items)]


async def _until_nobody_waits(pool: Executor, work: Callable[[], Evaluation], gone: threading.Event) -> Evaluation:
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, work)
    except asyncio.CancelledError:
        gone.set()
        raise
