"""How many different lenders stand behind entries about one person, or behind some of them."""

from collections import Counter
from collections.abc import Collection, Iterable

from jointrisk.listing.label import Label
from jointrisk.listing.record import Record

OpenedEntry = tuple[Record, Label]
"""An entry that has opened, and what it says."""


class Lenders:
    """The lenders behind a person's entries, over all of the person's tags and epochs.

    The rule is that of `jointrisk.listing.stamp.distinct_listers_of_person` (docs/protocol.md, section 4.4). It is
    applied once, to all entries, so that some of them never stand for more lenders than all of them.

    Args:
        entries: everything that has opened and has not expired.
    """

    def __init__(self, entries: Iterable[OpenedEntry]) -> None:
        self._names: dict[tuple[bytes, bytes], bytes] = {}
        for record, label in entries:
            place = _place(record)
            self._names[place] = min(label.pseudonym, self._names.get(place, label.pseudonym))

    def count(self, entries: Iterable[OpenedEntry], *, without: Collection[bytes] = ()) -> int:
        """Return the number of different lenders behind some of the entries.

        Args:
            entries: those, all of them given before.
            without: pseudonyms of a lender that is not counted. One lender is left out for each: *who copies this
                lender's pseudonym is counted as soon as both are under one tag, and hides nobody but itself before.*
        """
        places = {_place(record) for record, _ in entries}
        if not places:
            return 0
        uses = Counter((self._names[place], place[0]) for place in places)
        most: dict[bytes, int] = {}
        for (name, _), count in uses.items():
            most[name] = max(count, most.get(name, 0))
        return sum(most.values()) - len(most.keys() & set(without))


def _place(record: Record) -> tuple[bytes, bytes]:
    return record.sealed.tag, record.stamp
