"""What this node's audit log is told of training: runs it takes part in, refusals, rules that the coordinator broke."""

import asyncio
from datetime import timedelta
from typing import Protocol

import structlog

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import JointriskError
from jointrisk.federation.policy import RunOffer
from jointrisk.foreign_text import printable
from jointrisk.throttle import Throttle

log = structlog.get_logger()

_A_MINUTE = 60
_LONGEST_REASON = 500


class Audit(Protocol):
    """The part of :class:`jointrisk.store.AuditLog` that is needed here."""

    def append(self, event: str, /, **fields: str | int) -> object:
        """Write an entry, durably."""


class TrainingRecord:
    """Writes to the audit log, of each kind of event a bounded number a minute.

    Args:
        audit: the log.
        clock: the time.
    """

    def __init__(self, audit: Audit, clock: Clock = utc_now) -> None:
        self._audit = audit
        self._clock = clock
        self._throttles: dict[str, Throttle] = {}

    async def accepted(self, offer: RunOffer) -> None:
        """Note that this node takes part in a run."""
        await self._append(
            "training.accepted",
            run_id=offer.run_id,
            task=offer.task,
            members=len(offer.members),
            minimum_members=offer.minimum_members,
            contract_version=offer.contract_version,
        )

    async def refused(self, run_id: str, kind: str, code: str, reason: str) -> None:
        """Note that this node did not do what it was asked."""
        await self._append(
            "training.refused", run_id=run_id, kind=kind, code=code, reason=printable(reason, _LONGEST_REASON)
        )

    async def rule_broken(self, error: JointriskError) -> None:
        """Note that the coordinator said something that it may not say."""
        reason = printable(error.message, _LONGEST_REASON)
        log.warning("training.rule_broken", code=error.code, reason=reason)
        await self._append("training.rule_broken", code=error.code, reason=reason)

    async def _append(self, event: str, **fields: str | int) -> None:
        throttle = self._throttles.setdefault(event, Throttle(_A_MINUTE, timedelta(minutes=1)))
        unrecorded = throttle.passes(self._clock())
        if unrecorded is not None:
            await asyncio.to_thread(self._audit.append, event, **fields, unrecorded=unrecorded)
