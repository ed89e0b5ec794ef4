"""Keys that members agree on (X25519), and shares sealed from one member to another.

    sealed = ChaCha20-Poly1305(key, zero nonce, plaintext, associated data)
    key    = HKDF-SHA256(X25519(sender, receiver), no salt, info = domain | context | sender | receiver)

Both keys are signed, so what opens comes from the sender. A zero nonce is right because the keys are drawn for one
session, and a sender seals one plaintext to each receiver in it (RFC 7748, RFC 5869, RFC 8439).
"""

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jointrisk.errors import InvalidInputError
from jointrisk.learning.secure_aggregation import encoding

KEY_LENGTH = 32
TAG_LENGTH = 16

_SEALED = b"jointrisk/v1/secagg-share"
_SEED = b"jointrisk/v1/secagg-seed-commitment"
_SHARE = b"jointrisk/v1/secagg-share-commitment"
_NONCE = bytes(12)
_PROBE = X25519PrivateKey.from_private_bytes(bytes(range(KEY_LENGTH)))


def public_key(private_key: bytes) -> bytes:
    """Return the X25519 public key of any 32 bytes."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def is_usable(key: bytes) -> bool:
    """Tell whether something can be agreed on with this public key: it is no point of small order."""
    return _exchange(_PROBE, key) is not None


def agree(private_key: bytes, other: bytes) -> bytes:
    """Return what two keys agree on, 32 bytes.

    Raises:
        InvalidInputError: the other key is not usable.
    """
    agreed = _exchange(X25519PrivateKey.from_private_bytes(private_key), other)
    if agreed is None:
        raise InvalidInputError("expected a usable X25519 key, got a point of small order")
    return agreed


def seal(agreed: bytes, context: bytes, sender: str, receiver: str, plaintext: bytes, associated: bytes) -> bytes:
    """Seal for a member; see the top of this module.

    Args:
        agreed: of the two members' sealing keys.
        context: digest of the list of keys, which binds the session.
        sender: who seals.
        receiver: who can open.
        plaintext: the shares.
        associated: the commitments to them.
    """
    return _cipher(agreed, context, sender, receiver).encrypt(_NONCE, plaintext, associated)


def open_sealed(
    agreed: bytes, context: bytes, sender: str, receiver: str, sealed: bytes, associated: bytes
) -> bytes | None:
    """Open what `seal` made, or return None when it does not open."""
    try:
        return _cipher(agreed, context, sender, receiver).decrypt(_NONCE, sealed, associated)
    except InvalidTag:
        return None


def seed_commitment(seed: bytes, terms: bytes, member: str) -> bytes:
    """Return what a member says of its seed beforehand, so that a wrong one is noticed: SHA-256, 32 bytes."""
    return hashlib.sha256(encoding.block(_SEED) + terms + encoding.name(member) + seed).digest()


def share_commitment(share: bytes, what: int, context: bytes, dealer: str, receiver: str) -> bytes:
    """Return what a dealer says of a share, so that a wrong one is noticed: SHA-256, 32 bytes.

    It hides the share: each is uniform among 2^256, and those below the threshold are independent.

    Args:
        share: 33 bytes.
        what: 0 for a share of the mask key, 1 of the seed.
        context: digest of the list of keys.
        dealer: whose secret it is.
        receiver: whose share it is.
    """
    names = encoding.name(dealer) + encoding.name(receiver)
    return hashlib.sha256(encoding.block(_SHARE) + context + names + bytes((what,)) + share).digest()


def _exchange(private_key: X25519PrivateKey, other: bytes) -> bytes | None:
    try:
        return private_key.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError:  # the product is zero, or the key is not 32 bytes
        return None


def _cipher(agreed: bytes, context: bytes, sender: str, receiver: str) -> ChaCha20Poly1305:
    info = encoding.block(_SEALED) + context + encoding.name(sender) + encoding.name(receiver)
    return ChaCha20Poly1305(HKDF(algorithm=SHA256(), length=KEY_LENGTH, salt=None, info=info).derive(agreed))
