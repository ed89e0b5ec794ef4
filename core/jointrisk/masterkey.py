"""The master key: 32 bytes that open everything secret in a state directory, and are never in it.

It comes from a file descriptor, a systemd credential, or a passphrase through scrypt (RFC 7914). Each secret is
sealed with AES-256-GCM-SIV (RFC 8452) under a key of its own, derived with HKDF-SHA256 (RFC 5869) from the master
key and the secret's name:

    sealed = 0x01 | nonce (12, random) | AES-256-GCM-SIV(HKDF(master key, "jointrisk/v1/seal" NUL name), nonce,
             plaintext, associated data = 0x01 | name)

The state directory keeps ``master-key.json``: how the key is made from a passphrase, and a check value by which a wrong
key is told before anything is opened with it.
"""

import hmac
import os
import re
import secrets
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import Field, ValidationError

from jointrisk.errors import ConflictError, CorruptError, InvalidInputError, NotFoundError, UnauthenticatedError
from jointrisk.settings import Settings
from jointrisk.statedir import StateDir, sync_directory

RECORD_FILE: Final = "master-key.json"
SYSTEMD_CREDENTIAL: Final = "jointrisk-master-key"
SHORTEST_PASSPHRASE: Final = 12
"""Characters that a new passphrase must have at least."""

_KEY_BYTES = 32
_SEAL_VERSION = b"\x01"
_NONCE_BYTES = 12
_SEAL_DOMAIN = b"jointrisk/v1/seal\x00"
_CHECK_DOMAIN = b"jointrisk/v1/master-key-check"
_HEX_KEY = re.compile(rb"[0-9a-fA-F]{64}\s*")
_READ_AT_MOST = 4096


class ScryptParams(Settings):
    """How a passphrase becomes a key: scrypt's cost parameters and salt (RFC 7914).

    The default cost takes 128 MiB and some tenths of a second.
    """

    # Bounded both ways: a changed file must neither make guessing cheap nor ask for all memory.
    log2_n: int = Field(17, ge=14, le=20)
    r: Literal[8] = 8
    p: int = Field(1, ge=1, le=4)
    salt: str = Field(pattern=r"^[0-9a-f]{32}$")

    @classmethod
    def fresh(cls, log2_n: int = 17) -> "ScryptParams":
        """Return parameters with a salt of their own."""
        return cls(log2_n=log2_n, salt=secrets.token_hex(16))


class _Record(Settings):
    """What ``master-key.json`` holds; nothing in it is secret."""

    version: Literal[1] = 1
    kdf: Literal["none", "scrypt"]
    scrypt: ScryptParams | None = None
    check: str = Field(pattern=r"^[0-9a-f]{64}$")


