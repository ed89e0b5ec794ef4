"""A book to be screened: which columns are identifiers, and the table of what was found."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from jointrisk.errors import InvalidInputError
from jointrisk.identifiers import Kind
from jointrisk.rpc.v1 import signal_pb2 as pb
from jointrisk_node.data.cells import CellFile
from jointrisk_node.data.settings import DataSettings

if TYPE_CHECKING:
    import pyarrow as pa

IDENTIFIERS: Final = tuple(kind.value for kind in Kind)
COLUMNS: Final = (*IDENTIFIERS, "country", *(f"{kind}_country" for kind in IDENTIFIERS))
"""Columns that are read, as in files of listings (docs/listings.md): one for each kind, and countries beside them."""

_EXPOSURES = (("", "exposure"), ("elsewhere_", "exposure_elsewhere"))
_DAYS = (7, 30, 90)


@dataclass(frozen=True, slots=True)
class BookRow:
    """A person of a book.

    Attributes:
        person: what is sent.
        kept: the cells that are carried along.
    """

    person: pb.ScreenPerson = field(repr=False)
    kept: tuple[str, ...] = field(repr=False)


class Book:
    """A CSV or Parquet file of persons.

    Args:
        settings: where it is.
        keep: columns that are carried along into the result.
        country: of identifiers in rows without one.

    Raises:
        InvalidInputError: a column to keep is one that the result has, or is named twice.
    """

    def __init__(self, settings: DataSettings, keep: Sequence[str], country: str) -> None:
        self._kept = tuple(name.lower() for name in keep)
        if len(set(self._kept)) < len(self._kept) or set(self._kept) & set(result_columns()):
            raise InvalidInputError(
                f"expected columns to keep once each, and others than {', '.join(result_columns())}, which results have"
            )
        known = (*COLUMNS, *(name for name in self._kept if name not in COLUMNS))
        self._file = CellFile(settings, known, required=self._kept, textual=IDENTIFIERS, ignore_others=True)
        self._country = country

    def size(self) -> int:
        """Return how many rows it has. All of it is read: a line that is no row shows before anybody is asked about.

        Raises:
            InvalidInputError: it cannot be read to its end, or has no column of identifiers.
            NotFoundError: there is no file.
        """
        if not set(self._file.columns()) & set(IDENTIFIERS):
            raise InvalidInputError(f"expected a column of identifiers, one or more of {', '.join(IDENTIFIERS)}")
        return sum(len(batch.rows) for batch in self._file.batches())

    def rows(self) -> Iterator[BookRow]:
        """Yield the rows. Raises as `size`."""
        columns = self._file.columns()
        for batch in self._file.batches():
            for number, cells in enumerate(batch.rows, start=batch.first):
                row = dict(zip(columns, cells, strict=True))
                yield BookRow(self._person(number, row), tuple(row[name] for name in self._kept))

    def _person(self, number: int, row: Mapping[str, str]) -> pb.ScreenPerson:
        everywhere = row.get("country", "").strip() or self._country
        identifiers = [
            pb.PersonIdentifier(
                kind=kind, country=row.get(f"{kind}_country", "").strip() or everywhere, value=row[kind]
            )
            for kind in IDENTIFIERS
            if row.get(kind, "").strip()
        ]
        return pb.ScreenPerson(row=number, identifiers=identifiers)


def result_columns() -> tuple[str, ...]:
    """Return the columns of a result beside those that are carried along."""
    exposures = tuple(name for prefix, _ in _EXPOSURES for name in _exposure_names(prefix))
    return ("row", "outcome", "lenders", "other_lenders", *exposures, "listings", "unopened", "reason")


def result_table(keep: Sequence[str], found: Sequence[tuple[pb.ScreenedPerson, tuple[str, ...]]]) -> "pa.Table":
    """Return the table of persons about whom there is something to tell.

    Args:
        keep: names of the columns that are carried along.
        found: what was found, and the cells that are carried along.
    """
    import pyarrow as pa

    texts = {"outcome", "listings", "reason", *keep}
    names = ("row", *keep, *result_columns()[1:])
    fields = [pa.field(name, pa.string() if name in texts else pa.int64()) for name in names]
    rows = [{**dict(zip(keep, kept, strict=True)), **_result(one)} for one, kept in found]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def _result(one: pb.ScreenedPerson) -> dict[str, Any]:
    if one.WhichOneof("outcome") == "refused":
        return {"row": one.row, "outcome": "refused", "reason": one.refused}
    signal = one.signal
    result: dict[str, Any] = {
        "row": one.row,
        "outcome": "listed" if signal.listings else "unopened",
        "lenders": signal.lenders,
        "other_lenders": signal.other_lenders,
        "listings": "; ".join(map(listing_text, signal.listings)),
        "unopened": sum(entry.count for entry in signal.unopened),
    }
    for prefix, name in _EXPOSURES:
        result |= _exposure(prefix, getattr(signal, name))
    return result


def listing_text(one: pb.PersonListing) -> str:
    """Return a listing on one line."""
    marks = [word for word, true in (("disputed", one.disputed), ("own", one.own)) if true]
    days = f"{one.listed_on} to {one.expires_on}"
    return " ".join([one.category, one.severity, days, one.amount_band, one.member_kind, *marks])


def _exposure_names(prefix: str) -> list[str]:
    counted = [f"{prefix}{what}_{days}d" for days in _DAYS for what in ("application_lenders", "applications")]
    return [f"{prefix}loan_lenders", f"{prefix}loans", *counted]


def _exposure(prefix: str, exposure: pb.Exposure) -> dict[str, int]:
    numbers = [exposure.active_loan_lenders, exposure.active_loans]
    for one in exposure.applications:
        numbers += [one.lenders, one.applications]
    return dict(zip(_exposure_names(prefix), numbers, strict=True))
