"""Where the curve's code comes from: the system's libsodium, or the copy that the ``rbcl`` wheel carries as data.

``rbcl`` itself is never imported: on import it writes its copy to a fresh temporary file each time. Here it is unpacked
once, under its digest as the name, and compared with the wheel at every start.
"""

import os
import re
import stat
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from jointrisk.errors import CorruptError, UnavailableError

SYSTEM_NAMES = ("libsodium.so.26", "libsodium.so.23", "libsodium.26.dylib", "libsodium.23.dylib")
"""The libraries with ristretto255, by the names under which systems install them; 23 is 1.0.18."""

_DATA = "rbcl/_sodium.py"
_HEX = re.compile(rb"bytes\.fromhex\('([0-9a-f]+)'\)")
_REMEDY = "Install libsodium 1.0.18 or newer from the system's packages."


def bundled_library() -> Path:
    """Return the path of the library that came with ``rbcl``, unpacked before or now.

    Processes that start at the same time may all unpack it: each moves a whole file into place.

    Raises:
        UnavailableError: ``rbcl`` is not installed for this platform, or no private folder can be written.
        CorruptError: the installed file is not the one that was in the wheel.
    """
    code = _library_in_wheel()
    for folder in _folders():
        with suppress(OSError):
            return unpack(code, folder)
    raise UnavailableError("expected a folder of our own to unpack libsodium into, got none", remedy=_REMEDY)


def unpack(code: bytes, folder: Path) -> Path:
    """Write a library into a folder under its digest, unless it is there already, and return its path.

    Raises:
        OSError: the folder cannot be used.
    """
    digest = sha256(code).digest()
    target = folder / f"libsodium-{digest.hex()}.so"
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    _require_own(folder)
    if not _holds(target, digest):
        _move_in(code, target)
    return target


def _library_in_wheel() -> bytes:
    data = _checked_data()
    found = _HEX.search(data)
    if found is None:
        raise UnavailableError("expected a libsodium in the installed rbcl, got none", remedy=_REMEDY)
    return bytes.fromhex(found[1].decode("ascii"))


def _checked_data() -> bytes:
    """Return the file with the library after comparing it with the digest that the installer recorded."""
    try:
        recorded = {str(path): path for path in distribution("rbcl").files or ()}[_DATA]
    except (PackageNotFoundError, KeyError):
        raise UnavailableError(
            "expected libsodium on this system, or rbcl installed, got neither", remedy=_REMEDY
        ) from None
    data = Path(str(recorded.locate())).read_bytes()
    # PEP 376: the digest is in URL-safe base 64 without padding.
    digest = urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode("ascii")
    if recorded.hash is None or (recorded.hash.mode, recorded.hash.value) != ("sha256", digest):
        raise CorruptError(f"{_DATA} is not the file that was installed", remedy="Install rbcl again.")
    return data


def _folders() -> Iterator[Path]:
    """Yield where the library may be kept: with the environment, else in the user's cache."""
    yield Path(sys.prefix) / "lib" / "jointrisk"
    with suppress(RuntimeError):  # there is no home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jointrisk"


def _require_own(folder: Path) -> None:
    """Refuse a folder in which somebody else could exchange the file between our look at it and its loading."""
    found = folder.stat()
    if found.st_uid not in {os.geteuid(), 0} or stat.S_IMODE(found.st_mode) & 0o022:
        raise PermissionError(f"{folder} can be written by others")


def _holds(path: Path, digest: bytes) -> bool:
    try:
        return sha256(path.read_bytes()).digest() == digest
    except FileNotFoundError:
        return False


def _move_in(code: bytes, target: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".libsodium-", delete=False) as scratch:
        written = Path(scratch.name)
        try:
            scratch.write(code)
            scratch.flush()
            written.chmod(0o644)  # an environment that root made serves other users
            written.replace(target)
        except BaseException:
            written.unlink(missing_ok=True)
            raise
