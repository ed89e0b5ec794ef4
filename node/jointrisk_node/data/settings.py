"""Where a lender's loan book is, and what of it is read: the table ``[data]`` of node.toml."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator

from jointrisk.settings import Settings

_POSTGRESQL = ("postgresql://", "postgres://")
_SUFFIXES = (".parquet", ".csv", ".csv.gz")


class DataSettings(Settings):
    """The lender's own data."""

    # An address can carry a password, so that it is in no repr.
    source: str = Field(
        "",
        repr=False,
        description="The loan book: a Parquet or CSV file, a pattern of such files, or postgresql://HOST/DATABASE. "
        "The password is better kept in PGPASSWORD or in passfile.",
    )
    query: str = Field(
        "SELECT * FROM loans",
        min_length=1,
        description="One SELECT that gives the columns of the feature contract. Files are the view `loans` (SQL of "
        "DuckDB); a PostgreSQL server runs it itself. Give ORDER BY where it groups or joins.",
    )
    missing_values: tuple[str, ...] = Field(
        ("",), min_length=1, description="What a CSV cell holds where there is no value."
    )
    delimiter: str = Field(",", min_length=1, max_length=1, description="What separates the cells of a CSV file.")
    passfile: str = Field("", description="PostgreSQL password file; empty: ~/.pgpass.")
    memory: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,5}(MiB|GiB)$")] = Field(
        "1GiB", description="The most memory that reading takes. Nothing of the data is ever put on a disk."
    )
    threads: int = Field(2, ge=1, le=256, description="How many threads read.")

    @field_validator("source")
    @classmethod
    def _known_kind(cls, source: str) -> str:
        if source.startswith(_POSTGRESQL):
            _check_address(source)
        elif source and not source.lower().endswith(_SUFFIXES):
            raise ValueError(f"expected a file or pattern that ends in {', '.join(_SUFFIXES)}, or postgresql://...")
        return source

    @model_validator(mode="after")
    def _passfile_of_a_server(self) -> Self:
        if self.passfile and not self.is_postgresql:
            raise ValueError("expected passfile only with a postgresql:// source")
        return self

    @property
    def is_postgresql(self) -> bool:
        """Tell whether the source is a PostgreSQL server."""
        return self.source.startswith(_POSTGRESQL)

    @property
    def is_csv(self) -> bool:
        """Tell whether the source is CSV files."""
        return not self.is_postgresql and self.source.lower().endswith((".csv", ".csv.gz"))

    @property
    def place(self) -> str:
        """The source as messages may name it: without user and password."""
        if not self.is_postgresql:
            return self.source
        address = urlsplit(self.source)
        host = address.hostname or "local server"
        return f"postgresql://{host}{f':{address.port}' if address.port else ''}{address.path}"


def _check_address(source: str) -> None:
    """Refuse an address that cannot be taken apart: libpq would show pieces of it, perhaps of the password.

    Raises:
        ValueError: it cannot.
    """
    try:
        address = urlsplit(source)
        whole = address.port != 0 and "@" not in address.path + address.query + address.fragment
    except ValueError:
        whole = False
    if not whole or address.netloc.count("@") > 1:
        raise ValueError(
            "expected postgresql://USER@HOST:PORT/DATABASE; in user and password write @ : / # ? as %40 %3A %2F %23 %3F"
        )
