"""Values as whole numbers that can be masked and summed: fixed point inside a declared range.

A `Real` block is clipped to [low, high] and rounded at random to one of so many levels, up or down so that the mean is
right. A `Count` is a whole number and stays what it is. In a weighted layout each level is multiplied by the member's
weight. The weight itself is the last word of every input, masked like the rest.

**No overflow.** The largest word that a member can send is max(top of a block * heaviest weight, heaviest weight),
where a layout without weights multiplies by 1. `Layout.width` takes words of 4 bytes where n times that is below 2^32,
of 8 where it is below 2^64, and refuses the layout otherwise. So the sum of n inputs is the sum modulo 2^32 or 2^64.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.learning.secure_aggregation import encoding, masks
from jointrisk.learning.secure_aggregation.encoding import Reader
from jointrisk.learning.secure_aggregation.masks import Words
from jointrisk.learning.secure_aggregation.sharing import Randomness

FEWEST_LEVELS = 1 << 16
MOST_LEVELS = 1 << 32
LARGEST_COUNT = 1 << 53
MOST_BLOCKS = 4096
MOST_WORDS = 1 << 31

Values = NDArray[np.float64] | NDArray[np.int64]

_PIECE = 1 << 17
_REAL, _COUNT = 1, 2


@dataclass(frozen=True, slots=True)
class Real:
    """Numbers between two ends.

    Attributes:
        size: how many.
        low: the least; what is below is clipped.
        high: the greatest; what is above is clipped.
        levels: how many different values remain, at least 2^16.
    """

    size: int
    low: float
    high: float
    levels: int = FEWEST_LEVELS

    @property
    def top(self) -> int:
        """The greatest level."""
        return self.levels - 1

    @property
    def step(self) -> float:
        """The distance of two levels."""
        return (self.high - self.low) / self.top

    def encoded(self) -> bytes:
        """Return its bytes."""
        ends = struct.pack(">dd", self.low, self.high)
        return encoding.number(_REAL, 1) + encoding.number(self.size, 4) + ends + encoding.number(self.levels, 8)


@dataclass(frozen=True, slots=True)
class Count:
    """Whole numbers from 0, never rounded.

    Attributes:
        size: how many.
        largest: the greatest that one member may have.
    """

    size: int
    largest: int

    @property
    def top(self) -> int:
        """The greatest number."""
        return self.largest

    def encoded(self) -> bytes:
        """Return its bytes."""
        return encoding.number(_COUNT, 1) + encoding.number(self.size, 4) + encoding.number(self.largest, 8)


Block = Real | Count


@dataclass(frozen=True)
class Input:
    """What one member adds.

    Attributes:
        values: one array for each block of the layout, of any shape.
        weight: how many rows it stands for, from 1.
    """

    values: Sequence[NDArray[np.generic]]
    weight: int


@dataclass(frozen=True)
class Sums:
    """What the members' inputs come to.

    Attributes:
        values: one array for each block: means in a weighted layout, totals in another, of counts in int64.
        weight: the sum of the weights.
    """

    values: tuple[Values, ...]
    weight: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How an input becomes words.

    Attributes:
        blocks: one after the other.
        heaviest: the greatest weight of one member.
        weighted: whether values are multiplied by the weight, and the result is their mean.
    """

    blocks: tuple[Block, ...]
    heaviest: int
    weighted: bool

    def check(self) -> None:
        """Refuse a layout that nobody should agree to.

        Raises:
            InvalidInputError: says what is wrong with it.
        """
        if not 1 <= len(self.blocks) <= MOST_BLOCKS or not 1 <= self.words <= MOST_WORDS:
            raise InvalidInputError(f"expected 1 to {MOST_BLOCKS} blocks and {MOST_WORDS} words, got others")
        if not 1 <= self.heaviest <= LARGEST_COUNT:
            raise InvalidInputError("expected a greatest weight from 1 to 2^53, got another")
        for block in self.blocks:
            _check(block, weighted=self.weighted)

    @property
    def words(self) -> int:
        """How many words an input has; the last is the weight."""
        return sum(block.size for block in self.blocks) + 1

    def width(self, parties: int) -> int:
        """Return the bytes of a word, 4 or 8, so that the sum of so many inputs never overflows.

        Raises:
            InvalidInputError: 8 are not enough.
        """
        factor = self.heaviest if self.weighted else 1
        greatest = parties * max(self.heaviest, *(block.top * factor for block in self.blocks))
        if greatest >= 1 << 64:
            raise InvalidInputError("expected levels, weights and members whose product is below 2^64, got more")
        return 4 if greatest < 1 << 32 else 8

    def empty(self, parties: int) -> Words:
        """Return zeros, as many as an input has words."""
        return np.zeros(self.words, dtype="<u4" if self.width(parties) == 4 else "<u8")  # noqa: PLR2004 - bytes

    def encoded(self) -> bytes:
        """Return its bytes."""
        head = encoding.number(self.weighted, 1) + encoding.number(self.heaviest, 8)
        return head + encoding.number(len(self.blocks), 2) + b"".join(block.encoded() for block in self.blocks)

    @classmethod
    def read(cls, reader: Reader) -> "Layout":
        """Read a layout.

        Raises:
            InvalidInputError: it is none.
        """
        weighted, heaviest = reader.flag(), reader.number(8)
        layout = cls(tuple(_read_block(reader) for _ in range(reader.number(2))), heaviest, weighted)
        layout.check()
        return layout

    def quantised(self, given: Input, parties: int, randomness: Randomness) -> Words:
        """Return an input as words.

        Args:
            given: arrays of finite numbers, in the order of the blocks.
            parties: how many members may be in the sum.
            randomness: decides which way each value is rounded.

        Raises:
            InvalidInputError: the input does not fit the layout. Nothing of it is in the message.
        """
        if not 1 <= given.weight <= self.heaviest or len(given.values) != len(self.blocks):
            raise InvalidInputError("expected an array for each block and a weight within its bounds, got others")
        words, at = self.empty(parties), 0
        factor = given.weight if self.weighted else 1
        for block, values in zip(self.blocks, given.values, strict=True):
            _fill(words[at : at + block.size], block, values.reshape(-1), factor, randomness)
            at += block.size
        words[-1] = given.weight
        return words

    def sums(self, words: Words, members: int) -> Sums:
        """Return what summed words say.

        Args:
            words: the sum of so many members' inputs, without masks.
            members: how many.

        Raises:
            CorruptError: no inputs that keep to the layout have this sum.
        """
        weight = int(words[-1])
        if not members <= weight <= members * self.heaviest:
            raise CorruptError("expected a sum of weights within their bounds, got another")
        values: list[Values] = []
        at = 0
        for block in self.blocks:
            values.append(self._values(block, words[at : at + block.size], weight, members))
            at += block.size
        return Sums(tuple(values), weight)

    def _values(self, block: Block, words: Words, weight: int, members: int) -> Values:
        share = weight if self.weighted else members
        if len(words) and int(words.max()) > block.top * share:
            raise CorruptError("expected a sum of values within their bounds, got another: some input was none")
        if isinstance(block, Count):
            return words.astype(np.int64)
        if self.weighted:
            return block.low + block.step * (words.astype(np.float64) / weight)
        return block.low * members + block.step * words.astype(np.float64)


