"""One byte form for every JSON value, so that hashes and signatures of it can be made again elsewhere.

Keys are sorted by code point, there is no white space, text is UTF-8 and not escaped beyond what JSON
demands, numbers are written as Python writes them (the shortest form that reads back as the same double).
``1`` and ``1.0`` are different values with different bytes.
"""

import json
import math
from typing import Any

from jointrisk.errors import InvalidInputError

_PLAIN = frozenset({str, int, bool, type(None)})


def canonical_json(value: Any) -> bytes:
    """Return the canonical bytes of a value made of dict, list, tuple, str, int, float, bool and None.

    Raises:
        InvalidInputError: the value holds something that JSON has no form for: another type, a key that is no
            string, NaN or an infinity, half of a surrogate pair.
    """
    _require_json(value)
    try:
        written = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return written.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInputError("expected text that UTF-8 can carry, got half of a surrogate pair") from None


def _require_json(value: Any) -> None:
    """Refuse what ``json`` would change on the way: it writes the key 1 as "1", and NaN as no JSON at all."""
    if type(value) in _PLAIN:  # what almost all values are: they are written as they stand
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise InvalidInputError(f"expected keys that are strings, got a {type(key).__name__}")
            if type(inner) not in _PLAIN:
                _require_json(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _require_json(inner)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidInputError("expected a finite number, got NaN or an infinity")
    elif not isinstance(value, str | int | float | bool | None):
        raise InvalidInputError(f"expected a JSON value, got a {type(value).__name__}")
