"""One batch and one quorum: asked, verified, opened."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property, partial
from typing import ParamSpec, TypeVar

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.errors import ConflictError, InvalidInputError, JointriskError, NotFoundError, QuotaError, RefusedError
from jointrisk.evaluation import (
    NONCE_LENGTH,
    REQUEST_ID_LENGTH,
    EvaluationAnswer,
    EvaluationRequest,
    Purpose,
    consent_commitment,
    sign_request,
    verify_answer,
)
from jointrisk.listing.derive import ListingKeys, derive
from jointrisk.listing.head import is_possible_head
from jointrisk.oprf import group
from jointrisk.oprf.dleq import Proof
from jointrisk.oprf.group import Element, Randomness, Scalar
from jointrisk.oprf.holder import Evaluation, evaluate_unproven
from jointrisk.oprf.requester import Batch
from jointrisk.oprf.threshold import BadShareError, summed
from jointrisk.rpc.evaluations import head_from_message, request_to_message
from jointrisk.rpc.v1 import evaluation_pb2 as pb
from jointrisk_node.asking.channels import PeerChannels
from jointrisk_node.asking.generations import Generation, Roles
from jointrisk_node.asking.heads import Heads
from jointrisk_node.asking.ledger import EvidenceLedger, FalseAnswer
from jointrisk_node.asking.outcome import Blame, Consent, Missing
from jointrisk_node.asking.standing import Standing
from jointrisk_node.audit_journal import AuditJournal
from jointrisk_node.background import background_threads
from jointrisk_node.membership.membership import Membership

_IN_THIS_THREAD = 8  # A few elements take less time than they would wait for another thread.

_BATCHES_AT_ONCE = 2
_UNTIL_SENT = range(2)  # rounds of the loop: the calls hand requests to their streams, gRPC takes them from there

ONLINE_AT_MOST = 64
"""Larger batches are work on files.

