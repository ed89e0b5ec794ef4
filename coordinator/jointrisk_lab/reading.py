"""Tables of several lenders: read into memory, split, and made arrays under a contract.

Nothing of a row is written anywhere. A test row is never counted: the contract is drafted from the others, and a value
of a test row outside of what they showed is brought to the nearest end, an unknown word is a missing one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import DataBreachError, InvalidInputError, NotFoundError
from jointrisk.federation.contract import Feature, FeatureContract, contract_from_toml
from jointrisk.learning.encoding import with_buckets
from jointrisk.learning.tasks import MemberData
from jointrisk_coordinator.contracts.drafting import draft_of, usable_name
from jointrisk_coordinator.contracts.profiling import Sample, reader_of
from jointrisk_node.data.columns import plan, quoted_name, quoted_text
from jointrisk_node.data.table import TableBuilder

if TYPE_CHECKING:
    import duckdb

FEWEST_ROWS, FEWEST_EACH = 100, 20
"""A lender with fewer rows, or fewer goods or bads, is left out: a quarter of them would say nothing."""
TEST_SHARE = 0.25
_LENDER, _PLACE, _LABEL = "lab lender", "lab place", "lab label"
"""Columns of ours. No feature has such a name: a contract's have no spaces."""
_BATCH_ROWS = 65_536

Say = Callable[[str], None]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Wanted:
    """What to study.

    Attributes:
        files: the tables.
        label: the label column.
        lender: the column with the lender; None where each file is one.
        drop: columns that are no features.
        contract: a TOML file; None to draft.
    """

    files: tuple[Path, ...]
    label: str
    lender: str | None = None
    drop: frozenset[str] = frozenset()
    contract: Path | None = None


@dataclass(frozen=True)
class Lender:
    """One lender's rows.

    Attributes:
        name: as the table has it.
        book: what it trains and validates with.
        test: what nothing but the last figures sees.
    """

    name: str
    book: MemberData
    test: MemberData


@dataclass(frozen=True)
class Split:
    """All lenders under one contract, for one seed."""

    contract: FeatureContract
    lenders: tuple[Lender, ...]


class Tables:
    """The rows of all lenders that are large enough.

    Args:
        database: where they are the table ``loans``.
        wanted: what was read.
        say: told what was left out.
    """

    def __init__(self, database: "duckdb.DuckDBPyConnection", wanted: Wanted, say: Say) -> None:
        self._database = database
        self._wanted = wanted
        self._say = say
        query = f'SELECT "{_LENDER}", "{_LABEL}" FROM loans ORDER BY "{_PLACE}"'  # noqa: S608 - ours
        rows = database.execute(query).fetchnumpy()
        self._lenders = np.asarray(rows[_LENDER]).astype(str)
        self._labels = np.asarray(rows[_LABEL], dtype=np.uint8)
        self.names = tuple(np.unique(self._lenders).tolist())

    def split(self, seed: int) -> Split:
        """Return every lender's rows, another quarter of goods and bads held back for each seed."""
        test = self._test_rows(seed)
        self._mark(test)
        contract = self._contract()
        features = self._features(contract)
        lenders = []
        for name in self.names:
            own = self._lenders == name
            book, kept = (MemberData(features[own & part], self._labels[own & part]) for part in (~test, test))
            lenders.append(Lender(name, book, kept))
        return Split(contract, tuple(lenders))

    def _test_rows(self, seed: int) -> Mask:
        test, rng = np.zeros(len(self._labels), dtype=np.bool_), np.random.default_rng(seed)
        for name in self.names:
            for label in (0, 1):
                rows = rng.permutation(np.flatnonzero((self._lenders == name) & (self._labels == label)))
                test[rows[: round(len(rows) * TEST_SHARE)]] = True
        return test

    def _mark(self, test: Mask) -> None:
        """Make the view ``sample`` of what is no test row."""
        self._database.execute("CREATE OR REPLACE TABLE tested (place BIGINT)")
        self._database.execute("INSERT INTO tested SELECT unnest(?)", [np.flatnonzero(test).tolist()])
        self._database.execute(
            f'CREATE OR REPLACE VIEW sample AS SELECT * EXCLUDE ("{_LENDER}", "{_PLACE}") FROM loans '  # noqa: S608
            f'WHERE "{_PLACE}" NOT IN (SELECT place FROM tested)'
        )

    def _contract(self) -> FeatureContract:
        if (path := self._wanted.contract) is not None:
            return contract_from_toml(path.read_text(encoding="utf-8"), str(path))
        draft = draft_of(Sample(self._database), self._wanted.files[0], _LABEL)
        for name, why in draft.left_out.items():
            self._say(f"left out: {name} ({why})")
        # Nobody has confirmed directions, nor that a value is always there.
        unconfirmed = {"direction": "none", "missing": "allowed"}
        features = tuple(feature.model_copy(update=unconfirmed) for feature in draft.contract.features)
        return draft.contract.model_copy(update={"features": features})

    def _features(self, contract: FeatureContract) -> NDArray[np.float32]:
        self._view(contract)
        found = {row[0]: row[1] for row in self._database.execute("DESCRIBE book").fetchall()}
        columns, missing = plan(_labelled(contract), found)
        if missing:
            raise DataBreachError(f"expected the contract's columns in the tables, missing: {', '.join(missing)}")
        self._require_kept([(column.name, column.broken) for column in columns])
        builder = TableBuilder(contract)
        values = ", ".join(column.value for column in columns)
        # A cursor of its own: what others have left unread on the connection would be in its way.
        with self._database.cursor() as cursor:
            query = cursor.sql(f'SELECT {values} FROM book ORDER BY "{_PLACE}"')  # noqa: S608 - quoted
            for batch in query.to_arrow_reader(_BATCH_ROWS):
                builder.add(batch)
        table = builder.table()
        return with_buckets(contract, table.features, table.vocabularies)

    def _view(self, contract: FeatureContract) -> None:
        """Make the view ``book``; under a drafted contract every cell is brought to what the contract allows."""
        types = {row[0]: row[1] for row in self._database.execute("DESCRIBE loans").fetchall()}
        changed = [] if self._wanted.contract else [_fitting(one, types[one.name]) for one in contract.features]
        replaced = f"REPLACE ({', '.join(changed)})" if changed else ""
        self._database.execute(f"CREATE OR REPLACE VIEW book AS SELECT * {replaced} FROM loans")  # noqa: S608

    def _require_kept(self, columns: Sequence[tuple[str, str]]) -> None:
        counts = ", ".join(f"count(*) FILTER (({broken}) > 0)" for _, broken in columns)
        found = self._database.execute(f"SELECT {counts} FROM book").fetchall()[0]  # noqa: S608 - quoted
        told = [f"{name} in {count} rows" for (name, _), count in zip(columns, found, strict=True) if count]
        if told:
            raise DataBreachError(
                f"expected rows that keep the contract, it is broken by {', '.join(told)}",
                remedy="Correct the contract or the tables; without --contract one is drafted.",
            )


