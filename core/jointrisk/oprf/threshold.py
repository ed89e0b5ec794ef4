"""What the asker does with the holders' answers: verifies each, adds them, and takes off its blinds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce as fold

from jointrisk.errors import ConflictError, CorruptError, InvalidInputError
from jointrisk.oprf import dleq, group
from jointrisk.oprf.bulk import map_items
from jointrisk.oprf.group import Element
from jointrisk.oprf.holder import Evaluation
from jointrisk.oprf.requester import Batch
from jointrisk.oprf.sharing import lagrange


class BadShareError(CorruptError):
    """A holder's answer is not what its share of the key gives; the signed answer is evidence against it.

    Args:
        holder: the index of the holder.
    """

    def __init__(self, holder: int) -> None:
        super().__init__(
            f"expected a proof for the answer of holder {holder}, got one that does not hold",
            remedy="Ask a quorum without this holder, and show its signed answer to the other members.",
        )
        self.holder = holder


@dataclass(frozen=True, slots=True)
class Quorum:
    """The holders that are asked together; made by `of`.

    Attributes:
        keys: for each holder's index the key that its proofs are verified with: its share's public key multiplied with
            its Lagrange coefficient.
    """

    keys: Mapping[int, Element]

    @classmethod
    def of(cls, public_keys: Mapping[int, Element], group_key: Element) -> "Quorum":
        """Choose a quorum, and check that together it holds the group's key.

        Args:
            public_keys: the public key of each one's share, from the ceremony and not from an answer, by index.
            group_key: the public key of the whole key.

        Raises:
            ConflictError: the shares are not of that key: they are of different generations, or too few. Every proof
                would hold, and every output be wrong.
            InvalidInputError: an index or a key is not valid.
        """
        keys = {j: group.multiply(coefficient, public_keys[j]) for j, coefficient in lagrange(public_keys).items()}
        if fold(group.add, keys.values()) != group_key:
            raise ConflictError(
                "expected enough holders of one generation, got shares that do not make up the group's key",
                remedy="Choose as many holders as the threshold, all of the newest generation.",
            )
        return cls(keys)

    def combine(self, batch: Batch, answers: Mapping[int, Evaluation]) -> list[bytes]:
        """Return the outputs for a batch, 64 bytes for each input, after verifying every answer.

        Args:
            batch: what was asked.
            answers: by the holder's index, one of each holder in the quorum.

        Raises:
            InvalidInputError: the answers are not those of this quorum.
            BadShareError: an answer's proof does not hold; the error names the holder.
        """
        if answers.keys() != self.keys.keys():
            raise InvalidInputError("expected one answer from each holder of the quorum, got those of others")
        for index, answer in answers.items():
            self.check(index, batch, answer)
        return batch.finalize(summed([answer.elements for answer in answers.values()]))

    def check(self, index: int, batch: Batch, answer: Evaluation) -> None:
        """Verify one holder's answer, so that another can be asked before all have come.

        Raises:
            InvalidInputError: the holder is not in the quorum.
            BadShareError: the proof does not hold, or there are not as many elements as were asked about.
        """
        if index not in self.keys:
            raise InvalidInputError("expected the answer of a holder of the quorum, got another's")
        if not dleq.verify(self.keys[index], batch.elements, answer.elements, answer.proof, batch.suite):
            raise BadShareError(index)


def summed(columns: Sequence[Sequence[Element]]) -> Sequence[Element]:
    """Return the sum of each row: of what all holders made of the same blinded element."""
    if len(columns) == 1:
        return columns[0]
    return map_items(lambda row: fold(group.add, row), list(zip(*columns, strict=True)))
