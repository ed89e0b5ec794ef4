"""The master key: where it comes from, what it seals, what it refuses."""

import copy
import json
import os
import pickle
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from hypothesis import given
from hypothesis import strategies as st

from jointrisk.errors import (
    ConflictError,
    CorruptError,
    InvalidInputError,
    NotFoundError,
    UnauthenticatedError,
)
from jointrisk.masterkey import RECORD_FILE, MasterKey, ScryptParams, generate_key_file
from jointrisk.statedir import StateDir

RAW = bytes(range(32))
PHRASE = "correct horse battery staple"
SEALED_V1 = "017e66fae59907c890c8040ebcb2851eafda5d739aa5b3ab64db57c75f5374193b8c08"
CHEAP = ScryptParams(log2_n=14, salt="00112233445566778899aabbccddeeff")


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    """A new state directory."""
    return StateDir.create(tmp_path / "home")


def descriptor(path: Path, content: bytes) -> int:
    """Return an open descriptor of a file with this content."""
    path.write_bytes(content)
    return os.open(path, os.O_RDONLY)


def opens_as(key: MasterKey, other: MasterKey) -> bool:
    """Tell whether two keys are the same."""
    try:
        return other.open("x", key.seal("x", b"secret")) == b"secret"
    except CorruptError:
        return False


@pytest.mark.parametrize("content", [RAW, RAW.hex().encode(), RAW.hex().upper().encode() + b"\n", b"\n" * 32])
def test_a_key_is_read_from_a_descriptor(tmp_path: Path, content: bytes) -> None:
    """Raw bytes and hex, also with a line end; raw bytes may look like white space. The descriptor is closed."""
    fd = descriptor(tmp_path / "key", content)
    key = MasterKey.from_fd(fd)
    assert opens_as(key, MasterKey(RAW if content[:1] != b"\n" else content))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_key_is_read_from_a_pipe() -> None:
    """`3< <(command)` serves, so that the key need not be in a file."""
    reader, writer = os.pipe()
    os.write(writer, RAW.hex().encode())
    os.close(writer)
    assert opens_as(MasterKey.from_fd(reader), MasterKey(RAW))


@pytest.mark.parametrize("content", [b"", RAW[:31], RAW + b"\n", b"z" * 64, RAW.hex().encode()[:-1], b"a" * 9000])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """The form is said, and the content is not."""
    fd = descriptor(tmp_path / "key", content)
    with pytest.raises(InvalidInputError, match="32 raw bytes or 64 hex") as caught:
        MasterKey.from_fd(fd)
    assert content.hex()[:40] not in str(caught.value) or not content


@pytest.mark.parametrize("fd", [987, -1])
def test_a_descriptor_that_is_not_open_is_told(fd: int) -> None:
    """The remedy shows how to open one."""
    with pytest.raises(InvalidInputError, match=str(fd)) as caught:
        MasterKey.from_fd(fd)
    assert "KEYFILE" in caught.value.remedy


def test_a_descriptor_of_a_file_in_the_state_directory_is_refused(state: StateDir) -> None:
    """A thief of the disk would find key and secrets together."""
    fd = descriptor(state.path("key"), RAW)
    with pytest.raises(InvalidInputError, match="outside"):
        MasterKey.from_fd(fd, state_root=state.root)


def test_a_systemd_credential(tmp_path: Path) -> None:
    """Read where systemd says; without systemd, or without this credential, there is none."""
    (tmp_path / "jointrisk-master-key").write_bytes(RAW)
    found = MasterKey.from_systemd_credential(environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert found is not None
    assert opens_as(found, MasterKey(RAW))
    assert MasterKey.from_systemd_credential(environ={}) is None
    assert MasterKey.from_systemd_credential("other", environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}) is None


def test_a_damaged_systemd_credential_is_not_passed_over(tmp_path: Path) -> None:
    """A credential that is no key is an error, not an invitation to ask for a passphrase."""
    (tmp_path / "jointrisk-master-key").write_bytes(b"short")
    with pytest.raises(InvalidInputError, match="32 raw bytes"):
        MasterKey.from_systemd_credential(environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_a_passphrase_goes_through_scrypt() -> None:
    """RFC 7914 with the stated parameters, over the NFKC form in UTF-8."""
    derived = Scrypt(salt=bytes.fromhex(CHEAP.salt), length=32, n=2**14, r=8, p=1).derive("Å密码".encode())
    assert opens_as(MasterKey.from_passphrase("A\u030a密码", CHEAP), MasterKey(derived))


def test_a_new_passphrase_has_a_salt_of_its_own_and_enough_characters() -> None:
    """The same passphrase gives other keys elsewhere; a short one is refused."""
    one, other = (MasterKey.from_passphrase(PHRASE, ScryptParams.fresh(log2_n=14)) for _ in range(2))
    assert not opens_as(one, other)
    with pytest.raises(InvalidInputError, match="at least 12 characters, got 11"):
        MasterKey.from_passphrase("elevenchars")


def test_a_passphrase_opens_its_state_directory_again(state: StateDir) -> None:
    """The state directory keeps salt and cost, and tells the right passphrase from a wrong one."""
    made = MasterKey.from_passphrase(PHRASE, CHEAP)
    made.bind(state)
    again = MasterKey.for_passphrase(state, PHRASE)
    again.check(state)
    assert opens_as(made, again)
    with pytest.raises(UnauthenticatedError, match=f"this master key does not open {state.root}"):
        MasterKey.for_passphrase(state, PHRASE + "r").check(state)


def test_a_wrong_key_is_told_before_anything_is_opened(state: StateDir) -> None:
    """The check value tells; a state directory has one key for good."""
    MasterKey(RAW).bind(state)
    MasterKey(RAW).check(state)
    with pytest.raises(UnauthenticatedError, match="does not open"):
        MasterKey(bytes(32)).check(state)
    with pytest.raises(ConflictError, match="already"):
        MasterKey(bytes(32)).bind(state)
    MasterKey(RAW).check(state)


def test_a_passphrase_for_a_key_file_s_directory_is_told(state: StateDir) -> None:
    """The remedy names what to give."""
    MasterKey(RAW).bind(state)
    with pytest.raises(UnauthenticatedError, match="not by a passphrase") as caught:
        MasterKey.for_passphrase(state, PHRASE)
    assert "--master-key-fd" in caught.value.remedy


def test_what_the_state_directory_keeps_is_no_secret(state: StateDir) -> None:
    """Neither key nor passphrase is in master-key.json."""
    key = MasterKey.from_passphrase(PHRASE, CHEAP)
    key.bind(state)
    kept = state.read(RECORD_FILE).decode()
    assert key._key.hex() not in kept
    assert PHRASE not in kept
    assert json.loads(kept)["scrypt"] == {"log2_n": 14, "r": 8, "p": 1, "salt": CHEAP.salt}


@pytest.mark.parametrize("change", [{"log2_n": 30}, {"log2_n": 1}, {"p": 10**6}, {"salt": "zz"}, {"r": 1024}])
def test_changed_costs_are_refused(state: StateDir, change: dict[str, object]) -> None:
    """A changed file can neither ask for all memory nor make guessing cheap."""
    MasterKey.from_passphrase(PHRASE, CHEAP).bind(state)
    record = json.loads(state.read(RECORD_FILE))
    record["scrypt"] |= change
    state.write(RECORD_FILE, json.dumps(record).encode())
    with pytest.raises(CorruptError, match=r"master-key\.json"):
        MasterKey.for_passphrase(state, PHRASE)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2}', b"\xff"])
