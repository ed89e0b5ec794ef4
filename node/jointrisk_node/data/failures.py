"""What DuckDB, Arrow and PostgreSQL raise, as our own errors without the cells that their texts quote."""

from collections.abc import Iterator
from contextlib import contextmanager

from jointrisk.errors import InvalidInputError, JointriskError, NotFoundError, UnauthenticatedError, UnavailableError
from jointrisk_node.data.settings import DataSettings

_SETTINGS = "Check [data] in node.toml."
_CONNECTION_LOST = ("08", "57")
_ABOUT_SQL = "42"


@contextmanager
def readable_failures(settings: DataSettings) -> Iterator[None]:
    """Turn what reading raises into errors that say what to do.

    Raises:
        InvalidInputError: the query or a file is wrong.
        UnavailableError: the PostgreSQL server went away.
    """
    import duckdb
    import pyarrow as pa

    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        # Never chained: the text of the cause can quote a cell.
        raise _while_reading(error, settings) from None


def _while_reading(error: Exception, settings: DataSettings) -> JointriskError:
    import duckdb

    text = str(error)
    if isinstance(error, duckdb.OutOfMemoryException) or text.startswith("Out of Memory Error"):
        return InvalidInputError(
            f"[data] query needs more than {settings.memory} of memory",
            remedy="Raise [data] memory in node.toml, or sort and join less in the query.",
        )
    if isinstance(error, duckdb.ParserException | duckdb.BinderException | duckdb.CatalogException):
        # These name what the query says, before any row is read.
        return InvalidInputError(f"[data] query does not fit the data: {text.splitlines()[0]}", remedy=_SETTINGS)
    if settings.is_postgresql:
        return _of_server(error, settings)
    return InvalidInputError(
        f"{settings.place} cannot be read as the query asks ({type(error).__name__})",
        remedy="Is every file whole? Does the query convert a cell that cannot be converted? Use TRY_CAST there.",
    )


def server_failure(error: Exception, settings: DataSettings) -> JointriskError:
    """Return the error that a failure of the PostgreSQL driver stands for."""
    text, state = str(error), getattr(error, "sqlstate", None)
    if state is not None:
        return _of_query(text, state, settings)
    if "password authentication failed" in text or "no password supplied" in text:
        return UnauthenticatedError(
            f"{settings.place} refuses this user or password",
            remedy="Give the password in PGPASSWORD, in ~/.pgpass or in the file that [data] passfile names.",
        )
    if "does not exist" in text:
        return NotFoundError(f"{settings.place}: there is no such database or user", remedy=_SETTINGS)
    return _unreachable(settings)


def _of_query(text: str, state: str, settings: DataSettings) -> JointriskError:
    if state.startswith(_CONNECTION_LOST):
        return _unreachable(settings)
    what = f"SQLSTATE {state}"
    if state.startswith(_ABOUT_SQL):
        # Class 42 is about the query's own words; other classes quote cells.
        what = text.partition("ERROR:")[2].strip().splitlines()[0] if "ERROR:" in text else what
    return InvalidInputError(f"{settings.place} does not run [data] query: {what}", remedy=_SETTINGS)


def _of_server(error: Exception, settings: DataSettings) -> JointriskError:
    """Judge what came through Arrow's stream: there the driver's error is text only."""
    lost = "server closed the connection" in str(error) or "terminating connection" in str(error)
    if lost:
        return _unreachable(settings)
    return InvalidInputError(
        f"{settings.place} did not run [data] query to its end",
        remedy="Run the query with psql: does it convert or divide by a cell where that is not possible?",
    )


def _unreachable(settings: DataSettings) -> UnavailableError:
    return UnavailableError(
        f"{settings.place} cannot be reached", remedy="Is the server running, and open for this machine?"
    )
