"""Charges from the event loop: one thread writes, and those that come together share one fsync."""

import asyncio
import queue
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import lmdb

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import JointriskError, UnavailableError
from jointrisk_node.evaluations.charges import Charge, ChargeBook, Outcome

_AT_ONCE: Final = 256
_Pending = asyncio.Future[Outcome]


class _Waiting(NamedTuple):
    charge: Charge
    pending: _Pending


_Settled = tuple[_Waiting, Outcome | Exception]


class ChargeWriter:
    """Charges requests one after the other, in the order in which they come.

    Args:
        book: the accounts.
        clock: the time of charges.
    """

    def __init__(self, book: ChargeBook, clock: Clock = utc_now) -> None:
        self._book = book
        self._clock = clock
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start the thread. From the event loop whose tasks charge."""
        self._loop = loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(loop,), name="evaluation-charges", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Charge what waits, and end the thread; nothing is charged any more."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(thread.join)

    def charge(self, charge: Charge) -> _Pending:
        """Charge a request; when what is returned is done, that is on the disk.

        Returns:
            How it was taken; or the errors of `ChargeBook.charge_in`, or UnavailableError: it could not be written.

        Raises:
            UnavailableError: the writer does not run.
        """
        if self._loop is None or self._thread is None:
            raise UnavailableError("this holder is stopping", remedy="Ask another holder.")
        pending: _Pending = self._loop.create_future()
        self._queue.put(_Waiting(charge, pending))
        return pending

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (first := self._queue.get()) is not None:
            waiting, ends = self._with_others(first)
            _tell(loop, self._written(waiting))
            if ends:
                return

    def _with_others(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """Return what waits by now, and whether the end is asked for after it."""
        waiting = [first]
        while len(waiting) < _AT_ONCE:
            try:
                one = self._queue.get_nowait()
            except queue.Empty:
                break
            if one is None:
                return waiting, True
            waiting.append(one)
        return waiting, False

    def _written(self, waiting: Sequence[_Waiting]) -> list[_Settled]:
        try:
            with self._book.environment.begin(write=True) as transaction:
                settled = [(one, self._tried(transaction, one.charge)) for one in waiting]
        except (lmdb.Error, UnavailableError) as error:
            refused = UnavailableError(
                f"evaluations cannot be charged: {type(error).__name__}", remedy="Is the holder's disk full?"
            )
            return [(one, refused) for one in waiting]
        except Exception as error:  # noqa: BLE001 - the thread goes on; nobody is answered
            return [(one, error) for one in waiting]
        return settled

    def _tried(self, transaction: lmdb.Transaction, charge: Charge) -> Outcome | Exception:
        try:
            return self._book.charge_in(transaction, charge, self._clock())
        except UnavailableError:
            raise  # nothing of the transaction may stay
        except JointriskError as error:
            return error


def _tell(loop: asyncio.AbstractEventLoop, settled: Sequence[_Settled]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: Sequence[_Settled]) -> None:
    for (_, pending), outcome in settled:
        if pending.done():  # who waited has been cancelled
            continue
        if isinstance(outcome, Exception):
            pending.set_exception(outcome)
        else:
            pending.set_result(outcome)
