"""The coordinator's stamp of the lister: tells different lenders under one tag apart, and tells nothing else.

    stamp = HMAC-SHA256(stamp secret, "jointrisk/v1/lister-stamp" || I2OSP(len(lister), 1) || lister || tag)[:8]

Lenders can invent pseudonyms, and not stamps: the coordinator knows who appends from the certificate. Under another tag
the same lender has another stamp, so stamps don't say which entries of the whole log are one lender's.
"""

import hmac
from collections import Counter
from collections.abc import Iterable
from typing import Final

from jointrisk.errors import CorruptError
from jointrisk.federation.names import check_name
from jointrisk.listing.derive import TAG_LENGTH, require_length
from jointrisk.listing.label import Label
from jointrisk.listing.record import STAMP_LENGTH, Record

SECRET_LENGTH: Final = 32
"""Bytes of the stamp secret, drawn once for an epoch's log and kept sealed at the coordinator."""

MOST_ENTRIES: Final = 8
"""Live entries of one lister under one tag, at most."""

_DOMAIN = b"jointrisk/v1/lister-stamp"


def lister_stamp(secret: bytes, lister: str, tag: bytes) -> bytes:
    """Return the stamp of a lister under a tag, 8 bytes.

    Args:
        secret: the coordinator's stamp secret, 32 bytes.
        lister: the member's name, from its certificate.
        tag: what it appends under.

    Raises:
        InvalidInputError: secret or tag has another length, or the name is none.
    """
    require_length(secret, SECRET_LENGTH, "a stamp secret")
    require_length(tag, TAG_LENGTH, "a tag")
    name = check_name(lister, "lister").encode("ascii")
    return hmac.digest(secret, _DOMAIN + bytes([len(name)]) + name + tag, "sha256")[:STAMP_LENGTH]


def distinct_listers(records: Iterable[Record]) -> dict[bytes, int]:
    """Return the number of different lenders for each tag that is there.

    Args:
        records: those that have opened. *A coordinator could make up others, with as many stamps as it likes.*
    """
    stamps: dict[bytes, set[bytes]] = {}
    for record in records:
        stamps.setdefault(record.sealed.tag, set()).add(record.stamp)
    return {tag: len(found) for tag, found in stamps.items()}


def distinct_listers_of_person(opened: Iterable[tuple[Record, Label]]) -> int:
    """Return the number of different lenders over all tags of one person: of the resident ID, the phone, ...

    Stamps say who is different under one tag, pseudonyms who is the same under two. A pseudonym stands for as many
    lenders as have used it under one tag, so that who copies another's pseudonym hides nobody but itself; who uses
    several is counted at most once under each tag.

    Args:
        opened: entries that have opened (`jointrisk.listing.record.Opened.labels`), under any of the person's tags.
    """
    names: dict[tuple[bytes, bytes], bytes] = {}
    for record, label in opened:
        place = record.sealed.tag, record.stamp
        names[place] = min(label.pseudonym, names.get(place, label.pseudonym))
    uses = Counter((name, tag) for (tag, _), name in names.items())
    most: dict[bytes, int] = {}
    for (name, _), count in uses.items():
        most[name] = max(count, most.get(name, 0))
    return sum(most.values())


def one_stamp_each(records: Iterable[Record]) -> None:
    """Check a lister's own records: all under one tag must bear one stamp, or it is counted as several lenders.

    Raises:
        CorruptError: under a tag there are two.
    """
    if any(count > 1 for count in distinct_listers(records).values()):
        raise CorruptError(
            "expected one stamp on all of this member's entries under a tag, got several",
            remedy="Keep the records: the coordinator counts this member more than once.",
        )