@contextmanager
def open_tables(wanted: Wanted, say: Say) -> Iterator[Tables]:
    """Read the tables into memory.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: a file cannot be read, a column is not there, labels are no labels, or fewer than two lenders
            have enough rows.
    """
    import duckdb

    for path in wanted.files:
        if not path.is_file():
            raise NotFoundError(f"expected a table at {path}, got no file")
    with duckdb.connect(config={"temp_directory": "", "autoinstall_known_extensions": False}) as database:
        try:
            database.execute("SET enable_progress_bar = false")
            _load(database, wanted, say)
        except duckdb.Error as error:
            # Never chained: DuckDB's text can quote a cell.
            raise InvalidInputError(
                f"the tables cannot be read ({type(error).__name__})",
                remedy="Give Parquet files, or CSV files with a header line in UTF-8, with the same columns.",
            ) from None
        _keep_large_lenders(database, say)
        yield Tables(database, wanted, say)


def _load(database: "duckdb.DuckDBPyConnection", wanted: Wanted, say: Say) -> None:
    columns = []
    for number, path in enumerate(wanted.files):
        database.execute(f"CREATE TABLE file{number} AS FROM {reader_of(path)}")
        columns.append([row[0] for row in database.execute(f"DESCRIBE file{number}").fetchall()])
    common = [name for name in columns[0] if all(name in other for other in columns)]
    for name in (wanted.label, *filter(None, [wanted.lender]), *wanted.drop):
        if name not in common:
            raise InvalidInputError(f"expected a column {name} in every table, got {', '.join(common)}")
    if some := sorted({name for one in columns for name in one} - set(common)):
        say(f"left out: {', '.join(some)} (not in every table)")
    parts = [_selected(wanted, common, number) for number in range(len(wanted.files))]
    database.execute(f"CREATE TABLE stacked AS {' UNION ALL '.join(parts)}")
    _require_labels(database, wanted.label, say)


def _selected(wanted: Wanted, common: Sequence[str], number: int) -> str:
    """Return a file's rows as SQL: features under names that contracts allow, then whose they are, then the label."""
    names = dict[str, str]()
    for name in common:
        if name not in {wanted.label, wanted.lender, *wanted.drop}:
            names[usable_name(name, names)] = name
    columns = [f"{quoted_name(name)} AS {quoted_name(usable)}" for usable, name in names.items()]
    whose = quoted_name(wanted.lender) if wanted.lender else quoted_text(wanted.files[number].name.split(".")[0])
    columns += [f'CAST({whose} AS VARCHAR) AS "{_LENDER}"', f'{quoted_name(wanted.label)} AS "{_LABEL}"']
    return f"SELECT {', '.join(columns)} FROM file{number}"  # noqa: S608 - quoted


