"""A lender's pseudonym for a person: merges that lender's entries across kinds of identifiers and epochs.

    pseudonym = HMAC-SHA256(secret, "jointrisk/v1/lister-pseudonym" || part ...)[:16]
    part      = I2OSP(len, 2) || bytes, for kind, country, canonical form of the primary identifier

Neither epoch nor version of the canonical forms is in it: entries that are published again stay the same lender's. It
is sealed in the label, and other for each person, so that it doesn't tell that two persons are one lender's. A lender
can make up pseudonyms; how many lenders there are is decided by stamps (`jointrisk.listing.stamp`).
"""

import hmac
from typing import Final

from jointrisk.identifiers import Identifier
from jointrisk.listing.derive import require_length
from jointrisk.listing.label import PSEUDONYM_LENGTH

SECRET_LENGTH: Final = 32
"""Bytes of a lister's secret, drawn once and kept sealed for as long as the member is one."""

_DOMAIN = b"jointrisk/v1/lister-pseudonym"


def lister_pseudonym(secret: bytes, primary: Identifier) -> bytes:
    """Return the pseudonym, 16 bytes, for all entries about one person.

    Args:
        secret: the lister's secret, 32 bytes.
        primary: the identifier by which the lender knows the person, the same for all of the person's entries.

    Raises:
        InvalidInputError: the secret has another length.
    """
    require_length(secret, SECRET_LENGTH, "a lister's secret")
    texts = (text.encode("utf-8") for text in (primary.kind.value, primary.country, primary.canonical))
    message = _DOMAIN + b"".join(len(text).to_bytes(2) + text for text in texts)
    return hmac.digest(secret, message, "sha256")[:PSEUDONYM_LENGTH]
