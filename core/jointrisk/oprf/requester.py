"""The asker's side of RFC 9497: blinds inputs, and turns evaluated elements into outputs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from jointrisk.errors import InvalidInputError
from jointrisk.oprf import group
from jointrisk.oprf.bulk import map_items, require_batch
from jointrisk.oprf.group import Element, Randomness, Scalar
from jointrisk.oprf.sharing import invert_all
from jointrisk.oprf.suite import VOPRF, Suite


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs that are asked about together. Only ``elements`` leaves the asker.

    Attributes:
        elements: the blinded elements, which tell nothing about the inputs.
        inputs: what is asked about, in the same order; secret, not shown in the `repr`.
        blinds: what the elements were multiplied with; secret, used once.
        suite: the mode.
    """

    elements: tuple[Element, ...]
    inputs: tuple[bytes, ...] = field(repr=False)
    blinds: tuple[Scalar, ...] = field(repr=False)
    suite: Suite = field(default=VOPRF, repr=False)

    def unblinds(self) -> list[Scalar]:
        """Return what takes each blind off again. It needs no answer: it can be computed before one is there."""
        return invert_all(self.blinds)

    def finalize(self, evaluated: Sequence[Element], unblinds: Sequence[Scalar] | None = None) -> list[bytes]:
        """Return the output for each input, 64 bytes each (Finalize). Nothing is verified here.

        Args:
            evaluated: the blinded elements multiplied with the whole key, in the batch's order. Answers with proofs
                go to `jointrisk.oprf.threshold.Quorum.combine` instead, which verifies them first.
            unblinds: of `unblinds`, where that was called before.

        Raises:
            InvalidInputError: there are not as many as inputs, or one is not an element or the identity.
        """
        if len(evaluated) != len(self.inputs):
            raise InvalidInputError(f"expected {len(self.inputs)} evaluated elements, got {len(evaluated)}")
        rows = list(zip(self.inputs, unblinds or self.unblinds(), evaluated, strict=True))
        return map_items(self._output, rows)

    def _output(self, row: tuple[bytes, Scalar, Element]) -> bytes:
        data, unblind, evaluated = row
        return self.suite.finalize(data, group.multiply(unblind, evaluated))


def blind(inputs: Sequence[bytes], randomness: Randomness, suite: Suite = VOPRF) -> Batch:
    """Blind inputs (RFC 9497 section 3.3, Blind), each with a blind of its own.

    Args:
        inputs: 1 to `jointrisk.oprf.bulk.MAX_BATCH` inputs of at most 65,535 bytes.
        randomness: 64 bytes are drawn for each blind.
        suite: the mode.

    Raises:
        InvalidInputError: there are none, or one is too long.
        TooLargeError: there are too many.
    """
    require_batch(inputs)
    blinds = tuple(group.random_scalar(randomness) for _ in inputs)
    rows = list(zip(blinds, inputs, strict=True))
    elements = map_items(lambda row: group.multiply(row[0], suite.hash_to_group(row[1])), rows)
    return Batch(tuple(elements), tuple(inputs), blinds, suite)
