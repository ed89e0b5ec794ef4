"""Run by alembic for every command on the coordinator's database."""

from jointrisk.store.migrating import run_environment
from jointrisk_coordinator.store.tables import load_tables

run_environment(load_tables())
