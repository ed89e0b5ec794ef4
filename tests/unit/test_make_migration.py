"""The tool that writes migrations."""

import shutil
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

import make_migration
from jointrisk.store import open_store
from store_sample import MIGRATIONS
from store_sample.tables import Base


def test_it_writes_what_lacks_and_then_nothing(tmp_path: Path) -> None:
    """From an older schema it writes the one step to the tables, numbered on; at the newest it writes no file."""
    migrations = Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))
    (migrations / "versions" / "0003_audit.py").unlink()
    made = make_migration.make(migrations, "Audit log")
    assert made == migrations / "versions" / "0003_audit_log.py"
    store = open_store(f"sqlite:///{tmp_path}/state.db", migrations)
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    store.close()
    assert make_migration.make(migrations, "nothing") is None
    assert sorted(path.name[:4] for path in migrations.glob("versions/0*.py")) == ["0001", "0002", "0003"]


def test_moments_are_written_as_our_own_type(tmp_path: Path) -> None:
    """The migration imports the column type that keeps time zones."""
    migrations = Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))
    for script in migrations.glob("versions/0*.py"):
        script.unlink()
    made = make_migration.make(migrations, "All of it")
    assert made is not None
    written = made.read_text()
    assert "from jointrisk.store.types import UtcDateTime" in written
    assert 'sa.Column("started", UtcDateTime(), nullable=False)' in written
