"""Masks: streams of AES-256-CTR under keys of 256 bits, each used for one sum.

A mask between two members is added by one and subtracted by the other, so it vanishes in the sum; a member's own mask
is taken away by the coordinator when enough members say that it may. Both are bound by HKDF to everything that makes
the sum what it is. The counter begins at zero: no key is used for two sums.

Sources: Bonawitz et al., Practical secure aggregation (2017); NIST SP 800-38A; RFC 5869.
"""

from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from jointrisk.learning.secure_aggregation import encoding

KEY_LENGTH = 32

Words = NDArray[np.uint32] | NDArray[np.uint64]
"""Numbers modulo 2^32 or 2^64; little-endian in messages, as the streams are."""

_PAIR = b"jointrisk/v1/secagg-pair-mask"
_OWN = b"jointrisk/v1/secagg-own-mask"
_CHUNK = 1 << 19
_ZEROS = bytes(_CHUNK)
_SPARE = 15


@dataclass(frozen=True, slots=True)
class SumContext:
    """What a sum is, to the last detail that could differ between two parties.

    Attributes:
        terms: digest of the session's terms, 32 bytes.
        keys: digest of the list of signed keys, 32 bytes.
        cohort: digest of the list of those that mask with each other, 32 bytes.
        round: of the run.
        number: of the sum in its session.
        request: H(request), 32 bytes.
    """

    terms: bytes
    keys: bytes
    cohort: bytes
    round: int
    number: int
    request: bytes

    def encoded(self) -> bytes:
        """Return its bytes."""
        numbers = encoding.number(self.round, 4) + encoding.number(self.number, 4)
        return self.terms + self.keys + self.cohort + numbers + self.request


def pair_key(agreed: bytes, context: SumContext, one: str, other: str) -> bytes:
    """Return the key of the mask between two members, the same for both.

    Args:
        agreed: what their keys agree on (X25519), 32 bytes.
        context: of the sum.
        one: a member.
        other: the other.
    """
    first, second = sorted((one, other))
    return _derived(agreed, encoding.block(_PAIR) + context.encoded() + encoding.name(first) + encoding.name(second))


def own_key(seed: bytes, context: SumContext, member: str) -> bytes:
    """Return the key of a member's own mask.

    Args:
        seed: 32 random bytes.
        context: of the sum.
        member: whose.
    """
    return _derived(seed, encoding.block(_OWN) + context.encoded() + encoding.name(member))


def add(words: Words, key: bytes, *, subtract: bool = False) -> None:
    """Add a mask to ``words`` in place, or take it away.

    In pieces that stay in the processor's cache: a mask as long as a large model is nowhere in memory.

    Args:
        words: contiguous, one-dimensional, little-endian.
        key: 32 bytes, of this mask alone.
        subtract: whether it is taken away.
    """
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    buffer = bytearray(_CHUNK + _SPARE)
    step = _CHUNK // words.itemsize
    for begin in range(0, len(words), step):
        piece = words[begin : begin + step]
        stream.update_into(memoryview(_ZEROS)[: piece.nbytes], buffer)
        mask = np.frombuffer(buffer, dtype=words.dtype, count=len(piece))
        if subtract:
            np.subtract(piece, mask, out=piece)
        else:
            np.add(piece, mask, out=piece)


def stream(key: bytes, length: int) -> bytes:
    """Return the first bytes of a mask: for uniform numbers that are needed in one piece."""
    return Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update(bytes(length))


def _derived(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_LENGTH, salt=None, info=info).derive(secret)
