"""Hashing of the suite ristretto255-SHA512 (RFC 9497 section 4.1), for the modes OPRF (0) and VOPRF (1).

Everything is separated by the mode's context string: outputs, keys and proofs of one mode are worth nothing in the
other. Protocol runs use `VOPRF`; `OPRF` is here because the RFC's values for it test the same code.
"""

from hashlib import sha512
from typing import NamedTuple

from jointrisk.errors import InvalidInputError
from jointrisk.oprf import group
from jointrisk.oprf.group import IDENTITY, Element, Scalar

MAX_INPUT = 2**16 - 1
"""The greatest number of bytes of an input (RFC 9497 section 1.2)."""

OUTPUT_LENGTH = 64
"""Bytes of an output."""


class KeyPair(NamedTuple):
    """A private key and its public key."""

    private: Scalar
    public: Element

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public.hex()})"


class Suite:
    """The functions of RFC 9497 that depend on the mode.

    Args:
        mode: 0 for OPRF, 1 for VOPRF (RFC 9497 section 3.1).

    Attributes:
        context: the context string, CreateContextString(mode, "ristretto255-SHA512").
    """

    def __init__(self, mode: int) -> None:
        self.context = b"OPRFV1-" + bytes([mode]) + b"-ristretto255-SHA512"
        self._to_group = _Expander(b"HashToGroup-" + self.context)
        self._to_scalar = _Expander(b"HashToScalar-" + self.context)
        self._to_key = _Expander(b"DeriveKeyPair" + self.context)

    def hash_to_group(self, data: bytes) -> Element:
        """Return an input as an element (HashToGroup).

        Raises:
            InvalidInputError: it is longer than `MAX_INPUT`, or becomes the identity, which nobody can bring about.
        """
        _require_input(data)
        hashed = group.from_uniform(self._to_group(data))
        if hashed == IDENTITY:
            raise InvalidInputError("expected an input that gives an element other than the identity")
        return hashed

    def hash_to_scalar(self, data: bytes) -> Scalar:
        """Return bytes as a scalar (HashToScalar)."""
        return group.reduce(self._to_scalar(data))

    def derive_key_pair(self, seed: bytes, info: bytes) -> KeyPair:
        """Return the keys that follow from a seed (RFC 9497 section 3.2.1, DeriveKeyPair).

        Args:
            seed: 32 secret bytes.
            info: public bytes that tell apart keys of one seed.

        Raises:
            InvalidInputError: the seed is not 32 bytes, the info too long, or all 256 attempts give zero.
        """
        if len(seed) != group.LENGTH:
            raise InvalidInputError(f"expected a seed of {group.LENGTH} bytes, got {len(seed)}")
        start = seed + length_prefixed(info)
        for counter in range(256):
            private = group.reduce(self._to_key(start + bytes([counter])))
            if any(private):
                return KeyPair(private, group.multiply_base(private))
        raise InvalidInputError("expected a seed that gives a key, got one that gives none")

    def finalize(self, data: bytes, unblinded: Element) -> bytes:
        """Return the output, 64 bytes, for an input and its evaluated element (the hash in Finalize)."""
        _require_input(data)
        return sha512(length_prefixed(data) + length_prefixed(unblinded) + b"Finalize").digest()


class _Expander:
    """expand_message_xmd of RFC 9380 section 5.3.1 with SHA-512, for 64 bytes: one block of output.

    Args:
        tag: the domain separation tag, at most 255 bytes.
    """

    def __init__(self, tag: bytes) -> None:
        tag_prime = tag + bytes([len(tag)])
        self._begun = sha512(bytes(128))  # Z_pad, one block of SHA-512, is the same for all
        self._after_message = group.UNIFORM_LENGTH.to_bytes(2) + b"\0" + tag_prime
        self._after_first = b"\1" + tag_prime

    def __call__(self, message: bytes) -> bytes:
        first = self._begun.copy()
        first.update(message + self._after_message)
        return sha512(first.digest() + self._after_first).digest()


def length_prefixed(data: bytes) -> bytes:
    """Return I2OSP(len(data), 2) || data.

    Raises:
        InvalidInputError: it is longer than `MAX_INPUT`.
    """
    _require_input(data)
    return len(data).to_bytes(2) + data


def _require_input(data: bytes) -> None:
    if len(data) > MAX_INPUT:
        raise InvalidInputError(f"expected at most {MAX_INPUT} bytes, got {len(data)}")


OPRF = Suite(0)
VOPRF = Suite(1)