def _check(block: Block, *, weighted: bool) -> None:
    if isinstance(block, Count):
        if weighted or not 1 <= block.largest <= LARGEST_COUNT:
            raise InvalidInputError("expected counts up to 2^53, in sums and not in means, got others")
    elif not FEWEST_LEVELS <= block.levels <= MOST_LEVELS:
        raise InvalidInputError(f"expected {FEWEST_LEVELS} to {MOST_LEVELS} levels, got {block.levels}")
    elif not (np.isfinite([block.low, block.high, block.high - block.low]).all() and block.low < block.high):
        raise InvalidInputError("expected a range with a finite lower and a finite, greater upper end, got another")


def _read_block(reader: Reader) -> Block:
    kind, size = reader.number(1), reader.number(4)
    if kind == _COUNT:
        return Count(size, reader.number(8))
    if kind != _REAL:
        raise InvalidInputError(f"expected {reader.what} with reals or counts, got something else")
    low, high = struct.unpack(">dd", reader.take(16))
    return Real(size, low, high, reader.number(8))


def _fill(words: Words, block: Block, values: NDArray[np.generic], factor: int, randomness: Randomness) -> None:
    if len(values) != block.size:
        raise InvalidInputError(f"expected {block.size} values in a block, got {len(values)}")
    for piece in _pieces(block.size):
        if isinstance(block, Count):
            words[piece] = _counted(values[piece], block)
        else:
            np.multiply(_rounded(values[piece], block, randomness), factor, out=words[piece], casting="unsafe")


def _counted(values: NDArray[np.generic], block: Count) -> NDArray[np.uint64]:
    if values.dtype.kind not in "iu" or (values.size and not 0 <= values.min() <= values.max() <= block.largest):
        raise InvalidInputError(f"expected whole numbers from 0 to {block.largest}, got others")
    return values.astype(np.uint64)


def _rounded(values: NDArray[np.generic], block: Real, randomness: Randomness) -> NDArray[np.uint64]:
    """Return levels: each value's place between the ends, rounded up with the probability of its fraction."""
    place = np.clip(values.astype(np.float64), block.low, block.high)
    if not np.isfinite(values).all():
        raise InvalidInputError("expected finite numbers, got others")
    place = (place - block.low) / block.step
    chance = np.frombuffer(masks.stream(randomness(masks.KEY_LENGTH), 4 * len(place)), dtype="<u4") * 2.0**-32
    return np.minimum(np.floor(place + chance), block.top).astype(np.uint64)


def _pieces(size: int) -> Iterator[slice]:
    return (slice(begin, min(begin + _PIECE, size)) for begin in range(0, size, _PIECE))
