"""The directory that holds a daemon's state: private, written atomically, used by one daemon at a time."""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jointrisk.errors import ConflictError, InvalidInputError, NotFoundError, RefusedError

_MARK = ".jointrisk"
_MARK_TEXT = b"jointrisk state directory, layout 1\n"
_LOCK = "lock"
_SCRATCH_END = ".new"
_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o600


class StateDir:
    """An existing state directory.

    Args:
        root: the directory, made by `create` before.

    Raises:
        NotFoundError: there is no such directory.
        RefusedError: other users of the machine can get into it, or it is another user's.
        InvalidInputError: it is not a state directory of ours.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        if not self.root.is_dir():
            raise NotFoundError(f"expected a state directory {root}, got none", remedy="Run `init` first.")
        _require_private(self.root)
        if not _is_marked(self.root):
            raise InvalidInputError(f"{root} is not a state directory of jointrisk of layout 1", remedy="Check --home.")

    @classmethod
    def create(cls, root: Path) -> "StateDir":
        """Make the directory (0700), or take one that is empty or that this function made before.

        Raises:
            ConflictError: there is something else in it, or it is no directory.
            RefusedError: it is there already and is another user's.
        """
        try:
            root.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise ConflictError(f"expected a directory or nothing at {root}, got a file") from None
        if not _is_marked(root):
            _take(root)
        return cls(root)

    def path(self, *parts: str) -> Path:
        """Return the path of a file or folder in the state directory.

        Raises:
            InvalidInputError: the parts lead out of the directory.
        """
        inner = Path(*parts)
        if inner.is_absolute() or ".." in inner.parts or not inner.parts:
            raise InvalidInputError("expected a path inside the state directory, got one that leads out of it")
        return self.root / inner

    def read(self, path: str | Path) -> bytes:
        """Return a file's bytes.

        Raises:
            NotFoundError: there is no such file.
        """
        try:
            return self._inside(path).read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"expected a file {self._inside(path)}, got none") from None

    def write(self, path: str | Path, content: bytes) -> Path:
        """Write a file (0600) so that a crash leaves the old one or the new one, and return its path.

        When this returns, the file is on the disk. Folders on the way are made, 0700.

        Args:
            path: where, relative to the state directory or under it.
            content: all that the file shall hold.
        """
        target = self._inside(path)
        self._make_folders(target.parent)
        scratch = target.with_name(f".{target.name}.{secrets.token_hex(8)}{_SCRATCH_END}")
        try:
            _write_synced(scratch, content)
            scratch.replace(target)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
        sync_directory(target.parent)
        return target

    def remove(self, path: str | Path) -> None:
        """Remove a file for good, if it is there."""
        target = self._inside(path)
        with suppress(FileNotFoundError):
            target.unlink()
            sync_directory(target.parent)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory for one daemon; the lock ends with the process, however it ends.

        Raises:
            ConflictError: another process holds it; the message names its process id.
        """
        descriptor = os.open(self.path(_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        try:
            _lock_or_refuse(descriptor, self.root)
            self._sweep()
            yield
        finally:
            # Unlocked by name: a process that is just being started may still have the descriptor.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove what writes that a crash cut short left behind."""
        for scratch in self.root.rglob(f".*{_SCRATCH_END}"):
            scratch.unlink(missing_ok=True)

    def _inside(self, path: str | Path) -> Path:
        path = Path(path)
        return self.path(str(path.relative_to(self.root) if path.is_relative_to(self.root) else path))

    def _make_folders(self, folder: Path) -> None:
        missing = [f for f in (folder, *folder.parents) if f.is_relative_to(self.root) and not f.exists()]
        for one in reversed(missing):
            one.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
            sync_directory(one.parent)


def sync_directory(folder: Path) -> None:
    """Put a folder's list of names on the disk, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _take(root: Path) -> None:
    if any(root.iterdir()):
        raise ConflictError(
            f"expected {root} to be empty or a state directory of jointrisk, got other files in it",
            remedy="Name another directory.",
        )
    _require_own(root)
    root.chmod(_DIRECTORY_MODE)
    _write_synced(root / _MARK, _MARK_TEXT)
    sync_directory(root)


def _is_marked(root: Path) -> bool:
    mark = root / _MARK
    return mark.is_file() and mark.read_bytes() == _MARK_TEXT


def _require_own(root: Path) -> None:
    if root.stat().st_uid != os.geteuid():
        raise RefusedError(f"{root} belongs to another user", remedy="Run as that user, or name another directory.")


def _require_private(root: Path) -> None:
    _require_own(root)
    mode = stat.S_IMODE(root.stat().st_mode)
    if mode & 0o077:
        raise RefusedError(
            f"{root} is open to other users (mode {mode:04o}, expected 0700)",
            remedy=f"Run `chmod 700 {root}` and find out who could read it.",
        )


def _lock_or_refuse(descriptor: int, root: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        raise ConflictError(
            f"another process (id {holder}) uses {root}", remedy="Stop it first, or name another directory."
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
