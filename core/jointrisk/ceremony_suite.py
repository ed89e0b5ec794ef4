"""Signatures and sealing for key ceremonies, from ``cryptography``; the state machines get them handed in.

    sealed = ephemeral public key (32) | ChaCha20-Poly1305(key, zero nonce, share, associated data = context)
    key    = HKDF-SHA256(X25519(ephemeral, recipient), salt = ephemeral public key | recipient, info = context)

A zero nonce is right because every key is used once: the ephemeral key is drawn for one share (RFC 7748, RFC 5869,
RFC 8439).
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jointrisk.errors import InvalidInputError
from jointrisk.federation.signing import verify_signature

_KEY_LENGTH = 32
_NONCE = bytes(12)
_PROBE = X25519PrivateKey.from_private_bytes(bytes(range(_KEY_LENGTH)))


class CeremonySuite:
    """The one implementation of `jointrisk.oprf.ceremony.Suite`."""

    def verifies(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether this is an Ed25519 signature over the message; a malformed key has none."""
        return verify_signature(message, signature, public_key)

    def public_key(self, private_key: bytes) -> bytes:
        """Return the X25519 public key of 32 bytes."""
        return _public_bytes(X25519PrivateKey.from_private_bytes(private_key))

    def is_usable(self, public_key: bytes) -> bool:
        """Tell whether shares can be sealed to this X25519 key: every product with a point of small order is zero."""
        return _agreed(_PROBE, public_key) is not None

    def seal(self, ephemeral_key: bytes, recipient: bytes, context: bytes, plaintext: bytes) -> bytes:
        """Seal to a usable public key; see the top of this module.

        Args:
            ephemeral_key: 32 random bytes for this recipient and plaintext alone.
            recipient: the X25519 public key.
            context: what the sealed bytes are.
            plaintext: the secret.

        Raises:
            InvalidInputError: the recipient's key is not usable.
        """
        ephemeral = X25519PrivateKey.from_private_bytes(ephemeral_key)
        agreed = _agreed(ephemeral, recipient)
        if agreed is None:
            raise InvalidInputError("expected a usable X25519 key, got a point of small order")
        public = _public_bytes(ephemeral)
        return public + _cipher(agreed, public + recipient, context).encrypt(_NONCE, plaintext, context)

    def open(self, private_key: bytes, sealed: bytes, context: bytes) -> bytes | None:
        """Open what `seal` made, or return None when it does not open."""
        recipient = X25519PrivateKey.from_private_bytes(private_key)
        public, ciphertext = sealed[:_KEY_LENGTH], sealed[_KEY_LENGTH:]
        agreed = _agreed(recipient, public)
        if agreed is None:
            return None
        try:
            return _cipher(agreed, public + _public_bytes(recipient), context).decrypt(_NONCE, ciphertext, context)
        except InvalidTag:
            return None


def _agreed(private_key: X25519PrivateKey, public_key: bytes) -> bytes | None:
    try:
        return private_key.exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError:  # the product is zero, or the key is not 32 bytes
        return None


def _cipher(agreed: bytes, salt: bytes, context: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(HKDF(algorithm=SHA256(), length=_KEY_LENGTH, salt=salt, info=context).derive(agreed))


def _public_bytes(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
