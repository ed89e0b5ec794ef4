"""What the columns of a sample file hold, as far as a draft of a contract needs it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jointrisk.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    import duckdb

_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
_MISSING = "['', 'NA', 'N/A', 'NULL', 'null', 'None', 'nan', 'NaN']"
_WORDS_AT_MOST = 30
_ROWS_PER_WORD = 5
"""A rarer word is not proposed: it could be about one customer."""
_SLIGHT = 0.01
_ROWS_AT_MOST = 1_000_000


@dataclass(frozen=True)
class ColumnProfile:
    """One column of the sample.

    Attributes:
        name: in the file.
        type: the SQL type.
        rows: of the sample.
        present: how many of them hold a value.
        distinct: how many different values.
        low: the least number; None for a column of no numbers.
        high: the greatest number.
        words: the frequent words of a text column with few different ones, most frequent first; else none.
    """

    name: str
    type: str
    rows: int
    present: int
    distinct: int
    low: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        """Tell whether it holds numbers."""
        return self.type.lstrip("U").startswith(_NUMBERS)

    @property
    def is_text(self) -> bool:
        """Tell whether it holds text."""
        return self.type.startswith(("VARCHAR", "ENUM"))

    @property
    def is_binary(self) -> bool:
        """Tell whether it holds both 0 and 1 (or false and true), and nothing else."""
        return self.distinct == 2 and (self.type == "BOOLEAN" or (self.low, self.high) == (0, 1))  # noqa: PLR2004


class Sample:
    """A sample file, opened.

    Args:
        database: where it is the table ``sample``.
    """

    def __init__(self, database: "duckdb.DuckDBPyConnection") -> None:
        self._database = database

    def columns(self) -> list[ColumnProfile]:
        """Profile every column, in the file's order."""
        described = self._database.execute("DESCRIBE sample").fetchall()
        return [self._profile(row[0], row[1]) for row in described]

    def direction(self, name: str, label: str) -> str:
        """Return "up" or "down" as the rank correlation with the label has it, or "none" where it is slight."""
        ranked = f"SELECT percent_rank() OVER (ORDER BY {_quoted(name)}) AS place, {_quoted(label)} AS bad FROM sample"  # noqa: S608
        query = f"SELECT corr(place, CAST(bad AS DOUBLE)) FROM ({ranked} WHERE {_quoted(name)} IS NOT NULL)"  # noqa: S608
        correlation = self._one(query)[0] or 0.0
        if not abs(correlation) > _SLIGHT:
            return "none"
        return "up" if correlation > 0 else "down"

    def _profile(self, name: str, kind: str) -> ColumnProfile:
        column = _quoted(name)
        counts = f"SELECT count(*), count({column}), count(DISTINCT {column}) FROM sample"  # noqa: S608 - quoted
        profile = ColumnProfile(name, kind, *self._one(counts))
        if profile.is_number:
            low, high = self._ends(column)
            return replace(profile, low=low, high=high)
        if profile.is_text and profile.distinct <= _WORDS_AT_MOST:
            return replace(profile, words=self._words(column))
        return profile

    def _ends(self, column: str) -> tuple[float | None, float | None]:
        number = f"CAST({column} AS DOUBLE)"
        found = self._one(f"SELECT min({number}), max({number}) FROM sample WHERE isfinite({number})")  # noqa: S608
        return found[0], found[1]

    def _words(self, column: str) -> tuple[str, ...]:
        word = f"trim(CAST({column} AS VARCHAR))"
        frequent = f"GROUP BY w HAVING count(*) >= {_ROWS_PER_WORD} ORDER BY count(*) DESC, w"
        query = f"SELECT {word} AS w FROM sample WHERE w <> '' {frequent}"  # noqa: S608 - quoted
        return tuple(row[0] for row in self._database.execute(query).fetchall())

    def _one(self, query: str) -> tuple[Any, ...]:
        row = self._database.execute(query).fetchone()
        return tuple(row or ())


@contextmanager
def open_sample(path: Path) -> Iterator[Sample]:
    """Open a Parquet or CSV file as a sample: its first million rows, in memory.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is of another kind or cannot be read.
    """
    import duckdb

    if not path.is_file():
        raise NotFoundError(f"expected a sample file {path}, got none")
    # Nothing of the sample is written anywhere, and nothing comes from the network.
    settings: dict[str, Any] = {"temp_directory": "", "autoinstall_known_extensions": False}
    with duckdb.connect(config=settings) as database:
        try:
            database.execute("SET enable_progress_bar = false")
            database.execute(f"CREATE TABLE sample AS FROM {reader_of(path)} LIMIT {_ROWS_AT_MOST}")
            yield Sample(database)
        except duckdb.Error as error:
            # Never chained: DuckDB's text can quote a cell.
            raise InvalidInputError(
                f"{path} cannot be read ({type(error).__name__})",
                remedy="Give a Parquet file, or a CSV file with a header line, in UTF-8.",
            ) from None


def reader_of(path: Path) -> str:
    """Return the SQL table function that reads a Parquet or CSV file.

    Raises:
        InvalidInputError: it is of another kind.
    """
    text = "'" + str(path).replace("'", "''") + "'"
    name = path.name.lower()
    if name.endswith(".parquet"):
        return f"read_parquet({text})"
    if name.endswith((".csv", ".csv.gz")):
        return f"read_csv({text}, header = true, sample_size = -1, nullstr = {_MISSING})"
    raise InvalidInputError(f"expected a .parquet, .csv or .csv.gz file, got {path.name}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
