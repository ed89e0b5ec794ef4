"""Consent references: texts of the asker's own systems, under which it finds why it asked.

The asker's audit log holds the reference and a nonce, a holder's only the commitment, which shows a holder nothing and
still binds the asker: an auditor who reads both logs can compare them.
"""

import re
from hashlib import sha256

from jointrisk.errors import InvalidInputError

NONCE_LENGTH = 16
"""Random bytes that the asker draws for each commitment, and keeps."""

_DOMAIN = b"jointrisk/v1/consent"
_REFERENCE = re.compile(r"[A-Za-z0-9._:/-]{1,64}")
_DIALLED = re.compile(r"[0-9./-]+")
_IMEI = re.compile(r"[0-9:/-]{15,31}")


def consent_commitment(nonce: bytes, reference: str) -> bytes:
    """Return what holders see of a reference: SHA-256("jointrisk/v1/consent" || nonce || reference), 32 bytes.

    Args:
        nonce: 16 random bytes.
        reference: a checked reference.

    Raises:
        InvalidInputError: the nonce has another length, so that another reference could fit the commitment.
    """
    if len(nonce) != NONCE_LENGTH:
        raise InvalidInputError(f"expected a nonce of {NONCE_LENGTH} bytes, got {len(nonce)}")
    return sha256(_DOMAIN + nonce + reference.encode("ascii")).digest()


def check_consent_reference(text: str) -> str:
    """Return a reference that may stand in an audit log.

    Refused is what is an identifier by its check digit or numbering plan: residents' numbers, USCC, phone numbers,
    IMEI. Passport numbers and hexadecimal device ids have neither; they look like any reference.

    Raises:
        InvalidInputError: it is not 1 to 64 of A-Z, a-z, 0-9 and . _ : / -, or it is an identifier. The message does
            not repeat it.
    """
    if not _REFERENCE.fullmatch(text):
        raise InvalidInputError(
            "consent reference: expected 1 to 64 of A-Z, a-z, 0-9 and . _ : / -",
            remedy="Give the number under which your own systems hold the consent, such as app-2026-001234.",
        )
    if _is_identifier(text):
        raise InvalidInputError(
            "consent reference: expected a reference, got what is itself an identifier of a person or device",
            remedy="Give the number under which your own systems hold the consent; letters before it tell it apart.",
        )
    return text


def _is_identifier(text: str) -> bool:
    from jointrisk.identifiers import Kind
    from jointrisk.identifiers.resident import resident_countries

    countries = resident_countries()
    tried = [(Kind.RESIDENT_ID, country) for country in countries] + [(Kind.USCC, "CN")]
    if _DIALLED.fullmatch(text):
        tried += [(Kind.PHONE, country) for country in countries]
    if _IMEI.fullmatch(text):
        tried.append((Kind.DEVICE_ID, "CN"))
    return any(_is_one(kind, country, text) for kind, country in tried)


def _is_one(kind: str, country: str, text: str) -> bool:
    from jointrisk.identifiers import canonicalise

    try:
        canonicalise(kind, country, text)
    except InvalidInputError:
        return False
    return True
