"""Documents that one party signs and others keep: rosters, feature contracts, approvals of admissions.

Verify first, parse afterwards: nothing here looks into a payload. The kind is part of what is signed, so that
a signature for one kind is never valid for another.
"""

import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from jointrisk.errors import InvalidInputError, UnauthenticatedError

PUBLIC_KEY_LENGTH = 32
SIGNATURE_LENGTH = 64

_CONTEXT = b"jointrisk/v1/document"
_KIND = re.compile(r"[a-z][a-z-]{0,31}")


@dataclass(frozen=True)
class Signed:
    """A signed document as it is kept and sent (``SignedDocument`` on the wire).

    Attributes:
        kind: what the payload is: "roster", "contract", "approval".
        payload: canonical JSON.
        signature: Ed25519, 64 bytes.
        signer: the signer's public key, 32 bytes. A hint for people; verification uses the pinned key.
    """

    kind: str
    payload: bytes
    signature: bytes
    signer: bytes


def new_identity_key() -> Ed25519PrivateKey:
    """Return a fresh identity key."""
    return Ed25519PrivateKey.generate()


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Return the public half of an identity key, 32 bytes."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def private_bytes(key: Ed25519PrivateKey) -> bytes:
    """Return an identity key as 32 bytes, to be sealed before it is written anywhere."""
    return key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def sign_document(kind: str, payload: bytes, key: Ed25519PrivateKey) -> Signed:
    """Sign a payload as a document of this kind.

    Raises:
        InvalidInputError: the kind is not lower case letters and dashes.
    """
    return Signed(kind, payload, key.sign(_signed_bytes(kind, payload)), public_bytes(key))


def verify_document(signed: Signed, kind: str, public_key: bytes) -> bytes:
    """Return the payload of a document that the holder of ``public_key`` signed as one of this kind.

    Args:
        signed: the document. Its ``signer`` is not looked at.
        kind: what it must be.
        public_key: the pinned Ed25519 key, 32 bytes.

    Raises:
        UnauthenticatedError: it is of another kind, or not signed with that key.
    """
    if signed.kind != kind:
        raise UnauthenticatedError(f"expected a signed {kind}, got a document of another kind")
    if not verify_signature(_signed_bytes(kind, signed.payload), signed.signature, public_key):
        raise UnauthenticatedError(f"the {kind} is not signed with the key that is pinned for its signer")
    return signed.payload


def verify_signature(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Tell whether ``signature`` is a valid Ed25519 signature over ``message``; malformed keys have none."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):  # ValueError: the key is not 32 bytes
        return False
    return True


def _signed_bytes(kind: str, payload: bytes) -> bytes:
    if not _KIND.fullmatch(kind):
        raise InvalidInputError("the kind of a signed document is 1 to 32 lower case letters and dashes")
    return b"\0".join((_CONTEXT, kind.encode(), payload))
