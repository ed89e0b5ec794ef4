"""The node's database, from its settings."""

from jointrisk.statedir import StateDir
from jointrisk.store import Store, open_store
from jointrisk_node.settings import NodeSettings
from jointrisk_node.store import MIGRATIONS

DATABASE_FILE = "state.db"


def open_database(state: StateDir, settings: NodeSettings) -> Store:
    """Open the database that the settings name, at its newest schema.

    Raises:
        ConflictError: it was written by a newer version.
        UnavailableError: it cannot be reached.
    """
    return open_store(settings.store.url or f"sqlite:///{state.path(DATABASE_FILE)}", MIGRATIONS)
