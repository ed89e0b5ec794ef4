"""Run by alembic for every command on the node's database."""

from jointrisk.store.migrating import run_environment
from jointrisk_node.store.tables import load_tables

run_environment(load_tables())
