"""The migrations of both daemons make exactly the tables that their code defines, on every database."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData

from jointrisk.errors import ConflictError
from jointrisk.store import AuditLog, open_store


@pytest.mark.parametrize("package", ["jointrisk_node", "jointrisk_coordinator"])
def test_migrations_make_what_the_code_defines(database_url: str, package: str) -> None:
    """After all migrations, alembic finds no difference to the tables; `tools/make_migration.py` writes what lacks."""
    tables: MetaData = import_module(f"{package}.store.tables").load_tables()
    store = open_store(database_url, import_module(f"{package}.store").MIGRATIONS)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, tables)
    store.close()
    assert differences == []


def test_one_daemon_does_not_take_anothers_database_for_its_own(database_url: str) -> None:
    """Two daemons that were given one address by mistake: the second is refused, and told what to look at."""
    node, coordinator = (import_module(f"jointrisk_{role}.store").MIGRATIONS for role in ("node", "coordinator"))
    open_store(database_url, node).close()
    with pytest.raises(ConflictError, match="schema node_") as caught:
        open_store(database_url, coordinator)
    assert "another daemon's database" in caught.value.remedy
    open_store(database_url, node).close()


@pytest.mark.parametrize("package", ["jointrisk_node", "jointrisk_coordinator"])
def test_both_daemons_have_an_audit_log(database_url: str, package: str) -> None:
    """A freshly opened database takes audit records."""
    store = open_store(database_url, import_module(f"{package}.store").MIGRATIONS)
    AuditLog(store).append("test.happened")
    assert AuditLog(store).verify().records == 1
    store.close()


@pytest.mark.parametrize("package", ["jointrisk_node", "jointrisk_coordinator"])
def test_every_module_with_tables_is_listed(package: str) -> None:
    """A module that puts tables on ``Base`` is in ``TABLE_MODULES``: else its tables would have no migration."""
    listed = import_module(f"{package}.store.tables").TABLE_MODULES
    (root,) = map(Path, import_module(package).__path__)
    defining = {
        ".".join([package, *path.relative_to(root).with_suffix("").parts]).removesuffix(".__init__")
        for path in root.rglob("*.py")
        if re.search(r"^class \w+\(.*\bBase\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert sorted(defining) == sorted(listed)
