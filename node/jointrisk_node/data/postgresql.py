"""A lender's PostgreSQL warehouse: one query, run there, read only, streamed as Arrow batches."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from jointrisk_node.data.failures import server_failure
from jointrisk_node.data.settings import DataSettings

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_BYTES = 4 << 20
# Rows in the order in which they lie: else a scan of a large table starts in its middle, or at several places.
_SESSION = (
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET synchronize_seqscans = off",
    "SET max_parallel_workers_per_gather = 0",
)


@contextmanager
def query_reader(settings: DataSettings) -> Iterator["pa.RecordBatchReader"]:
    """Yield a stream of the query's rows; the connection ends with the block.

    Raises:
        InvalidInputError: the server does not run the query.
        NotFoundError: there is no such database or user.
        UnauthenticatedError: the server refuses user or password.
        UnavailableError: the server cannot be reached.
    """
    from adbc_driver_manager import dbapi as manager
    from adbc_driver_postgresql import StatementOptions, dbapi

    try:
        connection = dbapi.connect(_address(settings))
    except manager.Error as error:
        # Never chained: libpq's text can show pieces of a mistyped address.
        raise server_failure(error, settings) from None
    with (
        connection,
        connection.cursor(adbc_stmt_kwargs={StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(_BATCH_BYTES)}) as cursor,
    ):
        try:
            for statement in _SESSION:
                cursor.execute(statement)
                connection.commit()
            cursor.execute(settings.query)
            reader = cursor.fetch_record_batch()
        except manager.Error as error:
            raise server_failure(error, settings) from None
        yield reader


def _address(settings: DataSettings) -> str:
    if not settings.passfile:
        return settings.source
    address = urlsplit(settings.source)
    query = "&".join(part for part in (address.query, f"passfile={quote(settings.passfile, safe='')}") if part)
    return urlunsplit(address._replace(query=query))
