"""Write the migration from the newest schema to what the tables say: ``make_migration.py node|coordinator MESSAGE``.

Alembic compares the tables of the package with a temporary SQLite database at the newest revision. Read what it wrote
before committing it: a renamed column looks like one that was dropped and one that was added.
"""

import argparse
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory

from jointrisk.store import open_store
from jointrisk.store.migrating import alembic_config


def make(migrations: Path, message: str) -> Path | None:
    """Write the migration and return its path, or None when the tables are what the newest schema has.

    Args:
        migrations: the package's folder of migrations.
        message: what changes, a few words; becomes part of the file's name.
    """
    with tempfile.TemporaryDirectory() as scratch:
        store = open_store(f"sqlite:///{scratch}/state.db", migrations)
        with store.engine.connect() as connection:
            config = alembic_config(migrations, connection)
            number = 1 + sum(1 for _ in ScriptDirectory.from_config(config).walk_revisions())
            made = command.revision(
                config,
                message,
                autogenerate=True,
                rev_id=f"{_prefix(migrations)}{number:04d}",
                process_revision_directives=_drop_empty,
            )
        store.close()
    script = made[0] if isinstance(made, list) and made else made
    if script is None or isinstance(script, list):
        return None
    path = Path(script.path)
    for action in (["format", "--quiet"], ["check", "--fix", "--exit-zero", "--quiet"]):
        subprocess.run([sys.executable, "-m", "ruff", *action, str(path)], check=True)
    return path


def _prefix(migrations: Path) -> str:
    """Return what a daemon's revisions begin with, so that none takes another daemon's database for its own."""
    package = migrations.parents[1].name
    return f"{package.removeprefix('jointrisk_')}_" if package.startswith("jointrisk_") else ""


def _drop_empty(_context: object, _revision: object, directives: list) -> None:  # type: ignore[type-arg]
    if directives[0].upgrade_ops.is_empty():
        directives[:] = []


def main() -> None:
    """Make one migration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["node", "coordinator"])
    parser.add_argument("message", help="what changes, a few words")
    arguments = parser.parse_args()
    path = make(import_module(f"jointrisk_{arguments.role}.store").MIGRATIONS, arguments.message)
    print(path or "The tables are what the newest schema has; nothing written.")


if __name__ == "__main__":
    main()