def _require_labels(database: "duckdb.DuckDBPyConnection", label: str, say: Say) -> None:
    """Leave only rows with a label and a lender, the label a number.

    Raises:
        InvalidInputError: labels are not 0 and 1, or all the same.
    """
    known = f'"{_LABEL}" IS NOT NULL AND "{_LENDER}" IS NOT NULL'
    found = database.execute(
        f'SELECT DISTINCT TRY_CAST("{_LABEL}" AS DOUBLE) FROM stacked WHERE {known}'  # noqa: S608 - ours
    ).fetchall()
    values = {row[0] for row in found}
    if not values <= {0.0, 1.0}:
        raise InvalidInputError(
            f"expected 0 (good) and 1 (bad) in the label column {label}, got other values",
            remedy="Name another column with --label.",
        )
    if len(values) < 2:  # noqa: PLR2004 - good and bad
        raise InvalidInputError(f"expected good and bad loans in the label column {label}, got one class or no rows")
    left = database.execute(f"SELECT count(*) FROM stacked WHERE NOT ({known})").fetchall()[0][0]  # noqa: S608 - ours
    if left:
        say(f"left out: {left} rows without a label or a lender")
    casts = [f'CAST("{_LABEL}" AS UTINYINT) AS "{_LABEL}"', *_numbers_in_text(database, known, say)]
    database.execute(
        f"CREATE TABLE labelled AS SELECT * REPLACE ({', '.join(casts)}) FROM stacked WHERE {known}"  # noqa: S608
    )


def _numbers_in_text(database: "duckdb.DuckDBPyConnection", known: str, say: Say) -> Iterator[str]:
    """Yield SQL that makes numbers of every text column that holds nothing else."""
    for name, kind, *_ in database.execute("DESCRIBE stacked").fetchall():
        if kind == "VARCHAR" and name not in {_LENDER, _LABEL}:
            cell = quoted_name(name)
            counts = f"SELECT count({cell}), count(TRY_CAST({cell} AS DOUBLE)) FROM stacked WHERE {known}"  # noqa: S608
            present, numbers = database.execute(counts).fetchall()[0]
            if present and present == numbers:
                say(f"read as numbers: {name} (text that holds nothing else)")
                yield f"CAST({cell} AS DOUBLE) AS {cell}"


def _keep_large_lenders(database: "duckdb.DuckDBPyConnection", say: Say) -> None:
    """Make the table ``loans``.

    Raises:
        InvalidInputError: fewer than two lenders have enough rows.
    """
    rows = database.execute(
        f'SELECT "{_LENDER}", count(*), sum("{_LABEL}") FROM labelled GROUP BY "{_LENDER}"'  # noqa: S608 - ours
    ).fetchall()
    large = [name for name, count, bads in rows if count >= FEWEST_ROWS and min(bads, count - bads) >= FEWEST_EACH]
    enough = f"{FEWEST_ROWS} rows, {FEWEST_EACH} of them good and {FEWEST_EACH} bad"
    if len(large) < 2:  # noqa: PLR2004 - one has nobody to share with
        raise InvalidInputError(
            f"expected two or more lenders with at least {enough}, got {len(large)} of {len(rows)}",
            remedy="Give more rows, a file for each lender, or the lender's column with --lender.",
        )
    if len(large) < len(rows):
        say(f"left out: {len(rows) - len(large)} of {len(rows)} lenders (fewer than {enough})")
    database.execute(
        f'CREATE TABLE loans AS SELECT *, row_number() OVER () - 1 AS "{_PLACE}" FROM labelled '  # noqa: S608 - ours
        f'WHERE list_contains(?, "{_LENDER}")',
        [large],
    )


def _labelled(contract: FeatureContract) -> FeatureContract:
    """Return the contract with the label under our name."""
    return contract.model_copy(update={"target": contract.target.model_copy(update={"label_column": _LABEL})})


def _fitting(feature: Feature, kind: str) -> str:
    """Return SQL that brings a column to what its feature allows."""
    cell = quoted_name(feature.name)
    if feature.kind == "numeric" and feature.range is not None:
        number = f"CAST({cell} AS DOUBLE)"
        inside = f"least(greatest({number}, {feature.range.low!r}::DOUBLE), {feature.range.high!r}::DOUBLE)"
        return f"CASE WHEN isfinite({number}) THEN {inside} END AS {cell}"
    if feature.kind == "flag" and kind != "BOOLEAN":
        return f"CASE WHEN {cell} IN (0, 1) THEN {cell} END AS {cell}"
    if feature.categories is not None:
        words = ", ".join(quoted_text(word) for word in feature.categories)
        text = f"trim(CAST({cell} AS VARCHAR))"
        return f"CASE WHEN {text} IN ({words}) THEN {text} END AS {cell}"
    return f"{cell} AS {cell}"
