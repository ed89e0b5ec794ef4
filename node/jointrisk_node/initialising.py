"""Making a node's state directory, and joining a federation from the command line."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from jointrisk.commandline.options import new_master_key
from jointrisk.errors import ConflictError
from jointrisk.federation.fingerprint import fingerprint
from jointrisk.masterkey import MasterKey
from jointrisk.settings import parse_toml, toml_text
from jointrisk.statedir import StateDir
from jointrisk.store import AuditLog
from jointrisk_node.database import open_database
from jointrisk_node.joining import Waiting, join
from jointrisk_node.membership.keys import NodeKeys
from jointrisk_node.settings import FILE, TEMPLATE, NodeSettings, load_settings

_PATIENCE = timedelta(days=7)


def initialise(root: Path, source: str, *, descriptor: int | None, new_key_file: Path | None) -> StateDir:
    """Make a state directory. The settings file comes last: when it is there, everything is.

    Args:
        root: the directory.
        source: where the loan book is.
        descriptor: file descriptor with the master key, or None.
        new_key_file: where to write a new master key, or None.

    Raises:
        ConflictError: there is a node already.
        InvalidInputError: the source is of no known kind, or the master key lies under the state directory.
    """
    if (root / FILE).exists():
        raise ConflictError(f"there is a node at {root} already", remedy="Name another directory with --home.")
    toml = TEMPLATE.format(source=toml_text(_absolute(source)))
    parse_toml(toml, NodeSettings, FILE)
    state = StateDir.create(root)
    new_master_key(state, descriptor, new_key_file)
    state.write(FILE, toml.encode())
    return state


def _absolute(source: str) -> str:
    """Return a file's path as the daemon will find it, wherever it is started; a server's address as it is."""
    return source if "://" in source else str(Path(source).expanduser().absolute())


def join_federation(
    state: StateDir, key: MasterKey, token: str, *, address: str, wait: bool, say: Callable[[str], None]
) -> str:
    """Join with a token, saying what is waited for; return the name that the invitation gave this node.

    Args:
        state: the state directory that :func:`initialise` made.
        key: its master key.
        token: the invitation.
        address: where other members reach this node, "host:port"; empty when it does not listen.
        wait: stay until the approvals are there; else end with what is missing.
        say: tells a person.

    Raises:
        ConflictError: the node's daemon is running.
        JointriskError: see :func:`jointrisk_node.joining.join`.
    """

    def waiting(now: Waiting) -> None:
        say(f"{now.approvals} of {now.approvals_required} approvals. Members compare this node's fingerprint:")
        say(f"    {fingerprint(now.identity_key)}")

    with state.lock():
        keys = NodeKeys(state, key)
        store = open_database(state, load_settings(state))
        try:
            audit = AuditLog(store, keys.identity())
            patience = _PATIENCE if wait else timedelta(0)
            joined = join(token, keys, store, audit, address=address, waiting=waiting, give_up_after=patience)
            return asyncio.run(joined).member_id
        finally:
            store.close()
