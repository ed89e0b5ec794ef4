"""The coordinator's authority: made once, sealed, opened again; its server certificate renews itself."""

from datetime import timedelta
from pathlib import Path

import pytest

from coordinator_at_test import MASTER, MovableClock
from jointrisk.errors import ConflictError, CorruptError, InvalidInputError
from jointrisk.federation.certificates import (
    certificate_from_pem,
    certificate_to_pem,
    issued_by,
    key_from_pem,
    member_of,
    new_transport_key,
)
from jointrisk.masterkey import MasterKey
from jointrisk.statedir import StateDir
from jointrisk_coordinator.authority import Authority, ServerCertificate

CLOCK = MovableClock()


def create(root: Path) -> tuple[StateDir, Authority]:
    """Make an authority."""
    state = StateDir.create(root)
    return state, Authority.create("testing", state, MASTER, now=CLOCK())


def test_an_authority_opens_as_it_was_made(tmp_path: Path) -> None:
    """The same CA and identity after a restart, valid for ten years."""
    state, made = create(tmp_path / "c")
    opened = Authority.open("testing", state, MASTER)
    assert opened.fingerprint == made.fingerprint
    assert opened.public_key == made.public_key
    assert opened.certificate.not_valid_after_utc - CLOCK() == timedelta(days=3650)


def test_an_authority_is_never_made_twice(tmp_path: Path) -> None:
    """A second creation would orphan every member."""
    state, _ = create(tmp_path / "c")
    with pytest.raises(ConflictError):
        Authority.create("testing", state, MASTER, now=CLOCK())


@pytest.mark.parametrize("written", [["keys/ca.sealed"], ["keys/ca.sealed", "keys/identity.sealed"]])
def test_a_creation_that_was_cut_off_is_begun_again(tmp_path: Path, written: list[str]) -> None:
    """Killed between two files, the next try makes a whole authority."""
    state = StateDir.create(tmp_path / "c")
    for name in written:
        state.write(name, b"left over")
    Authority.create("testing", state, MASTER, now=CLOCK())
    assert Authority.open("testing", state, MASTER).federation == "testing"


def test_no_private_key_is_on_the_disk_in_the_clear(tmp_path: Path) -> None:
    """Key files are sealed, private, and open with the right master key only."""
    state, _ = create(tmp_path / "c")
    for path in (tmp_path / "c" / "keys").iterdir():
        assert b"PRIVATE KEY" not in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(CorruptError):
        Authority.open("testing", state, MasterKey(bytes([1] * 32)))


def test_sealed_keys_cannot_be_swapped(tmp_path: Path) -> None:
    """A sealed file under another's name does not open, nor does another CA's certificate pass."""
    state, _ = create(tmp_path / "c")
    other, _ = create(tmp_path / "d")
    identity = state.read("keys/identity.sealed")
    state.write("keys/identity.sealed", state.read("keys/ca.sealed"))
    with pytest.raises(CorruptError):
        Authority.open("testing", state, MASTER)
    state.write("keys/identity.sealed", identity)
    state.write("ca.crt", other.read("ca.crt"))
    with pytest.raises(CorruptError, match="does not belong"):
        Authority.open("testing", state, MASTER)


def test_a_federation_needs_a_plain_name(tmp_path: Path) -> None:
    """The name stands in certificates."""
    state = StateDir.create(tmp_path / "c")
    with pytest.raises(InvalidInputError, match="federation"):
        Authority.create("Not/Plain", state, MASTER, now=CLOCK())


def test_the_server_certificate_renews_itself_with_a_fresh_key(tmp_path: Path) -> None:
    """The same pair until two thirds of its lifetime, then another of the same name and CA."""
    _, authority = create(tmp_path / "c")
    clock = MovableClock()
    current = ServerCertificate(authority, timedelta(days=30), clock)
    first = current()
    clock.move(days=19)
    assert current() is first
    clock.move(days=2)
    second = current()
    assert second.key != first.key
    certificate = certificate_from_pem(second.chain)
    assert member_of(second.chain).member_id == "coordinator"
    assert issued_by(certificate, authority.certificate)
    assert certificate.not_valid_after_utc == clock() + timedelta(days=30)
    assert key_from_pem(second.key).public_key() == certificate.public_key()


def test_members_get_certificates_of_the_ca(tmp_path: Path) -> None:
    """Issued leafs verify under the public CA certificate."""
    _, authority = create(tmp_path / "c")
    leaf = authority.issue("east-bank", new_transport_key().public_key(), now=CLOCK(), lifetime=timedelta(days=1))
    assert issued_by(leaf, certificate_from_pem(authority.certificate_pem))
    assert member_of(certificate_to_pem(leaf)).member_id == "east-bank"
