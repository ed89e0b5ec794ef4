"""Short strings that people compare over another channel: of one key, of a whole federation, of a ceremony's terms.

All are the first 100 bits of a SHA-256, so that finding a key with somebody else's string costs about 2^100
tries. Base 32 (RFC 4648) has neither 0 nor 1; whoever types one for O or I is understood.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping

_GROUPS = 5
_GROUP_LENGTH = 4
_READ_AS = str.maketrans({"0": "O", "1": "I", "-": None, " ": None, "\t": None, "\n": None})


def fingerprint(public_key: bytes) -> str:
    """Return the fingerprint of an identity key (Ed25519, 32 bytes): five groups of four characters."""
    return _grouped(b"jointrisk/v1/fingerprint", public_key)


def same_fingerprint(typed: str, public_key: bytes) -> bool:
    """Tell whether a person typed the whole fingerprint of a key; case, dashes and spaces are free."""
    return _same(typed, fingerprint(public_key))


def terms_fingerprint(digest: bytes) -> str:
    """Return the string that people compare before they approve the terms of a ceremony.

    Args:
        digest: of the terms, 32 bytes.
    """
    return _grouped(b"jointrisk/v1/ceremony-terms", digest)


def same_terms(typed: str, digest: bytes) -> bool:
    """Tell whether a person typed the whole fingerprint of a ceremony's terms."""
    return _same(typed, terms_fingerprint(digest))


def authentication_string(
    federation: str, ca_fingerprint: bytes, coordinator_key: bytes, members: Mapping[str, bytes]
) -> str:
    """Return the string over a whole federation that founding members compare.

    It is the same at two members only if both see the same CA, coordinator key, members and keys.

    Args:
        federation: its name.
        ca_fingerprint: SHA-256 of the CA certificate.
        coordinator_key: the coordinator's identity key.
        members: member id -> identity key as pinned.
    """
    fields = [federation.encode(), ca_fingerprint, coordinator_key]
    fields += [part for name in sorted(members) for part in (name.encode(), members[name])]
    return _grouped(b"jointrisk/v1/federation", *fields)


def _same(typed: str, expected: str) -> bool:
    read = typed.upper().translate(_READ_AS)
    return hmac.compare_digest(read.encode(), expected.replace("-", "").encode())


def _grouped(*fields: bytes) -> str:
    # Lengths in front of the fields: no two lists of fields share their bytes.
    digest = hashlib.sha256(b"".join(len(field).to_bytes(4, "big") + field for field in fields)).digest()
    text = base64.b32encode(digest).decode()[: _GROUPS * _GROUP_LENGTH]
    return "-".join(text[at : at + _GROUP_LENGTH] for at in range(0, len(text), _GROUP_LENGTH))
