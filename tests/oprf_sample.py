"""A key that a few holders share, for tests of the oblivious pseudorandom function."""

from collections.abc import Collection, Iterator

from fixed_randomness import fixed_randomness
from jointrisk.oprf import group
from jointrisk.oprf.group import Element
from jointrisk.oprf.holder import Evaluation, evaluate_share
from jointrisk.oprf.requester import Batch
from jointrisk.oprf.sharing import Polynomial, commit, evaluate_commitments
from jointrisk.oprf.threshold import Quorum


class SharedKey:
    """A key of ``threshold`` of ``holders``, dealt here by one dealer.

    Args:
        threshold: how many are needed.
        holders: how many there are.
        label: makes it another key.
    """

    def __init__(self, threshold: int, holders: int, label: str = "key") -> None:
        self.randomness = fixed_randomness(f"{label}/{threshold}/{holders}")
        self.polynomial = Polynomial.random(group.random_scalar(self.randomness), threshold, self.randomness)
        self.commitments = commit(self.polynomial)
        self.indices = range(1, holders + 1)

    @property
    def public(self) -> Element:
        """The public key of the whole key."""
        return self.commitments[0]

    def public_keys(self, indices: Collection[int]) -> dict[int, Element]:
        """Return the public keys of these holders' shares."""
        return {j: evaluate_commitments(self.commitments, j) for j in indices}

    def quorum(self, indices: Collection[int]) -> Quorum:
        """Return the asker's view of these holders."""
        return Quorum.of(self.public_keys(indices), self.public)

    def answers(self, indices: Collection[int], batch: Batch) -> dict[int, Evaluation]:
        """Return what these holders answer to a batch."""
        return {j: self.answer(j, indices, batch) for j in indices}

    def answer(self, index: int, indices: Collection[int], batch: Batch) -> Evaluation:
        """Return what one holder answers to a batch."""
        return evaluate_share(self.polynomial.share(index), index, indices, batch.elements, self.randomness)


def flipped(data: bytes) -> Iterator[bytes]:
    """Yield the bytes with each of their bits turned over, one at a time."""
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)
