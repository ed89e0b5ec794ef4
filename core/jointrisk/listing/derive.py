"""From an output of the oblivious function to what listings are found, proven and sealed with.

    witness || key = HKDF-SHA256(output, no salt, info = "jointrisk/v1/listing" || I2OSP(epoch, 8)), 16 and 32 bytes
    tag            = SHA-256(witness)[:16]

Everybody who has evaluated an identifier gets the same three (RFC 5869). The tag is public and tells nothing about the
key. The witness is shown to the coordinator with an append: it proves that the lister has evaluated the identifier
(*tag squatting: appending under tags that were read from the log*). It does not give the key either.
"""

import hmac
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from jointrisk.errors import InvalidInputError

OUTPUT_LENGTH = 64
"""Bytes of an output of the oblivious function (`jointrisk.oprf.suite.OUTPUT_LENGTH`)."""

WITNESS_LENGTH = 16
KEY_LENGTH = 32
TAG_LENGTH = 16

_DOMAIN = b"jointrisk/v1/listing"
_EPOCH_LENGTH = 8
_SHA256 = SHA256()


@dataclass(frozen=True, slots=True)
class ListingKeys:
    """What belongs to one identifier in one epoch; made by `derive`. The `repr` shows the epoch alone.

    Attributes:
        epoch: the epoch of the group key.
        tag: what its entries are found under, 16 bytes; public.
        witness: what an append is allowed with, 16 bytes; for the coordinator's eyes.
        key: what its entries are sealed with, 32 bytes; never leaves the node, never stored.
    """

    epoch: int
    tag: bytes = field(repr=False)
    witness: bytes = field(repr=False)
    key: bytes = field(repr=False)


def derive(output: bytes, epoch: int) -> ListingKeys:
    """Return witness, key and tag for an output.

    Args:
        output: 64 bytes of `jointrisk.oprf.threshold.Quorum.combine`.
        epoch: the epoch of the key that it was evaluated with, 0 to 2^64 - 1.

    Raises:
        InvalidInputError: the output has another length, or the epoch is out of range.
    """
    require_length(output, OUTPUT_LENGTH, "an output")
    info = _DOMAIN + epoch_bytes(epoch)
    derived = HKDF(algorithm=_SHA256, length=WITNESS_LENGTH + KEY_LENGTH, salt=None, info=info).derive(output)
    witness = derived[:WITNESS_LENGTH]
    return ListingKeys(epoch, tag_of(witness), witness, derived[WITNESS_LENGTH:])


def tag_of(witness: bytes) -> bytes:
    """Return the tag of a witness, 16 bytes.

    Raises:
        InvalidInputError: the witness has another length.
    """
    require_length(witness, WITNESS_LENGTH, "a witness")
    return sha256(witness).digest()[:TAG_LENGTH]


def fits(witness: bytes, tag: bytes) -> bool:
    """Tell whether who shows this witness may append under the tag: the coordinator's check, in constant time.

    A witness or a tag of another length fits nothing.
    """
    return len(witness) == WITNESS_LENGTH and hmac.compare_digest(tag_of(witness), tag)


def epoch_bytes(epoch: int) -> bytes:
    """Return I2OSP(epoch, 8).

    Raises:
        InvalidInputError: the epoch is no integer from 0 to 2^64 - 1.
    """
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch < 1 << (8 * _EPOCH_LENGTH):
        raise InvalidInputError("epoch: expected an integer from 0 to 2^64 - 1")
    return epoch.to_bytes(_EPOCH_LENGTH)


def require_length(data: bytes, length: int, what: str) -> None:
    """Refuse bytes of another length; the message holds the lengths alone.

    Args:
        data: the bytes.
        length: how many they must be.
        what: what they are, with its article.

    Raises:
        InvalidInputError: there are more or fewer.
    """
    if len(data) != length:
        raise InvalidInputError(f"expected {what} of {length} bytes, got {len(data)}")
