"""Result tables as CSV or Parquet: to a file that is whole or not there, or to standard output."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from jointrisk import durable
from jointrisk.errors import InvalidInputError

if TYPE_CHECKING:
    import pyarrow as pa

CSV, PARQUET = ".csv", ".parquet"


class _Writer(Protocol):
    def write_table(self, table: "pa.Table") -> None: ...

    def close(self) -> None: ...


def write(tables: "Iterable[pa.Table]", out: Path | None) -> None:
    """Write tables of one schema.

    Args:
        tables: in their order; the first decides the columns' types.
        out: where to; its ending says whether it is Parquet or CSV. None for CSV on standard output.

    Raises:
        InvalidInputError: the ending is another one, or the file cannot be written.
    """
    if out is None:
        _pour(tables, sys.stdout.buffer, CSV)
        return
    kind = check(out)
    # Beside its place, so that a pass that fails leaves nothing, and nobody reads half of it.
    scratch = out.with_name(f".{out.name}.new")
    try:
        with _opened(scratch) as file:
            _pour(tables, file, kind)
        durable.move(scratch, out)
    finally:
        scratch.unlink(missing_ok=True)


def check(out: Path) -> str:
    """Return the ending of an output file.

    Raises:
        InvalidInputError: it is no ending that can be written.
    """
    if out.suffix.lower() not in {CSV, PARQUET}:
        raise InvalidInputError(f"expected an output file that ends in {CSV} or {PARQUET}")
    return out.suffix.lower()


@contextmanager
def _opened(path: Path) -> Iterator[object]:
    try:
        path.unlink(missing_ok=True)
        path.touch(durable.MODE)
        file = path.open("wb")
    except OSError as error:
        raise InvalidInputError(f"{path.parent} cannot be written to: {error.strerror}") from None
    with file:
        yield file


def _pour(tables: "Iterable[pa.Table]", sink: object, kind: str) -> None:
    writer: _Writer | None = None
    schema: pa.Schema | None = None
    for table in tables:
        if writer is None:
            schema = table.schema
            writer = _writer(sink, schema, kind)
        writer.write_table(table if table.schema == schema else table.cast(schema))
    if writer is not None:
        writer.close()


def _writer(sink: object, schema: "pa.Schema", kind: str) -> _Writer:
    from pyarrow import csv, parquet

    writer: _Writer = parquet.ParquetWriter(sink, schema) if kind == PARQUET else csv.CSVWriter(sink, schema)
    return writer
