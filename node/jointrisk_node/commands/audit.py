"""``audit list | verify``."""

from pathlib import Path
from typing import TYPE_CHECKING

from jointrisk.commandline.audit import audit_app

if TYPE_CHECKING:
    from jointrisk.store import Store


def _open(root: Path) -> "Store":
    from jointrisk.commandline.options import existing_state
    from jointrisk_node.database import open_database
    from jointrisk_node.settings import load_settings

    state = existing_state(root, "node")
    return open_database(state, load_settings(state))


app = audit_app(_open)
