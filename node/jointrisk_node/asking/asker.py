"""What asks holders on behalf of everything else in a node."""

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import InvalidInputError
from jointrisk.evaluation import Purpose
from jointrisk.oprf.bulk import MAX_BATCH
from jointrisk.oprf.group import Randomness
from jointrisk.oprf.requester import blind
from jointrisk_node.asking.channels import PeerChannels
from jointrisk_node.asking.course import Course
from jointrisk_node.asking.generations import Generations
from jointrisk_node.asking.heads import Heads
from jointrisk_node.asking.ledger import EvidenceLedger
from jointrisk_node.asking.outcome import Blame, Consent, Evaluated
from jointrisk_node.asking.settings import AskingSettings
from jointrisk_node.asking.standing import Standing
from jointrisk_node.asking.turn import Desk, Opened, Question
from jointrisk_node.audit_journal import AuditJournal
from jointrisk_node.membership.membership import Membership

if TYPE_CHECKING:
    from jointrisk.identifiers import Identifier

_IN_FLIGHT = 2


class Asker:
    """Evaluates identifiers with the help of holders. For the event loop's thread.

    Args:
        membership: who is who, and this node's keys.
        generations: keys of the ceremonies, and this node's own share.
        channels: to holders.
        heads: of the logs.
        journal: takes the records of what was asked.
        evidence: takes false answers.
        settings: times.
        randomness: `os.urandom` outside tests.
        clock: the time.
    """

    def __init__(
        self,
        membership: Membership,
        generations: Generations,
        channels: PeerChannels,
        heads: Heads,
        journal: AuditJournal,
        evidence: EvidenceLedger,
        settings: AskingSettings,
        *,
        randomness: Randomness = os.urandom,
        clock: Clock = utc_now,
    ) -> None:
        standing = Standing(clock, settings.avoid_liar)
        self._desk = Desk(membership, channels, heads, journal, evidence, standing, randomness)
        self._generations = generations
        self._settings = settings
        self._in_flight = asyncio.Semaphore(_IN_FLIGHT)

    def epochs(self) -> list[int]:
        """Return the epochs that this node knows a group key of, the newest last."""
        return self._generations.epochs()

    async def evaluate(
        self,
        identifiers: "Sequence[Identifier]",
        purpose: Purpose,
        consent: Consent,
        *,
        epoch: int,
        bulk: bool = False,
        question_id: str = "",
    ) -> Evaluated:
        """Return the keys of identifiers' listings in one epoch.

        What was asked is on record, on the disk, before this returns, and when it raises, too.

        Args:
            identifiers: in canonical form; more than 4,096 are asked about in several batches.
            purpose: what for.
            consent: why it is allowed.
            epoch: of the group key.
            bulk: whether it is work on files: longer times, and two batches in flight at most for the whole node, so
                that asker and holders work at the same time and questions about single persons come in between.
            question_id: under which the caller has put on record what this belongs to.

        Raises:
            InvalidInputError: there are no identifiers.
            UnavailableError: too few holders can be had; the error names the others, why, and since when. Also: the
                roster has expired, or what was asked cannot be put on record.
            RefusedError: too few are willing; `jointrisk.errors.QuotaError` where that is because of quotas. Also: this
                node was removed.
            DeadlineError: it took too long.
            NotFoundError: this node knows no key of the epoch. Never: that a person is not listed.
        """
        self._desk.membership.require_fresh()
        inputs = [identifier.oprf_input(epoch) for identifier in identifiers]
        if not inputs:
            raise InvalidInputError("expected at least one identifier, got none")
        question = self._question(purpose, consent, epoch, question_id, bulk=bulk)
        cut = [inputs[begin : begin + MAX_BATCH] for begin in range(0, len(inputs), MAX_BATCH)]
        blamed: list[Blame] = []
        opened = await self._all(cut, question, blamed, bulk=bulk)
        return Evaluated(
            epoch=epoch,
            generation=opened[-1].generation,
            quorum=opened[-1].quorum,
            keys=opened[0].keys if len(opened) == 1 else [key for one in opened for key in one.keys],
            request_ids=tuple(one.request_id for one in opened),
            proofs_verified=sum(one.proofs for one in opened),
            blamed=tuple(blamed),
        )

    async def _all(
        self, cut: list[list[bytes]], question: Question, blamed: list[Blame], *, bulk: bool
    ) -> list[Opened]:
        if not bulk:
            return [await self._batch(inputs, question, blamed) for inputs in cut]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._in_turn(inputs, question, blamed)) for inputs in cut]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _in_turn(self, inputs: list[bytes], question: Question, blamed: list[Blame]) -> Opened:
        async with self._in_flight:
            return await self._batch(inputs, question, blamed)

    async def _batch(self, inputs: list[bytes], question: Question, blamed: list[Blame]) -> Opened:
        batch = await self._desk.computed(len(inputs), blind, inputs, self._desk.randomness)
        course = Course(self._desk, self._generations, question, batch)
        opened = await course.run()
        blamed += course.blamed
        return opened

    def _question(self, purpose: Purpose, consent: Consent, epoch: int, question_id: str, *, bulk: bool) -> Question:
        settings = self._settings
        within, call = (settings.bulk, settings.bulk_call) if bulk else (settings.online, settings.online_call)
        return Question(purpose, consent, epoch, within, call, question_id)
