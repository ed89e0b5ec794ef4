"""A holder's desk: checks a request, charges it durably, evaluates it, signs the answer."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Protocol

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import InvalidInputError, JointriskError
from jointrisk.evaluation import EvaluationAnswer, EvaluationRequest, Purpose, sign_answer
from jointrisk.federation.certificates import Identity
from jointrisk.federation.signing import Signed
from jointrisk.listing.head import is_possible_head
from jointrisk.oprf.group import LENGTH
from jointrisk.oprf.holder import Evaluation
from jointrisk.throttle import Throttle
from jointrisk_node.audit_journal import AuditJournal
from jointrisk_node.evaluations.callers import Callers
from jointrisk_node.evaluations.charges import Charge, ChargeBook, microseconds
from jointrisk_node.evaluations.charging import ChargeWriter
from jointrisk_node.evaluations.checks import check_quorum, check_shape, check_signature, no_share
from jointrisk_node.evaluations.computing import ONLINE_AT_MOST, Begun, Evaluator
from jointrisk_node.evaluations.quota import PERIODS
from jointrisk_node.evaluations.shares import Held, HeldShares

_RECORDED = 30  # refusals a minute of each member
_LARGEST_RECORDED = 2**53 - 1

log = structlog.get_logger()


class Heads(Protocol):
    """What a holder uses of its node's replica."""

    def newest(self, epoch: int) -> Signed | None:
        """Return the newest head that this node has verified; cheap."""
        ...

    def compare(self, epoch: int, signed: Signed, brought_by: str) -> None:
        """Have another member's head compared with the own log; returns at once. Nothing about it is verified yet."""
        ...


@dataclass(frozen=True)
class Answered:
    """What goes back to the asker.

    Attributes:
        answer: elements and proof.
        signature: the holder's.
        head: the newest head that the holder has verified; None before the first.
    """

    answer: EvaluationAnswer
    signature: bytes
    head: Signed | None


@dataclass(frozen=True, slots=True)
class PurposeLeft:
    """What is left of a purpose's bucket: now, when it is full, and in how much time an empty one fills."""

    left: int
    capacity: int
    period: timedelta


@dataclass(frozen=True, slots=True)
class QuotaLeft:
    """What a member has left at this holder.

    Attributes:
        epoch_left: evaluations that are left of the epoch's ceiling.
        epoch_ceiling: what it is.
        charged: evaluations that were charged in the epoch.
        purposes: by purpose.
    """

    epoch_left: int
    epoch_ceiling: int
    charged: int
    purposes: Mapping[Purpose, PurposeLeft]


@dataclass(frozen=True, slots=True)
class _Checked:
    """A request that may be charged."""

    charge: Charge
    held: Held
    quorum: list[int]

    @property
    def blinded(self) -> list[bytes]:
        elements = self.charge.request.elements
        return [elements[begin : begin + LENGTH] for begin in range(0, len(elements), LENGTH)]


