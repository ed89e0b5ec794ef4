"""Migrations: a database is brought to the newest schema when it is opened, or refused when it is newer."""

import threading
from pathlib import Path
from typing import Any, Literal

from alembic import command, context
from alembic.autogenerate.api import AutogenContext
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData

from jointrisk.errors import ConflictError, CorruptError
from jointrisk.store.types import UtcDateTime

_CONNECTION = "connection"
_ONE_AT_A_TIME = threading.Lock()
"""Alembic keeps what it works on in a global of the process, so that two databases at once would mix."""


def alembic_config(migrations: Path, connection: Connection) -> Config:
    """Return alembic's configuration for a folder of migrations and a connection; reads no .ini file."""
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes[_CONNECTION] = connection
    return config


def upgrade(engine: Engine, migrations: Path) -> None:
    """Bring the database to the newest revision, all steps in one transaction.

    Raises:
        ConflictError: the database is at a revision that these migrations do not know.
    """
    with engine.connect() as connection:
        _set_foreign_keys(connection, on=False)
        try:
            with connection.begin():
                config = alembic_config(migrations, connection)
                _refuse_newer(connection, config)
                with _ONE_AT_A_TIME:
                    command.upgrade(config, "head")
                _check_foreign_keys(connection)
        finally:
            _set_foreign_keys(connection, on=True)


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the database's schema, or None before the first migration."""
    return MigrationContext.configure(connection).get_current_revision()


def run_environment(metadata: MetaData) -> None:
    """Run migrations on the connection that the caller of alembic opened: what each ``env.py`` calls.

    Args:
        metadata: all tables of the package, for autogeneration.
    """
    context.configure(
        connection=context.config.attributes[_CONNECTION],
        target_metadata=metadata,
        render_as_batch=True,
        render_item=_render_own_types,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _render_own_types(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    if kind == "type" and isinstance(item, UtcDateTime):
        autogen.imports.add("from jointrisk.store.types import UtcDateTime")
        return "UtcDateTime()"
    return False


def _refuse_newer(connection: Connection, config: Config) -> None:
    present = current_revision(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if present is not None and present not in known:
        raise ConflictError(
            f"the database has schema {present}, which this version of jointrisk does not know",
            remedy="Is it another daemon's database? Otherwise install the version that wrote it, or restore a backup "
            "from before that version.",
        )


def _set_foreign_keys(connection: Connection, *, on: bool) -> None:
    """Switch SQLite's references: alembic rebuilds tables there, which would delete what refers to them."""
    driver = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite" and driver is not None:
        driver.execute(f"PRAGMA foreign_keys = {'ON' if on else 'OFF'}")  # no effect inside a transaction


def _check_foreign_keys(connection: Connection) -> None:
    if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise CorruptError("a migration would leave rows that refer to missing ones; the database is as it was before")
