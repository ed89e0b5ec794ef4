"""``audit list | verify``."""

from pathlib import Path
from typing import TYPE_CHECKING

from jointrisk.commandline.audit import audit_app

if TYPE_CHECKING:
    from jointrisk.store import Store


def _open(root: Path) -> "Store":
    from jointrisk.commandline.options import existing_state
    from jointrisk_coordinator.database import open_database
    from jointrisk_coordinator.settings import load_settings

    state = existing_state(root, "coordinator")
    return open_database(state, load_settings(state))


app = audit_app(_open)
