"""Charges from the event loop: those that come together share one fsync.

The loop's own thread writes. A thread of its own was measured and is slower: LMDB lets go of Python's lock at every
call, and so does the group, so that two threads hand it to and fro some twenty times for one evaluation, 50 to 150 us
each time. The commit alone is one call, in which the disk is waited for: what a request asks for is computed meanwhile.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import lmdb

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import JointriskError, UnavailableError
from jointrisk_node.evaluations.charges import Charge, ChargeBook, Outcome

_Pending = asyncio.Future[Outcome]


class _Waiting(NamedTuple):
    charge: Charge
    pending: _Pending
    meanwhile: Callable[[], object]


def _nothing() -> None:
    pass


class ChargeWriter:
    """Charges requests one after the other, in the order in which they come. For one event loop.

    Args:
        book: the accounts.
        clock: the time of charges.
    """

    def __init__(self, book: ChargeBook, clock: Clock = utc_now) -> None:
        self._book = book
        self._clock = clock
        self._waiting: list[_Waiting] = []

    def charge(self, charge: Charge, meanwhile: Callable[[], object] = _nothing) -> _Pending:
        """Charge a request; when what is returned is done, that is on the disk.

        It is written when the loop comes to it; charges of other requests that have come by then are written together
        with it.

        Args:
            charge: the request.
            meanwhile: called when the request may be charged, before the disk is waited for: starts what is computed
                in another thread at the same time. It raises nothing.

        Returns:
            How it was taken; or the errors of `ChargeBook.charge_in`, or UnavailableError: it could not be written.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._write)
        pending: _Pending = loop.create_future()
        self._waiting.append(_Waiting(charge, pending, meanwhile))
        return pending

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one, outcome in zip(waiting, self._written(waiting), strict=True):
            if one.pending.done():  # who waited has been cancelled; the charge stays
                continue
            if isinstance(outcome, Exception):
                one.pending.set_exception(outcome)
            else:
                one.pending.set_result(outcome)

    def _written(self, waiting: Sequence[_Waiting]) -> Sequence[Outcome | Exception]:
        try:
            return self._committed(waiting)
        except (lmdb.Error, UnavailableError) as error:
            refused = UnavailableError(
                f"evaluations cannot be charged: {type(error).__name__}", remedy="Is the holder's disk full?"
            )
            return [refused] * len(waiting)
        except Exception as error:  # noqa: BLE001 - every asker is told; nothing was written, nobody is answered
            return [error] * len(waiting)

    def _committed(self, waiting: Sequence[_Waiting]) -> list[Outcome | Exception]:
        with self._book.environment.begin(write=True) as transaction:
            outcomes = [self._tried(transaction, one.charge) for one in waiting]
            for one, outcome in zip(waiting, outcomes, strict=True):
                if not isinstance(outcome, Exception):
                    one.meanwhile()
        return outcomes

    def _tried(self, transaction: lmdb.Transaction, charge: Charge) -> Outcome | Exception:
        try:
            return self._book.charge_in(transaction, charge, self._clock())
        except UnavailableError:
            raise  # nothing of the transaction may stay
        except JointriskError as error:
            return error
