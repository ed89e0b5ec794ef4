"""Options that several commands have, and what they stand for."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jointrisk.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from jointrisk.masterkey import MasterKey
    from jointrisk.statedir import StateDir

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NewKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--new-master-key",
        metavar="FILE",
        help="Make a new master key and write it to this file, outside of the state directory.",
    ),
]
KeyDescriptor = Annotated[
    int | None,
    typer.Option(
        "--master-key-fd",
        metavar="N",
        help="Read the master key (32 bytes, or 64 hex characters) from this file descriptor.",
    ),
]


def default_home(role: str) -> Path:
    """Return the state directory of ``role`` where ``--home`` is not given."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "jointrisk" / role


def home(context: typer.Context) -> Path:
    """Return the state directory that ``--home`` named."""
    root: Path = context.find_root().meta.get("jointrisk.home") or context.obj
    return root


def existing_state(root: Path, role: str) -> "StateDir":
    """Open the state directory that ``init`` made.

    Raises:
        NotFoundError: there is none.
    """
    from jointrisk.statedir import StateDir

    if not (root / f"{role}.toml").exists():
        raise NotFoundError(f"no {role} at {root}", remedy=f"Make one with `jointrisk {role} --home {root} init`.")
    return StateDir(root)


def master_key(state: "StateDir", descriptor: int | None) -> "MasterKey":
    """Return the master key of an existing state directory, from wherever its owner gives it.

    In this order: the file descriptor; a systemd credential; a passphrase from the terminal.

    Raises:
        InvalidInputError: there is no terminal to ask on, or the key lies under the state directory.
        UnauthenticatedError: the key does not open this state directory.
    """
    from jointrisk.masterkey import MasterKey

    key = _given_key(state, descriptor)
    if key is None:
        key = MasterKey.for_passphrase(state, ask_passphrase("Passphrase of this state directory"))
    key.check(state)
    return key


def new_master_key(state: "StateDir", descriptor: int | None, new_file: Path | None) -> "MasterKey":
    """Return the master key for a state directory that is being made, and bind it; when ``init`` is repeated, check it.

    Raises:
        InvalidInputError: the key lies under the state directory, or there is no terminal to ask on.
        UnauthenticatedError: an earlier ``init`` used another key.
    """
    from jointrisk.masterkey import RECORD_FILE, MasterKey, generate_key_file

    if state.path(RECORD_FILE).exists():
        return master_key(state, descriptor)
    key = generate_key_file(new_file, state.root) if new_file is not None else _given_key(state, descriptor)
    if key is None:
        key = MasterKey.from_passphrase(ask_passphrase("New passphrase for this state directory", confirm=True))
    key.bind(state)
    return key


def _given_key(state: "StateDir", descriptor: int | None) -> "MasterKey | None":
    from jointrisk.masterkey import MasterKey

    if descriptor is not None:
        return MasterKey.from_fd(descriptor, state_root=state.root)
    return MasterKey.from_systemd_credential()


def ask_passphrase(prompt: str, *, confirm: bool = False) -> str:
    """Ask for a passphrase on the terminal, not echoed.

    Raises:
        InvalidInputError: there is no terminal.
    """
    if not sys.stdin.isatty():
        raise InvalidInputError(
            "no master key: no --master-key-fd, no systemd credential, and no terminal to ask for a passphrase",
            remedy="Give one, for example `--master-key-fd 3 3<KEYFILE`.",
        )
    text: str = typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm)
    return text
