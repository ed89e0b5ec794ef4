"""A small package of tables and migrations, as a daemon has them, for the store's contract suite."""

from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations"
