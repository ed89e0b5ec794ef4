"""What a ceremony needs of other cryptography, handed in: this package has no code of its own for it."""

from collections.abc import Callable
from typing import Protocol

from jointrisk.oprf.ceremony import encoding
from jointrisk.oprf.ceremony.terms import Terms

Sign = Callable[[bytes], bytes]
"""Signs with a party's identity key: Ed25519, 64 bytes; the same message gives the same signature (RFC 8032)."""

PRIVATE_KEY_LENGTH = 32
SEALED_LENGTH = 80
"""Bytes of a sealed share: the sender's ephemeral public key (32), ciphertext (32), tag (16)."""

_DOMAIN = b"jointrisk/v1/ceremony-share"


class Suite(Protocol):
    """Signatures and sealing. `jointrisk.ceremony_suite.CeremonySuite` is the one that is used.

    Everything is a function of its arguments, so that everybody judges alike and a restarted party repeats itself.
    """

    def verifies(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether this is an Ed25519 signature over the message; a malformed key has none."""
        ...

    def public_key(self, private_key: bytes) -> bytes:
        """Return the X25519 public key of any 32 bytes."""
        ...

    def is_usable(self, public_key: bytes) -> bool:
        """Tell whether shares can be sealed to this X25519 key: it is no point of small order."""
        ...

    def seal(self, ephemeral_key: bytes, recipient: bytes, context: bytes, plaintext: bytes) -> bytes:
        """Seal 32 bytes to a usable public key.

        Args:
            ephemeral_key: 32 random bytes for this recipient and plaintext alone.
            recipient: the X25519 public key.
            context: what the sealed bytes are; the same is needed to open them.
            plaintext: the secret.

        Returns:
            `SEALED_LENGTH` bytes.
        """
        ...

    def open(self, private_key: bytes, sealed: bytes, context: bytes) -> bytes | None:
        """Open what `seal` made, or return None when it does not open."""
        ...


def share_context(terms: Terms, dealer: str, receiver: str) -> bytes:
    """Return what binds a sealed share to its ceremony, dealer and receiver: a copy of it opens nowhere else."""
    return encoding.block(_DOMAIN) + terms.session + terms.digest + encoding.name(dealer) + encoding.name(receiver)