class EvaluationDesk:
    """Answers requests of other members. For one event loop.

    Args:
        holder: this node's name.
        identity: its identity key, which signs answers.
        callers: who may ask.
        shares: of the group keys.
        book: the accounts.
        writer: charges.
        evaluator: computes.
        heads: of this node's replica.
        journal: gets a record of refused requests.
        clock: the time.
    """

    def __init__(
        self,
        *,
        holder: str,
        identity: Ed25519PrivateKey,
        callers: Callers,
        shares: HeldShares,
        book: ChargeBook,
        writer: ChargeWriter,
        evaluator: Evaluator,
        heads: Heads,
        journal: AuditJournal,
        clock: Clock = utc_now,
    ) -> None:
        self.shares = shares
        self.book = book
        self._holder = holder
        self._identity = identity
        self._callers = callers
        self._writer = writer
        self._evaluator = evaluator
        self._heads = heads
        self._journal = journal
        self._clock = clock
        self._refusals: dict[str, Throttle] = {}

    @property
    def federation(self) -> str:
        """The federation's name."""
        return self._callers.federation

    def require(self, caller: Identity) -> None:
        """Refuse who is no member any more, or has no valid certificate any more. Raises as `Callers.require`."""
        self._callers.require(caller)

    async def evaluate(self, request: EvaluationRequest, signature: bytes, time_left: float | None) -> Answered:
        """Answer a request, whole or not at all. What is returned has been charged durably.

        Args:
            request: as it came from the member in ``asker``, whose certificate was verified.
            signature: the asker's.
            time_left: seconds until the asker's deadline; None for no deadline.

        Raises:
            InvalidInputError, TooLargeError: the request breaks a rule.
            UnauthenticatedError: the asker is no member that this node works with, or has not signed this.
            ConflictError: this node holds no share of the generation, or the request id stands for another request.
            QuotaError: more is asked for than is granted.
            UnavailableError: the queue is full, nothing can be charged, or this node's roster has expired.
            DeadlineError: the asker's deadline has passed.
        """
        try:
            checked = self._checked(request, signature)
            if checked.charge.number <= ONLINE_AT_MOST:
                evaluation, signed = await self._online(checked)
            else:
                evaluation, signed = await self._bulk(checked, time_left)
        except JointriskError as error:
            await self._refused(request, error)
            raise
        return Answered(evaluation, signed, self._heads.newest(request.epoch))

    def quota(self, member: str, epoch: int) -> QuotaLeft:
        """Return what a member has left."""
        account, granted = self.book.account(member, epoch), self.book.allowance(member)
        moment = microseconds(self._clock())
        purposes = {
            purpose: PurposeLeft(account.left(granted, purpose, moment), granted.capacities[purpose], period)
            for purpose, period in PERIODS.items()
        }
        return QuotaLeft(account.epoch_left(granted), granted.epoch_ceiling, account.charged, purposes)

    def _checked(self, request: EvaluationRequest, signature: bytes) -> _Checked:
        member = self._callers.member(request.asker)
        number = check_shape(request, signature)
        held = self.shares.get(request.epoch, request.generation)
        if held is None:
            raise no_share(request.epoch, request.generation)
        quorum = check_quorum(request, held, self._holder)
        signed_bytes = request.signed_bytes()
        check_signature(signed_bytes, signature, member.identity_key)
        self._compare(request)
        return _Checked(Charge(request, sha256(signed_bytes).digest(), number), held, quorum)

    def _compare(self, request: EvaluationRequest) -> None:
        head = request.head
        if head is None:
            return
        if not is_possible_head(head):
            raise InvalidInputError("expected the signed head of a log of listings, got another document")
        self._heads.compare(request.epoch, head, request.asker)

    async def _online(self, checked: _Checked) -> tuple[EvaluationAnswer, bytes]:
        """Evaluate while the charge is being written; the answer leaves only when it is."""
        places, begun = self._evaluator.online_places, list[Begun[tuple[EvaluationAnswer, bytes]]]()

        def begin() -> None:
            signed = partial(self._signed, checked)
            begun.append(self._evaluator.online(checked.held, checked.quorum, checked.blinded, signed))

        with places.place(checked.charge.request.asker), self._evaluator.precedence.online():
            await self._writer.charge(checked.charge, begin)
            return await begun[0].result()

    async def _bulk(self, checked: _Checked, time_left: float | None) -> tuple[EvaluationAnswer, bytes]:
        with self._evaluator.bulk_places.place(checked.charge.request.asker):
            await self._writer.charge(checked.charge)
            evaluation = await self._evaluator.bulk(checked.held, checked.quorum, checked.blinded, time_left)
            return self._signed(checked, evaluation)

    def _signed(self, checked: _Checked, evaluation: Evaluation) -> tuple[EvaluationAnswer, bytes]:
        answer = EvaluationAnswer(
            request=checked.charge.digest,
            holder=self._holder,
            elements=b"".join(evaluation.elements),
            proof=evaluation.proof.to_bytes(),
        )
        return answer, sign_answer(answer, self._identity)

    async def _refused(self, request: EvaluationRequest, error: JointriskError) -> None:
        """Put a refusal on record, of each asker a bounded number a minute."""
        # The asker is the member in a verified certificate, so that there are not many.
        throttle = self._refusals.setdefault(request.asker, Throttle(_RECORDED, timedelta(minutes=1)))
        unrecorded = throttle.passes(self._clock())
        if unrecorded is None:
            return
        log.info("evaluation.refused", asker=request.asker, code=error.code)
        with suppress(JointriskError):  # the asker is told its own error, not this one
            await asyncio.shield(
                self._journal.append(
                    "evaluation.refused",
                    asker=request.asker,
                    request_id=request.request_id[:16].hex(),
                    purpose=request.purpose.value,
                    count=len(request.elements) // LENGTH,
                    epoch=min(request.epoch, _LARGEST_RECORDED),
                    generation=min(request.generation, _LARGEST_RECORDED),
                    code=error.code,
                    unrecorded=unrecorded,
                )
            )
