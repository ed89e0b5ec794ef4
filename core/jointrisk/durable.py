"""Files that are whole or not there: written beside their place, synced, moved in."""

import os
from pathlib import Path

from jointrisk.statedir import sync_directory

MODE = 0o600
"""Our files are for their owner alone."""


def write(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one; when this returns, it is on the disk.

    One writer for each path: the scratch file has a fixed name, so that a crash leaves at most one.
    """
    scratch = path.with_name(f"{path.name}.new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    sync_directory(path.parent)


def move(part: Path, target: Path) -> None:
    """Put a file that has been written under its final name; when this returns, it is there for good."""
    descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.replace(target)
    sync_directory(target.parent)


def folder(path: Path) -> Path:
    """Make a private folder, and its parents where they are missing, and return it."""
    # Not parents=True, which makes them with the permissions that the umask leaves.
    for missing in reversed([one for one in path.parents if not one.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    return path
