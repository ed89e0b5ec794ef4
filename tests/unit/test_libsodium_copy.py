"""The copy of libsodium that is used where the system has none."""

import os
import stat
import subprocess
import sys
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from threading import Barrier

import pytest

from jointrisk.errors import CorruptError, UnavailableError
from jointrisk.oprf import group, libsodium
from jointrisk.oprf.suite import VOPRF

CODE = b"\x7fELF" + bytes(1_000_000)
_WITHOUT_SYSTEM = """
import sys
from jointrisk.oprf import libsodium
libsodium.SYSTEM_NAMES = ()
from jointrisk.oprf import group
from jointrisk.oprf.suite import VOPRF
keys = VOPRF.derive_key_pair(bytes(32), b"copy")
doubled = group.scalar_add(keys.private, keys.private)
print(group.multiply(doubled, VOPRF.hash_to_group(b"input")).hex(), keys.public.hex())
print(open("/proc/self/maps").read(), file=sys.stderr)
assert "rbcl" not in sys.modules
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place for the library that does not exist yet."""
    return tmp_path / "lib" / "jointrisk"


def test_without_the_systems_library_the_bundled_one_computes_the_same() -> None:
    """A process that finds no libsodium loads the copy, never imports rbcl, and gets the same elements."""
    found = subprocess.run([sys.executable, "-c", _WITHOUT_SYSTEM], capture_output=True, text=True, check=True)
    keys = VOPRF.derive_key_pair(bytes(32), b"copy")
    doubled = group.scalar_add(keys.private, keys.private)
    expected = f"{group.multiply(doubled, VOPRF.hash_to_group(b'input')).hex()} {keys.public.hex()}"
    assert found.stdout.strip() == expected
    loaded = {Path(line.split()[-1]) for line in found.stderr.splitlines() if "libsodium" in line}
    assert loaded == {libsodium.bundled_library()}


def test_the_copy_is_named_by_its_digest() -> None:
    """The file's name says what is in it."""
    path = libsodium.bundled_library()
    assert path.name == f"libsodium-{sha256(path.read_bytes()).hexdigest()}.so"


def test_the_copy_is_unpacked_once(folder: Path) -> None:
    """The second start uses the file of the first."""
    path = libsodium.unpack(CODE, folder)
    before = path.stat()
    assert libsodium.unpack(CODE, folder) == path
    assert path.stat().st_ino == before.st_ino
    assert [file.name for file in folder.iterdir()] == [path.name]


def test_an_environment_serves_users_other_than_its_installer(folder: Path) -> None:
    """Root unpacks it when an image is built; the daemon's user can read it, and not exchange it."""
    umask = os.umask(0o022)
    try:
        path = libsodium.unpack(CODE, folder)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE(folder.stat().st_mode) & 0o027 == 0o005


@pytest.mark.parametrize("content", [b"", CODE[:-1], CODE[:-1] + b"\1"])
def test_a_changed_copy_is_replaced(folder: Path, content: bytes) -> None:
    """What a crash cut short, or somebody changed, is not loaded."""
    path = libsodium.unpack(CODE, folder)
    path.write_bytes(content)
    assert libsodium.unpack(CODE, folder) == path
    assert path.read_bytes() == CODE


def test_many_may_start_at_once(folder: Path) -> None:
    """All of them find one whole file, and nothing else is left behind."""
    together = Barrier(6)

    def start(_: int) -> bytes:
        together.wait(timeout=60)
        return libsodium.unpack(CODE, folder).read_bytes()

    with ThreadPoolExecutor(together.parties) as pool:
        for _ in range(10):
            assert set(pool.map(start, range(together.parties))) == {CODE}
            (path,) = folder.iterdir()
            path.unlink()


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_a_folder_that_others_can_write_is_not_used(folder: Path, mode: int) -> None:
    """Somebody else could put another library in it."""
    folder.mkdir(parents=True)
    folder.chmod(mode)
    with pytest.raises(PermissionError):
        libsodium.unpack(CODE, folder)


def test_the_users_cache_is_used_where_the_environment_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment that refuses files, as an image's does, is no obstacle."""
    (tmp_path / "prefix").write_text("a file where a folder would have to be")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert libsodium.bundled_library().parent == tmp_path / "cache" / "jointrisk"


def test_without_any_folder_the_remedy_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator learns what to install."""
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "file"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UnavailableError) as caught:
        libsodium.bundled_library()
    assert "libsodium" in caught.value.remedy


def installed(site: Path, data: bytes, recorded: bytes) -> None:
    """Write what an installer leaves of a distribution rbcl: its data, and the record of what that was."""
    (site / "rbcl").mkdir()
    (site / "rbcl" / "_sodium.py").write_bytes(data)
    information = site / "rbcl-1.1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: rbcl\nVersion: 1.1.2\n")
    digest = urlsafe_b64encode(sha256(recorded).digest()).decode().rstrip("=")
    (information / "RECORD").write_text(f"rbcl/_sodium.py,sha256={digest},{len(recorded)}\n")


def test_the_library_of_the_wheel_is_compared_with_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data file that is not the wheel's is refused; the wheel's own is taken."""
    data = b"sodium_bs = bytes.fromhex('" + CODE.hex().encode() + b"') # long line\n"
    monkeypatch.syspath_prepend(str(tmp_path))
    installed(tmp_path, data, data)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    assert libsodium.bundled_library().read_bytes() == CODE
    (tmp_path / "rbcl" / "_sodium.py").write_bytes(data.replace(b"7f45", b"7f46"))
    with pytest.raises(CorruptError, match="installed"):
        libsodium.bundled_library()


def test_a_wheel_without_a_library_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of rbcl may keep it in another way; the remedy is the system's package."""
    monkeypatch.syspath_prepend(str(tmp_path))
    installed(tmp_path, b"nothing", b"nothing")
    with pytest.raises(UnavailableError) as caught:
        libsodium.bundled_library()
    assert "libsodium" in caught.value.remedy