def test_a_damaged_record_is_told(state: StateDir, content: bytes) -> None:
    """The file is named."""
    state.write(RECORD_FILE, content)
    with pytest.raises(CorruptError, match=r"master-key\.json"):
        MasterKey(RAW).check(state)


def test_a_missing_record_is_told(state: StateDir) -> None:
    """A state directory that `init` did not finish has no key."""
    with pytest.raises(NotFoundError, match=r"master-key\.json"):
        MasterKey(RAW).check(state)


@given(st.text(), st.binary(max_size=200))
def test_what_was_sealed_opens_under_its_name(name: str, secret: bytes) -> None:
    """Any name, any secret, the empty ones too."""
    assert MasterKey(RAW).open(name, MasterKey(RAW).seal(name, secret)) == secret


def test_sealing_twice_gives_other_bytes() -> None:
    """Whoever sees the files cannot tell that a secret is the same as before."""
    key = MasterKey(RAW)
    assert key.seal("identity", b"secret") != key.seal("identity", b"secret")


def test_a_sealed_secret_of_version_1_opens() -> None:
    """Files written by this version stay readable: the bytes are fixed here."""
    sealed = bytes.fromhex(SEALED_V1)
    assert MasterKey(RAW).open("identity", sealed) == b"secret"
    key = HKDF(SHA256(), 32, salt=None, info=b"jointrisk/v1/seal\x00identity").derive(RAW)
    assert AESGCMSIV(key).decrypt(sealed[1:13], sealed[13:], b"\x01identity") == b"secret"


def test_a_secret_opens_only_as_what_it_is() -> None:
    """Neither under another name, nor with another key, nor with a byte changed, cut or added anywhere."""
    sealed = MasterKey(RAW).seal("identity", b"secret")
    attempts = [("tls", sealed, RAW), ("identity", sealed, bytes(32)), ("identity", sealed + b"\x00", RAW)]
    attempts += [("identity", sealed[:cut], RAW) for cut in range(len(sealed))]
    attempts += [
        ("identity", sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], RAW)
        for place in range(len(sealed))
    ]
    for name, content, key in attempts:
        with pytest.raises(CorruptError, match="does not open"):
            MasterKey(key).open(name, content)


def test_a_key_does_not_show() -> None:
    """Not in its text forms, not in a copy's, and it is not pickled."""
    key = MasterKey(RAW)
    assert RAW.hex() not in f"{key} {key!r} {[key]}"
    for serialise in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            serialise(key)


def test_a_key_file_is_made(tmp_path: Path, state: StateDir) -> None:
    """Private, and the key in it is the one returned; a second time does not overwrite it."""
    path = tmp_path / "master.key"
    made = generate_key_file(path, state.root)
    assert path.stat().st_mode & 0o777 == 0o600
    assert opens_as(made, MasterKey.from_fd(os.open(path, os.O_RDONLY)))
    with pytest.raises(ConflictError, match=r"master\.key"):
        generate_key_file(path, state.root)
    assert opens_as(made, MasterKey.from_fd(os.open(path, os.O_RDONLY)))


def test_a_key_file_is_not_made_under_the_state_directory(tmp_path: Path, state: StateDir) -> None:
    """Not directly, not below, not through a link, and not where the directory will be."""
    (tmp_path / "link").symlink_to(state.root)
    for path in (state.root / "key", state.root / "a" / "key", tmp_path / "link" / "key", tmp_path / "x/../home/key"):
        with pytest.raises(InvalidInputError, match="outside"):
            generate_key_file(path, state.root)
    with pytest.raises(InvalidInputError, match="outside"):
        generate_key_file(tmp_path / "later" / "key", tmp_path / "later")
    assert not list(state.root.glob("**/key"))


def test_a_key_file_in_no_folder_is_told(tmp_path: Path, state: StateDir) -> None:
    """The folder is named."""
    with pytest.raises(NotFoundError, match="absent"):
        generate_key_file(tmp_path / "absent" / "key", state.root)
