"""Making a coordinator's state directory."""

from pathlib import Path

from jointrisk.clock import utc_now
from jointrisk.commandline.audit import IDENTITY_FILE
from jointrisk.commandline.options import new_master_key
from jointrisk.errors import ConflictError
from jointrisk.settings import parse_toml
from jointrisk.statedir import StateDir
from jointrisk_coordinator.authority import CA_FILE, Authority
from jointrisk_coordinator.settings import FILE, CoordinatorSettings


def initialise(root: Path, toml: str, *, descriptor: int | None, new_key_file: Path | None) -> StateDir:
    """Make a state directory with its authority. The settings file comes last: when it is there, everything is.

    Args:
        root: the directory.
        toml: the settings file's text.
        descriptor: file descriptor with the master key, or None.
        new_key_file: where to write a new master key, or None.

    Raises:
        ConflictError: there is a coordinator already.
        InvalidInputError: a setting breaks its rule, or the master key lies under the state directory.
    """
    if (root / FILE).exists():
        raise ConflictError(f"there is a coordinator at {root} already", remedy="Name another directory with --home.")
    federation = parse_toml(toml, CoordinatorSettings, FILE).federation.name
    state = StateDir.create(root)
    key = new_master_key(state, descriptor, new_key_file)
    begun = state.path(CA_FILE).exists()
    authority = (
        Authority.open(federation, state, key) if begun else Authority.create(federation, state, key, now=utc_now())
    )
    state.write(IDENTITY_FILE, authority.public_key.hex().encode() + b"\n")
    state.write(FILE, toml.encode())
    return state
