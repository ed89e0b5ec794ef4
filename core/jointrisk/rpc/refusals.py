"""Puts refused calls on record: of each caller a bounded number a minute, and how many were left out."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, NamedTuple

import structlog

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import JointriskError
from jointrisk.rpc.guard import Context, Refused
from jointrisk.throttle import Throttle

A_MINUTE: Final = 30
"""Refused calls of one caller that are recorded within a minute."""

log = structlog.get_logger()


class Who(NamedTuple):
    """Who called.

    Attributes:
        counted: whose minute it is; of few values, whatever callers do.
        shown: what the record says.
    """

    counted: str
    shown: str


def recorder(
    append: Callable[..., Awaitable[object]],
    who: Callable[[Context], Who],
    *,
    event: str = "rpc.refused",
    a_minute: int = A_MINUTE,
    clock: Clock = utc_now,
) -> Refused:
    """Return what a `jointrisk.rpc.guard.Guard` tells of refused calls.

    Args:
        append: writes an audit record: the event, and fields by name.
        who: tells who called.
        event: of the record, and of the line in the log.
        a_minute: records of one caller within a minute.
        clock: the time.
    """
    throttles: dict[str, Throttle] = {}

    async def record(context: Context, method: str, error: JointriskError) -> None:
        counted, caller = who(context)
        throttle = throttles.setdefault(counted, Throttle(a_minute, timedelta(minutes=1)))
        unrecorded = throttle.passes(clock())
        if unrecorded is None:
            return
        log.warning(event, caller=caller, method=method, code=error.code)
        await append(event, caller=caller, method=method, code=error.code, unrecorded=unrecorded)

    return record
