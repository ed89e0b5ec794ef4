"""Which field names stand for something that logs, audit records and error messages must not hold.

A name, not a value, is judged: values cannot be told apart, and a name that is wrong once is wrong every
time, so that a test finds it.
"""

import re
from functools import lru_cache

_WORDS = frozenset(
    {
        "credential", "identifier", "label", "passphrase", "password", "passwd", "plaintext", "score",
        "secret", "share", "token", "witness",
    },
)  # fmt: skip
_KEY_OWNERS = frozenset({"public", "primary", "foreign", "idempotency"})
_HARMLESS_ENDS = frozenset({"count", "fingerprint", "id", "kind", "seconds", "version"})
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+")


@lru_cache(maxsize=4096)  # the same few names come again and again
def is_sensitive(name: str) -> bool:
    """Tell whether a field of this name would hold a token, secret, key material, label, score or identifier.

    ``token``, ``signing_key``, ``keyMaterial`` and ``scores`` are; ``public_key``, ``key_fingerprint``,
    ``token_count`` and ``member_id`` are not.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _HARMLESS_ENDS:
        return False
    stems = [word.removesuffix("s") for word in words]
    whole = [*words, *(word.removesuffix("es") for word in words)]
    return not _WORDS.isdisjoint([*whole, *stems]) or _names_a_key(stems)


def _names_a_key(stems: list[str]) -> bool:
    """Tell whether the name means the key itself, not something about it: ``x_key``, ``key_material``."""
    owners = [before for before, word in zip(["", *stems], stems, strict=False) if word == "key"]
    about = stems[0] == "key" and stems[-1] not in {"key", "material", "byte", "hex", "pem"}
    return any(owner not in _KEY_OWNERS for owner in owners) and not about
