"""Labels, keys and records for tests of encrypted listings."""

from datetime import date, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from fixed_randomness import fixed_randomness
from jointrisk.listing.derive import ListingKeys, derive
from jointrisk.listing.label import LONGEST_DAYS, AmountBand, Category, Label, MemberKind, Severity
from jointrisk.listing.record import Record, new_entry_id, seal
from jointrisk.listing.stamp import lister_stamp

UNHURRIED = settings(deadline=None)
"""Properties of listings take microseconds; what else the machine does is not their fault."""

EPOCH = 3
STAMP_SECRET = fixed_randomness("stamps")(32)
EVENTS = (Category.ACTIVE_LOAN, Category.APPLICATION)
FIRST_DAY = date(2000, 1, 1)
LAST_DAY = date(2179, 6, 6)

OUTPUTS = st.binary(min_size=64, max_size=64)
EPOCHS = st.integers(0, 2**64 - 1)


@st.composite
def _labels(draw: st.DrawFn) -> Label:
    category = draw(st.sampled_from(Category))
    severities = [one for one in Severity if (one is Severity.NONE) == (category in EVENTS)]
    listed_on = draw(st.dates(FIRST_DAY, LAST_DAY - timedelta(days=1)))
    most = min(LONGEST_DAYS, (LAST_DAY - listed_on).days)
    return Label(
        category=category,
        severity=draw(st.sampled_from(severities)),
        listed_on=listed_on,
        expires_on=listed_on + timedelta(days=draw(st.integers(1, most))),
        amount_band=draw(st.sampled_from(AmountBand)),
        member_kind=draw(st.sampled_from(MemberKind)),
        pseudonym=draw(st.binary(min_size=16, max_size=16)),
    )


LABELS = _labels()
"""Every label that there can be."""


def keys_of(person: str, epoch: int = EPOCH) -> ListingKeys:
    """Return the keys of a made-up output."""
    return derive(fixed_randomness(person)(64), epoch)


def label_of(**fields: Any) -> Label:
    """Return a label, with other fields where they are given."""
    usual: dict[str, Any] = {
        "category": Category.CONFIRMED_DEFAULT,
        "severity": Severity.HIGH,
        "listed_on": date(2026, 1, 31),
        "expires_on": date(2031, 1, 31),
        "amount_band": AmountBand.UNDER_20K,
        "member_kind": MemberKind.BANK,
        "pseudonym": bytes(range(16)),
    }
    return Label(**{**usual, **fields})


def record_of(keys: ListingKeys, entry: str, lister: str = "east-bank", **fields: Any) -> Record:
    """Return a record with an entry id of its own name."""
    sealed = seal(label_of(**fields), keys, new_entry_id(fixed_randomness(entry)))
    return Record(sealed, lister_stamp(STAMP_SECRET, lister, keys.tag))