class MasterKey:
    """A master key. Its text forms never show it.

    Args:
        key: 32 bytes.
        params: how they were made from a passphrase, or None.

    Raises:
        InvalidInputError: the key has another length.
    """

    __slots__ = ("_key", "_params")

    def __init__(self, key: bytes, params: ScryptParams | None = None) -> None:
        if len(key) != _KEY_BYTES:
            raise InvalidInputError(f"expected a master key of {_KEY_BYTES} bytes, got {len(key)}")
        self._key = bytes(key)
        self._params = params

    def __repr__(self) -> str:
        return "MasterKey(...)"

    def __reduce__(self) -> str:
        raise TypeError("a master key is not pickled")

    @classmethod
    def from_fd(cls, fd: int, *, state_root: Path | None = None) -> "MasterKey":
        """Read the key from a file descriptor, and close it.

        Args:
            fd: an open descriptor with 32 raw bytes or 64 hex characters.
            state_root: the state directory; a file under it is refused.

        Raises:
            InvalidInputError: the descriptor is not open for reading, is of a file under the state directory, or
                holds something else than a key.
        """
        try:
            with os.fdopen(fd, "rb") as file:
                _refuse_inside(Path(f"/proc/self/fd/{fd}"), state_root)
                return cls(_decoded(file.read(_READ_AT_MOST)))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such number"
            raise InvalidInputError(
                f"expected file descriptor {fd} to be open for reading: {reason}",
                remedy=f"Open it for the command, for example `--master-key-fd {fd} {fd}<KEYFILE`.",
            ) from None

    @classmethod
    def from_systemd_credential(
        cls, name: str = SYSTEMD_CREDENTIAL, *, environ: Mapping[str, str] = os.environ
    ) -> "MasterKey | None":
        """Read the key that systemd passed to the service (``LoadCredential=``), or return None when there is none.

        Raises:
            InvalidInputError: the credential is no key.
        """
        folder = environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            return None
        try:
            return cls(_decoded((Path(folder) / name).read_bytes()))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidInputError(f"the systemd credential {name} cannot be read: {error.strerror}") from None

    @classmethod
    def from_passphrase(cls, passphrase: str, params: ScryptParams | None = None) -> "MasterKey":
        """Derive the key from a passphrase: of an existing state directory with its parameters, else a new one.

        Raises:
            InvalidInputError: a new passphrase is too short.
        """
        if params is None:
            if len(passphrase) < SHORTEST_PASSPHRASE:
                raise InvalidInputError(
                    f"expected a passphrase of at least {SHORTEST_PASSPHRASE} characters, got {len(passphrase)}",
                    remedy="Take five or more random words.",
                )
            params = ScryptParams.fresh()
        scrypt = Scrypt(
            salt=bytes.fromhex(params.salt), length=_KEY_BYTES, n=1 << params.log2_n, r=params.r, p=params.p
        )
        return cls(scrypt.derive(unicodedata.normalize("NFKC", passphrase).encode("utf-8")), params)

    @classmethod
    def for_passphrase(cls, state: StateDir, passphrase: str) -> "MasterKey":
        """Derive the key of an existing state directory, not checked yet.

        Raises:
            UnauthenticatedError: the state directory is opened by a key, not by a passphrase.
            CorruptError: ``master-key.json`` is not what was written.
            NotFoundError: there is none.
        """
        record = _read_record(state)
        if record.scrypt is None:
            raise UnauthenticatedError(
                f"{state.root} is opened by a key, not by a passphrase", remedy="Give it with --master-key-fd."
            )
        return cls.from_passphrase(passphrase, record.scrypt)

    def bind(self, state: StateDir) -> None:
        """Make this the key of a new state directory.

        Raises:
            ConflictError: the state directory has a key.
        """
        if state.path(RECORD_FILE).exists():
            raise ConflictError(f"{state.root} has a master key already")
        record = _Record(kdf="scrypt" if self._params else "none", scrypt=self._params, check=self._check_value())
        state.write(RECORD_FILE, record.model_dump_json(indent=2, exclude_none=True).encode() + b"\n")

    def check(self, state: StateDir) -> None:
        """Refuse when this is not the key of the state directory.

        Raises:
            UnauthenticatedError: it is another key.
            CorruptError: ``master-key.json`` is not what was written.
            NotFoundError: there is none.
        """
        if not hmac.compare_digest(_read_record(state).check, self._check_value()):
            raise UnauthenticatedError(
                f"this master key does not open {state.root}", remedy="Check the key file or the passphrase."
            )

    def seal(self, name: str, plaintext: bytes) -> bytes:
        """Encrypt a secret under its name.

        Args:
            name: what the secret is, such as ``identity``; the same name opens it again.
            plaintext: the secret.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher(name).encrypt(nonce, plaintext, _SEAL_VERSION + name.encode("utf-8"))
        return _SEAL_VERSION + nonce + sealed

    def open(self, name: str, sealed: bytes) -> bytes:
        """Decrypt what `seal` made under the same name.

        Raises:
            CorruptError: it was sealed under another key or name, was changed, or is of another version.
        """
        version, nonce, ciphertext = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            # The version is authenticated as it stands there, so that another one does not open.
            return self._cipher(name).decrypt(nonce, ciphertext, version + name.encode("utf-8"))
        except (InvalidTag, ValueError):
            raise CorruptError(
                f"the sealed secret {name} does not open: it is damaged, or was sealed under another key or name",
                remedy="Restore it from a backup.",
            ) from None

    def _cipher(self, name: str) -> AESGCMSIV:
        return AESGCMSIV(self._derived(_SEAL_DOMAIN + name.encode("utf-8")))

    def _check_value(self) -> str:
        return self._derived(_CHECK_DOMAIN).hex()

    def _derived(self, info: bytes) -> bytes:
        return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(self._key)


def generate_key_file(path: Path, state_root: Path) -> MasterKey:
    """Write a new random key to a file of its own (0600, 64 hex characters), and return it.

    Args:
        path: the file to make.
        state_root: the state directory, which need not exist yet.

    Raises:
        InvalidInputError: the path is under the state directory, where a thief of the disk would find both.
        ConflictError: the file exists.
        NotFoundError: its folder does not exist.
    """
    _refuse_inside(path, state_root)
    key = secrets.token_bytes(_KEY_BYTES)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConflictError(f"{path} exists already", remedy="Use it, or name another file.") from None
    except FileNotFoundError:
        raise NotFoundError(f"expected a folder {path.parent} for the key file, got none") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.hex().encode("ascii") + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.absolute().parent)
    return MasterKey(key)


def _decoded(content: bytes) -> bytes:
    if len(content) == _KEY_BYTES:
        return content
    if _HEX_KEY.fullmatch(content):
        return bytes.fromhex(content.decode("ascii"))
    raise InvalidInputError(f"expected a master key of 32 raw bytes or 64 hex characters, got {len(content)} bytes")


def _refuse_inside(path: Path, state_root: Path | None) -> None:
    if state_root is not None and path.resolve().is_relative_to(state_root.resolve()):
        raise InvalidInputError(
            f"expected the master key outside {state_root}, got a file under it",
            remedy="Keep it on another disk, in a systemd credential, or use a passphrase.",
        )


def _read_record(state: StateDir) -> _Record:
    try:
        return _Record.model_validate_json(state.read(RECORD_FILE))
    except ValidationError:
        raise CorruptError(
            f"{state.path(RECORD_FILE)} is not what was written", remedy="Restore it from a backup."
        ) from None
