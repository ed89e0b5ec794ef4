"""Holders that answer falsely, in every way that the wire allows; each signs what it says, or garbage."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evaluation_federation import DealtKey
from hostile_asker import HOLDERS, guesses
from jointrisk.evaluation import EvaluationAnswer, EvaluationRequest, sign_answer
from jointrisk.federation.signing import Signed
from jointrisk.oprf import group
from jointrisk.oprf.group import LENGTH, Element, Scalar
from jointrisk.oprf.holder import Evaluation, evaluate_share
from jointrisk_node.evaluations.desk import Answered, EvaluationDesk
from jointrisk_node.evaluations.shares import Held
from roster_forge import key_of

ANOTHER = DealtKey(7, 2, HOLDERS)
"""Other shares of the same key: of a generation before a refresh."""
HUGE = 20 << 20


@dataclass(frozen=True)
class Truth:
    """What a holder was asked, what it would honestly answer, and its share."""

    honest: Answered
    request: EvaluationRequest
    held: Held

    @property
    def quorum(self) -> list[int]:
        """The indices of all that are asked."""
        return [self.held.indices[name] for name in self.request.quorum]


class HostileDesk(EvaluationDesk):
    """Takes a request as it should, and answers something else."""

    async def evaluate(self, request: EvaluationRequest, signature: bytes, time_left: float | None) -> Answered:
        """Answer falsely."""
        honest = await super().evaluate(request, signature, time_left)
        held = self.shares.get(request.epoch, request.generation)
        assert held is not None
        return self.lie(Truth(honest, request, held))

    def lie(self, truth: Truth) -> Answered:
        """Return the false answer."""
        evaluation = self.evaluation(truth)
        return signed(truth.honest, b"".join(evaluation.elements), evaluation.proof.to_bytes())

    def evaluation(self, truth: Truth) -> Evaluation:
        """Return what is computed in place of the right answer."""
        raise NotImplementedError


class WrongShare(HostileDesk):
    """Multiplies with a key of its own, and proves that."""

    def evaluation(self, truth: Truth) -> Evaluation:
        """Draw a key."""
        return computed(truth, group.random_scalar(os.urandom))


class OldShare(HostileDesk):
    """Answers with its share of another generation."""

    def evaluation(self, truth: Truth) -> Evaluation:
        """Take the other share."""
        return computed(truth, ANOTHER.shares[HOLDERS[truth.held.index - 1]])


class WeighsOtherwise(HostileDesk):
    """Weighs its right share for another quorum than was asked."""

    def evaluation(self, truth: Truth) -> Evaluation:
        """Take another index into it."""
        held = truth.held
        other = next(index for index in held.indices.values() if index not in truth.quorum)
        return computed(truth, held.share, (held.index, other))


class OtherProof(HostileDesk):
    """Gives the right elements, and a proof that is about another batch."""

    def evaluation(self, truth: Truth) -> Evaluation:
        """Prove something else."""
        held = truth.held
        other = evaluate_share(held.share, held.index, truth.quorum, guesses(1).elements, os.urandom)
        return replace(computed(truth, held.share), proof=other.proof)


class Swapped(HostileDesk):
    """Exchanges two answers of the batch: persons would be taken for each other."""

    def evaluation(self, truth: Truth) -> Evaluation:
        """Turn the batch around."""
        honest = computed(truth, truth.held.share)
        return replace(honest, elements=honest.elements[::-1])


class Replays(HostileDesk):
    """Answers every request with its first answer."""

    first: Answered | None = None

    def lie(self, truth: Truth) -> Answered:
        """Keep the first one."""
        self.first = self.first or truth.honest
        return self.first


class SaysNothingIsListed(HostileDesk):
    """Sends the identity for every element, so that nothing would be found."""

    def lie(self, truth: Truth) -> Answered:
        """Send zeros."""
        return signed(truth.honest, bytes(len(truth.request.elements)), bytes(64))


class Huge(HostileDesk):
    """Sends more than anybody asked for."""

    def lie(self, truth: Truth) -> Answered:
        """Send megabytes."""
        return signed(truth.honest, bytes(HUGE), truth.honest.answer.proof)


class HugeHead(HostileDesk):
    """Sends the right answer with a head of many megabytes."""

    def lie(self, truth: Truth) -> Answered:
        """Make one up."""
        return replace(truth.honest, head=Signed("listing-head", bytes(10 << 20), bytes(64), bytes(32)))


class GarbledHead(HostileDesk):
    """Sends the right answer with a head that is none."""

    def lie(self, truth: Truth) -> Answered:
        """Make one up."""
        return replace(truth.honest, head=Signed("\x1b[31mred", b"\xff", b"short", b""))


class SignsGarbage(HostileDesk):
    """Sends the right answer with a signature that is none."""

    def lie(self, truth: Truth) -> Answered:
        """Sign nothing."""
        return replace(truth.honest, signature=b"\xff" * 64)


class Never(EvaluationDesk):
    """Takes the request, and never answers."""

    async def evaluate(self, request: EvaluationRequest, signature: bytes, time_left: float | None) -> Answered:
        """Wait for ever."""
        await asyncio.Event().wait()
        return await super().evaluate(request, signature, time_left)


def computed(truth: Truth, share: Scalar, quorum: Sequence[int] = ()) -> Evaluation:
    """Return a sound evaluation with any share, for any quorum."""
    held = truth.held
    asked = quorum or truth.quorum
    elements = truth.request.elements
    blinded = [Element(elements[at : at + LENGTH]) for at in range(0, len(elements), LENGTH)]
    return evaluate_share(share, held.index, asked, blinded, os.urandom)


def signed(honest: Answered, elements: bytes, proof: bytes) -> Answered:
    """Return another answer in the holder's name."""
    answer = EvaluationAnswer(honest.answer.request, honest.answer.holder, elements, proof)
    return replace(honest, answer=answer, signature=sign_answer(answer, key_of(answer.holder)))
