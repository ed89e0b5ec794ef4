"""Invitation tokens: what a coordinator hands to an institution, over a channel that both people trust.

A token is one printable word, ``jtr1.`` and then base64url of::

    CA fingerprint 32 | invitation id 16 | secret 32 | expiry, seconds since 1970, 8 | length of the name 1 |
    member name | join address | checksum 4

The checksum (the first bytes of a SHA-256 over all before it) tells a mistyped token from a refused one before
anything is sent; it protects nothing.
"""

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.errors import InvalidInputError
from jointrisk.federation.names import check_address, check_name
from jointrisk.federation.signing import verify_signature

SECRET_LENGTH = 32
ID_LENGTH = 16

_PREFIX = "jtr1."
_HEAD = struct.Struct(f">32s{ID_LENGTH}s{SECRET_LENGTH}sQB")
_CHECKSUM_LENGTH = 4
_LONGEST = 1024
_LAST_SECOND = 253402300799  # 9999-12-31, the last that datetime holds
_PROOF_CONTEXT = b"jointrisk/v1/join"


@dataclass(frozen=True)
class InvitationToken:
    """What a token says.

    Attributes:
        address: the coordinator's join port, "host:port".
        ca_fingerprint: SHA-256 of the CA certificate's DER, 32 bytes.
        invitation_id: 16 bytes as hex.
        secret: 32 bytes; whoever holds it can take the place that the invitation offers.
        expires_at: aware, UTC, whole seconds.
        member_id: the name that the new member will have.
    """

    address: str
    ca_fingerprint: bytes
    invitation_id: str
    secret: bytes = field(repr=False)
    expires_at: datetime
    member_id: str


def encode_token(token: InvitationToken) -> str:
    """Return the printable form.

    Raises:
        InvalidInputError: name or address are not of their form.
    """
    name = check_name(token.member_id, "member").encode()
    address = check_address(token.address, "join address").encode()
    head = _HEAD.pack(
        token.ca_fingerprint,
        bytes.fromhex(token.invitation_id),
        token.secret,
        int(token.expires_at.timestamp()),
        len(name),
    )
    body = head + name + address
    return _PREFIX + base64.urlsafe_b64encode(body + _checksum(body)).decode().rstrip("=")


def decode_token(text: str) -> InvitationToken:
    """Read a token as a person pasted it; white space in it is ignored.

    Raises:
        InvalidInputError: it is no token, or was mistyped or cut. The message holds nothing of it.
    """
    body = _body("".join(text.split()))
    fingerprint, invitation_id, secret, expiry, length = _HEAD.unpack_from(body)
    rest = body[_HEAD.size :]
    try:
        name, address = rest[:length].decode("ascii"), rest[length:].decode("ascii")
        return InvitationToken(
            address=check_address(address, "join address"),
            ca_fingerprint=fingerprint,
            invitation_id=invitation_id.hex(),
            secret=secret,
            expires_at=datetime.fromtimestamp(min(expiry, _LAST_SECOND), UTC),
            member_id=check_name(name, "member"),
        )
    except (UnicodeDecodeError, InvalidInputError) as error:
        raise _mistyped("it holds no name and address") from error


def hash_secret(secret: bytes) -> bytes:
    """Return what the coordinator keeps of a secret: its SHA-256. 32 random bytes need no slow hash."""
    return hashlib.sha256(secret).digest()


def sign_join(key: Ed25519PrivateKey, invitation_id: str, certificate_request: bytes) -> bytes:
    """Return the proof that a joining node holds its identity key (``JoinRequest.proof``)."""
    return key.sign(_join_bytes(invitation_id, certificate_request))


def verify_join(proof: bytes, identity_key: bytes, invitation_id: str, certificate_request: bytes) -> bool:
    """Tell whether ``proof`` was made with the private half of ``identity_key`` for this very request."""
    return verify_signature(_join_bytes(invitation_id, certificate_request), proof, identity_key)


def _join_bytes(invitation_id: str, certificate_request: bytes) -> bytes:
    digest = hashlib.sha256(certificate_request).digest()
    return b"\0".join((_PROOF_CONTEXT, invitation_id.encode(), digest))


def _body(word: str) -> bytes:
    if not word.startswith(_PREFIX):
        raise _mistyped(f"expected it to begin with {_PREFIX!r}")
    if len(word) > _LONGEST:
        raise _mistyped(f"expected at most {_LONGEST} characters, got {len(word)}")
    encoded = word.removeprefix(_PREFIX)
    try:
        # validate: characters outside the alphabet would otherwise be dropped in silence
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _mistyped("it holds characters that no token holds, or was cut") from error
    body, checksum = raw[:-_CHECKSUM_LENGTH], raw[-_CHECKSUM_LENGTH:]
    if len(body) < _HEAD.size or checksum != _checksum(body):
        raise _mistyped("its checksum is wrong")
    return body


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(_PREFIX.encode() + body).digest()[:_CHECKSUM_LENGTH]


def _mistyped(why: str) -> InvalidInputError:
    return InvalidInputError(
        f"the invitation token is mistyped or cut: {why}", remedy="Copy the whole token again, in one piece."
    )