They are asked when the record of it is on the disk, so that no holder has one of what this node forgot.
A lookup of one person does not wait for the disk before it is sent: a node that dies then leaves the holder's record.
"""

_P = ParamSpec("_P")
_T = TypeVar("_T")

log = structlog.get_logger()


@dataclass(frozen=True)
class Desk:
    """What every turn needs; one for all.

    Attributes:
        membership: who is who.
        channels: to holders.
        heads: of the logs.
        journal: takes the records of what was asked.
        evidence: takes false answers.
        standing: remembers who failed.
        randomness: `os.urandom` outside tests.
    """

    membership: Membership
    channels: PeerChannels
    heads: Heads
    journal: AuditJournal
    evidence: EvidenceLedger
    standing: Standing
    randomness: Randomness

    @cached_property
    def identity(self) -> Ed25519PrivateKey:
        """This node's identity key, read once."""
        return self.membership.keys.identity()

    async def computed(self, size: int, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return a function's result; what is about many elements gives way to everything else."""
        if size <= _IN_THIS_THREAD:
            with group.in_one_piece():
                return function(*args, **kwargs)
        if size <= ONLINE_AT_MOST:
            return await asyncio.to_thread(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._background, partial(function, *args, **kwargs))

    @cached_property
    def _background(self) -> Executor:
        return background_threads(_BATCHES_AT_ONCE, "asking-bulk")


@dataclass(frozen=True, slots=True)
class Question:
    """What is the same for all batches of one call.

    Attributes:
        purpose: what for.
        consent: why it is allowed.
        epoch: of the key.
        within: how long a batch may take.
        call: how long one holder is waited for.
        id: under which it is on record what this belongs to; empty for nothing.
    """

    purpose: Purpose
    consent: Consent
    epoch: int
    within: timedelta
    call: timedelta
    id: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a turn ends with, when it ends well.

    Attributes:
        keys: in the batch's order.
        request_id: of the request.
        generation: of the shares.
        quorum: who answered, sorted.
        proofs: how many were verified.
    """

    keys: list[ListingKeys] = field(repr=False)
    request_id: bytes
    generation: int
    quorum: tuple[str, ...]
    proofs: int


class Turn:
    """Asks one quorum about one batch.

    Args:
        desk: what every turn needs.
        question: purpose, consent, times.
        generation: of the shares.
        names: the quorum, sorted.
        batch: the blinded elements, the same in every turn.
        blamed: who answers falsely is added.
    """

    def __init__(
        self,
        desk: Desk,
        question: Question,
        generation: Generation,
        names: tuple[str, ...],
        batch: Batch,
        blamed: list[Blame],
    ) -> None:
        self._desk = desk
        self._question = question
        self._generation = generation
        self._roles: Roles = generation.roles(names)
        self._batch = batch
        self._blamed = blamed
        self._unblinds: list[Scalar] = []
        self._nonce = desk.randomness(NONCE_LENGTH)
        self._request = self._make_request()
        self._message = request_to_message(self._request, sign_request(self._request, desk.identity))

    async def take(self) -> Opened | dict[str, Missing]:
        """Return the keys, or why which holders did not give what they should.

        Raises:
            UnavailableError: what was asked cannot be put on record, so nothing is shown.
        """
        own, answers, missing = await self._answers()
        missing |= await self._verified(answers)
        if missing:
            return missing
        columns = [_elements(answer) for answer in answers.values()] + ([own] if own else [])
        keys = await self._desk.computed(len(self._batch.elements), self._open, columns)
        return Opened(keys, self._request.request_id, self._request.generation, self._roles.names, len(answers))

    async def _answers(
        self,
    ) -> tuple[Sequence[Element] | None, dict[str, pb.EvaluateResponse], dict[str, Missing]]:
        beside = len(self._batch.elements) <= ONLINE_AT_MOST
        if not beside:
            await self._note()
        calls = {name: asyncio.create_task(self._ask(name)) for name in self._roles.names if name != self._me}
        noted = asyncio.create_task(self._note() if beside else asyncio.sleep(0))
        try:
            # While holders compute, so does this node, and the record of a lookup gets to the disk: both keep this
            # thread, so the requests are sent before.
            for _ in _UNTIL_SENT:
                await asyncio.sleep(0)
            own = await self._apply_own()
            self._unblinds = await self._desk.computed(len(self._batch.elements), self._batch.unblinds)
            done, _ = await asyncio.wait(calls.values(), return_when=asyncio.FIRST_EXCEPTION)
            await noted
        finally:
            await _ended([*calls.values(), noted])
        answers, missing = {}, {}
        for name, call in calls.items():
            if call not in done:
                continue  # cut off because another one failed: nothing is known against it
            if call.cancelled():  # its channel was closed under it
                missing[name] = Missing("its connection was closed meanwhile")
                continue
            failure = call.exception()
            if failure is None:
                answers[name] = call.result()
            else:
                missing[name] = self._failed(name, failure)
        return own, answers, missing

    async def _ask(self, name: str) -> pb.EvaluateResponse:
        return await self._desk.channels.evaluate(name, self._message, self._question.call)

    async def _note(self) -> None:
        request = self._request
        belongs = {"question_id": self._question.id} if self._question.id else {}
        await self._desk.journal.append(
            "evaluation.asked",
            request_id=request.request_id.hex(),
            purpose=request.purpose.value,
            consent=self._question.consent.reference,
            nonce=self._nonce.hex(),
            count=len(self._batch.elements),
            epoch=request.epoch,
            generation=request.generation,
            quorum=",".join(request.quorum),
            **belongs,
        )

    async def _apply_own(self) -> Sequence[Element] | None:
        if self._roles.own is None:
            return None
        elements = self._batch.elements
        return await self._desk.computed(len(elements), evaluate_unproven, self._roles.own, elements)

    def _failed(self, name: str, failure: BaseException) -> Missing:
        """Judge a call that failed; what is no error of ours or the holder's goes on."""
        if not isinstance(failure, JointriskError):
            raise failure
        standing = self._desk.standing
        if isinstance(failure, RefusedError):
            standing.refused(name, self._question.purpose)
            return Missing(f"refuses: {failure.message}", refused=True, quota=isinstance(failure, QuotaError))
        if isinstance(failure, ConflictError | NotFoundError):
            return Missing(f"answers: {failure.message}", other_generation=True)
        return standing.failed(name, failure.message)

    # -- what came -------------------------------------------------------------------------------------------------

    async def _verified(self, answers: Mapping[str, pb.EvaluateResponse]) -> dict[str, Missing]:
        """Verify every answer; return who lied."""
        lied = {}
        for name, answer in answers.items():
            head = head_from_message(answer)
            if head is not None and is_possible_head(head):
                self._desk.heads.compare(self._question.epoch, head, name)
            why = await self._desk.computed(len(self._batch.elements), self._objection, name, answer)
            if why:
                lied[name] = await self._blame(name, answer, why)
            else:
                self._desk.standing.answered(name)
        return lied

    def _objection(self, name: str, answer: pb.EvaluateResponse) -> str:
        asked = len(self._batch.elements)
        if len(answer.elements) != group.LENGTH * asked:
            return f"it sent {len(answer.elements)} bytes for {asked} elements"
        try:
            evaluation = Evaluation(_elements(answer), Proof.from_bytes(answer.proof))
            self._roles.quorum.check(self._generation.indices[name], self._batch, evaluation)
        except InvalidInputError:
            return "it sent what is no proof"
        except BadShareError:
            return "its proof does not hold"
        return ""

    async def _blame(self, name: str, answer: pb.EvaluateResponse, why: str) -> Missing:
        missing = self._desk.standing.lied(name, why)
        request = self._request
        false = FalseAnswer(
            member=name,
            epoch=request.epoch,
            generation=request.generation,
            request_id=request.request_id,
            why=why,
            convicts=self._is_signed(name, answer),
            request=self._message.SerializeToString(),
            answer=answer.SerializeToString(),
        )
        log.warning("asking.false_answer", member_id=name, reason=why, signed=false.convicts)
        await asyncio.to_thread(self._desk.evidence.keep, false)
        self._blamed.append(Blame(name, why))
        return missing

    def _is_signed(self, name: str, answer: pb.EvaluateResponse) -> bool:
        said = EvaluationAnswer(self._request.digest(), name, answer.elements, answer.proof)
        member = self._desk.membership.trusted().get(name)
        return member is not None and verify_answer(said, answer.signature, member.identity_key)

    def _open(self, columns: Sequence[Sequence[Element]]) -> list[ListingKeys]:
        outputs = self._batch.finalize(summed(columns), self._unblinds)
        return [derive(output, self._question.epoch) for output in outputs]

    # -- what is asked ---------------------------------------------------------------------------------------------

    @property
    def _me(self) -> str:
        return self._desk.membership.member_id

    def _make_request(self) -> EvaluationRequest:
        desk, question, key = self._desk, self._question, self._generation.key
        return EvaluationRequest(
            federation=desk.membership.federation,
            asker=desk.membership.member_id,
            epoch=key.epoch,
            generation=key.generation,
            request_id=desk.randomness(REQUEST_ID_LENGTH),
            purpose=question.purpose,
            quorum=self._roles.names,
            consent=consent_commitment(self._nonce, question.consent.reference),
            elements=b"".join(self._batch.elements),
            head=desk.heads.newest(key.epoch),
        )


def _elements(answer: pb.EvaluateResponse) -> tuple[Element, ...]:
    """Cut an answer's elements; verifying the proof refuses what is none."""
    data, length = answer.elements, group.LENGTH
    return tuple(Element(data[begin : begin + length]) for begin in range(0, len(data), length))


async def _ended(tasks: Sequence["asyncio.Task[object]"]) -> None:
    going_on = [task for task in tasks if not task.done()]
    for task in going_on:
        task.cancel()
    if going_on:
        await asyncio.wait(going_on)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at: nobody else may do so any more
