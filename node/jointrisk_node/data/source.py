"""Reading the loan book as a stream: files through DuckDB, a PostgreSQL server through ADBC into the same DuckDB.

Nothing is ever written to a disk, DuckDB's memory is limited, and no text of DuckDB's or PostgreSQL's own about a value
goes into an error: such texts quote cells.
"""

import csv
import glob
import gzip
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jointrisk.errors import InvalidInputError, NotFoundError
from jointrisk_node.data.columns import quoted_name, quoted_text
from jointrisk_node.data.failures import readable_failures
from jointrisk_node.data.settings import DataSettings

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_BATCH_ROWS = 65_536
_REJECTS_KEPT = 10_000


@dataclass(frozen=True)
class Unreadable:
    """Rows of a CSV file that are no rows: another number of cells than the header, an open quote, not UTF-8.

    DuckDB also sets aside rows with a cell that a CAST in the lender's query cannot convert.

    Attributes:
        count: how many; counting ends at 10,000.
        row: the first, from 1, counted by lines after the header.
    """

    count: int
    row: int


class Loans:
    """The loan book, opened for one pass.

    Args:
        database: where it is the relation ``book``.
        settings: what was opened.
    """

    def __init__(self, database: "duckdb.DuckDBPyConnection", settings: DataSettings) -> None:
        self._database = database
        self._settings = settings

    def columns(self) -> dict[str, str]:
        """Return the columns, name to SQL type."""
        with readable_failures(self._settings):
            return {row[0]: row[1] for row in self._database.execute("DESCRIBE book").fetchall()}

    def stream(self, expressions: list[str]) -> Iterator["pa.RecordBatch"]:
        """Yield batches of these SQL expressions over the rows, in the rows' order.

        Raises:
            InvalidInputError: the data cannot be read to its end.
            UnavailableError: the PostgreSQL server went away.
        """
        with readable_failures(self._settings):
            # Expressions are made in `columns`, from quoted parts.
            query = self._database.sql(f"SELECT {', '.join(expressions)} FROM book")  # noqa: S608
            yield from query.to_arrow_reader(_BATCH_ROWS)

    def unreadable(self) -> Unreadable | None:
        """Return what of CSV files could not be read; known when the stream has ended."""
        if not self._settings.is_csv:
            return None
        found = self._database.execute(
            "SELECT count(DISTINCT (file_id, line)), min(line) FROM reject_errors"
        ).fetchone()
        return Unreadable(found[0], max(found[1] - 1, 1)) if found and found[0] else None

    def unreadable_lines(self) -> list[int]:
        """Return the lines of CSV files that could not be read, ascending; known when the stream has ended.

        At most 10,000 are told, and where there are several files, lines of all of them.
        """
        if not self._settings.is_csv:
            return []
        query = "SELECT DISTINCT file_id, line FROM reject_errors ORDER BY line"
        return [row[1] for row in self._database.execute(query).fetchall()]


@contextmanager
def open_loans(settings: DataSettings) -> Iterator[Loans]:
    """Open the loan book for one pass.

    Raises:
        InvalidInputError: no source is set, the query is not one SELECT or does not fit the data, or a file is no
            Parquet or CSV file.
        NotFoundError: no file, or no such database.
        UnauthenticatedError: the PostgreSQL server refuses user or password.
        UnavailableError: the PostgreSQL server cannot be reached.
    """
    if not settings.source:
        raise InvalidInputError(
            "no loan book is set: [data] source is empty",
            remedy="Set source under [data] in node.toml to a Parquet or CSV file or a postgresql:// address.",
        )
    with _database(settings) as database, _relation(database, settings):
        yield Loans(database, settings)


@contextmanager
def _database(settings: DataSettings) -> Iterator["duckdb.DuckDBPyConnection"]:
    import duckdb

    database = duckdb.connect(
        config={
            "memory_limit": settings.memory,
            "threads": settings.threads,
            # Spilling would leave customers' rows in files.
            "temp_directory": "",
            # Extensions come from the internet.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "preserve_insertion_order": True,
        }
    )
    try:
        # Else DuckDB draws one on standard output where Python runs interactively.
        database.execute("SET enable_progress_bar = false")
        yield database
    finally:
        database.close()


@contextmanager
def _relation(database: "duckdb.DuckDBPyConnection", settings: DataSettings) -> Iterator[None]:
    """Make the result of the lender's query the relation ``book``."""
    if settings.is_postgresql:
        from jointrisk_node.data.postgresql import query_reader

        with query_reader(settings) as reader:
            database.register("book", reader)
            yield
        return
    with readable_failures(settings):
        database.execute(f"CREATE VIEW loans AS SELECT * FROM {_files(settings)}")  # noqa: S608 - quoted
        database.execute(f"CREATE VIEW book AS {_single_select(database, settings.query)}")
    yield


def _single_select(database: "duckdb.DuckDBPyConnection", query: str) -> str:
    import duckdb

    statements = database.extract_statements(query)
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise InvalidInputError("expected one SELECT as [data] query, got something else")
    return query.strip().rstrip(";")


def _files(settings: DataSettings) -> str:
    """Return the SQL table function that reads the files, in the order of their names.

    Raises:
        NotFoundError: there is no such file.
    """
    paths = sorted(glob.glob(settings.source, recursive=True))  # noqa: PTH207 - Path takes no absolute pattern
    if not paths:
        raise NotFoundError(
            f"expected the loan book at {settings.source}, got no file", remedy="Check [data] source in node.toml."
        )
    listed = "[" + ", ".join(quoted_text(path) for path in paths) + "]"
    return f"read_csv({listed}, {_csv_options(paths, settings)})" if settings.is_csv else f"read_parquet({listed})"


def _csv_options(paths: list[str], settings: DataSettings) -> str:
    """Return options that leave nothing to guess: a guessed dialect reads a broken file as one wide column.

    Every cell is read as text, so that a broken one is found with its row; broken rows are set aside and counted.
    """
    header = _header(Path(paths[0]), settings)
    if any(_header(Path(other), settings) != header for other in paths[1:]):
        raise InvalidInputError(
            f"expected the same header line in all {len(paths)} CSV files of {settings.source}",
            remedy="Export them with the same columns in the same order.",
        )
    options: Mapping[str, str] = {
        "auto_detect": "false",
        "header": "true",
        "delim": quoted_text(settings.delimiter),
        "quote": "'\"'",
        "escape": "'\"'",
        "nullstr": "[" + ", ".join(quoted_text(text) for text in settings.missing_values) + "]",
        "store_rejects": "true",
        "rejects_limit": str(_REJECTS_KEPT),
        "columns": "{" + ", ".join(f"{quoted_name(name)}: 'VARCHAR'" for name in header) + "}",
    }
    return ", ".join(f"{name} = {value}" for name, value in options.items())


def _header(path: Path, settings: DataSettings) -> list[str]:
    """Return the column names of a CSV file.

    Raises:
        InvalidInputError: it has none, or not each once.
    """
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
            names = next(csv.reader(file, delimiter=settings.delimiter, strict=True), [])
    except (OSError, csv.Error, EOFError):
        names = []
    once = len({name.lower() for name in names}) == len(names)
    if not names or not once or not all(name and "\ufffd" not in name for name in names):
        raise InvalidInputError(
            f"expected a CSV header line in {path}: UTF-8, separated by {settings.delimiter!r}, each name once",
            remedy="Check the file, and [data] delimiter in node.toml.",
        )
    return names
