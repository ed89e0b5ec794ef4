"""The lender's own systems: tokens, certificates, roles, ends, and what is kept of them."""

from datetime import timedelta
from pathlib import Path

import pytest

from coordinator_at_test import MovableClock
from fixed_randomness import fixed_randomness
from jointrisk.errors import ConflictError, InvalidInputError, NotFoundError, RefusedError, UnauthenticatedError
from jointrisk.federation.certificates import (
    certificate_fingerprint,
    certificate_to_pem,
    issue_authority,
    new_transport_key,
)
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_node.signals.access import MOST_GRANTS, AccessDesk, Role, Shown, token_text
from jointrisk_node.signals.ledger import AccessLedger
from jointrisk_node.store.tables import load_tables
from signal_sample import NOW

HOUR = timedelta(hours=1)


class Door:
    """Access over a real database, which `again` opens as after a restart."""

    def __init__(self, root: Path) -> None:
        self.clock = MovableClock(NOW)
        self.file = root / "node.db"
        engine = make_engine(f"sqlite:///{self.file}")
        load_tables().create_all(engine)
        self.store = Store(engine)
        self.audit = AuditLog(self.store, clock=self.clock)
        self.randomness = fixed_randomness("tokens")
        self.desk = self.again()

    def again(self) -> AccessDesk:
        """Return the desk of a new start."""
        return AccessDesk(AccessLedger(self.store, self.audit), self.randomness, self.clock)

    def caller(self, token: str, role: Role = Role.QUERY) -> str:
        """Call with a token."""
        return self.desk.caller(Shown(f"Bearer {token}"), role)


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """A door through which nobody may go yet."""
    return Door(tmp_path)


def certificate(name: str) -> tuple[bytes, bytes]:
    """Return a self-signed certificate as PEM, and its fingerprint."""
    made = issue_authority(name, new_transport_key(), now=NOW, lifetime=HOUR)
    return certificate_to_pem(made), certificate_fingerprint(made)


def test_a_token_lets_its_system_in_by_name(door: Door) -> None:
    """Each system has a token of its own, also after a restart."""
    tokens = {name: door.desk.add(name, ["query"])[1] for name in ("loan-desk", "fraud-desk")}
    for desk in (door.desk, door.again()):
        assert {name: desk.caller(Shown(f"bearer {token}"), Role.QUERY) for name, token in tokens.items()} == {
            name: name for name in tokens
        }


def test_roles_are_judged_for_each_method(door: Door) -> None:
    """Who may query may not screen."""
    _, token = door.desk.add("loan-desk", ["query"])
    with pytest.raises(RefusedError, match="no role screen"):
        door.caller(token, Role.SCREEN)
    _, both = door.desk.add("risk-desk", ["query", "screen"])
    assert {door.caller(both, role) for role in Role} == {"risk-desk"}


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer ",
        f"Bearer {token_text(bytes(32))}",
        f"Bearer {token_text(bytes(31))}",
        f"Basic {token_text(bytes(32))}",
        "Bearer jrt_" + "é" * 43,
        "Bearer " + "x" * 10_000,
    ],
)
def test_who_shows_nothing_that_was_given_is_not_let_in(door: Door, authorization: str) -> None:
    """No token, another's form, or one that nobody was given: unauthenticated, and the error doesn't repeat it."""
    door.desk.add("loan-desk", ["query"])
    with pytest.raises(UnauthenticatedError) as refused:
        door.desk.caller(Shown(authorization), Role.QUERY)
    assert "jrt_" not in str(refused.value)


def test_a_changed_token_is_another(door: Door) -> None:
    """One other character anywhere within the 32 bytes, and it lets nobody in."""
    _, token = door.desk.add("loan-desk", ["query"])
    for place in (4, 20, len(token) - 2):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(UnauthenticatedError):
            door.caller(changed)


def test_access_ends_when_it_says(door: Door) -> None:
    """Up to its last moment it is let in, then not."""
    _, token = door.desk.add("loan-desk", ["query"], expires_at=NOW + HOUR)
    door.clock.now = NOW + HOUR - timedelta(microseconds=1)
    assert door.caller(token) == "loan-desk"
    door.clock.now = NOW + HOUR
    with pytest.raises(UnauthenticatedError, match="loan-desk has expired"):
        door.caller(token)


def test_revoked_access_ends_at_once(door: Door) -> None:
    """Also after a restart; the name can be given again, and the old token stays worthless."""
    _, token = door.desk.add("loan-desk", ["query"])
    door.desk.revoke("loan-desk")
    door.desk.add("loan-desk", ["query"])
    for desk in (door.desk, door.again()):
        with pytest.raises(UnauthenticatedError):
            desk.caller(Shown(f"Bearer {token}"), Role.QUERY)
    with pytest.raises(NotFoundError):
        door.desk.revoke("fraud-desk")


def test_a_pinned_certificate_lets_its_system_in(door: Door) -> None:
    """By its fingerprint; another certificate of the same name does not, nor the fingerprint's bytes as a token."""
    pem, fingerprint = certificate("crm")
    grant, token = door.desk.add("crm", ["screen"], certificate=pem)
    assert (token, grant.is_certificate) == ("", True)
    assert door.desk.caller(Shown(certificate=fingerprint), Role.SCREEN) == "crm"
    for shown in (Shown(certificate=certificate("crm")[1]), Shown(f"Bearer {token_text(fingerprint)}")):
        with pytest.raises(UnauthenticatedError):
            door.desk.caller(shown, Role.SCREEN)


def test_a_tokens_hash_is_no_certificate(door: Door) -> None:
    """*Who reads the database cannot show a certificate of that hash*: kinds are not mixed up."""
    grant, _ = door.desk.add("loan-desk", ["query"])
    with pytest.raises(UnauthenticatedError):
        door.desk.caller(Shown(certificate=grant.proof), Role.QUERY)


def test_what_is_kept_lets_nobody_in(door: Door) -> None:
    """The database's files hold neither the token nor its bytes, and no `repr` shows the hash."""
    grant, token = door.desk.add("loan-desk", ["query"])
    stored = b"".join(file.read_bytes() for file in door.file.parent.iterdir())
    drawn = fixed_randomness("tokens")(32)
    assert token == token_text(drawn)
    assert drawn not in stored
    assert token.encode() not in stored
    assert grant.proof in stored
    assert grant.proof.hex() not in repr(grant)


@pytest.mark.parametrize(
    ("name", "roles", "expires", "pem", "said"),
    [
        ("Loan Desk", ["query"], None, b"", "system"),
        ("loan-desk", [], None, b"", "roles of query, screen"),
        ("loan-desk", ["admin"], None, b"", "roles of query, screen"),
        ("loan-desk", ["query"], NOW, b"", "has passed"),
        ("loan-desk", ["query"], None, b"no certificate", "X.509"),
    ],
)
def test_what_breaks_a_rule_is_not_added(
    door: Door, name: str, roles: list[str], expires: None, pem: bytes, said: str
) -> None:
    """Names, roles, ends and certificates have rules, and nothing is kept of what breaks one."""
    with pytest.raises(InvalidInputError, match=said):
        door.desk.add(name, roles, expires_at=expires, certificate=pem)
    assert list(door.again().all()) == []


def test_a_name_or_certificate_is_let_in_once(door: Door) -> None:
    """A second one would make it unclear who asked."""
    pem, _ = certificate("crm")
    door.desk.add("crm", ["query"], certificate=pem)
    for name, shown in (("crm", b""), ("other", pem)):
        with pytest.raises(ConflictError):
            door.desk.add(name, ["query"], certificate=shown)
    assert [one.name for one in door.desk.all()] == ["crm"]
    assert MOST_GRANTS > 1


def test_the_audit_log_says_who_was_let_in_and_out(door: Door) -> None:
    """Names, roles and ends; nothing of a token."""
    _, token = door.desk.add("loan-desk", ["screen", "query"], expires_at=NOW + HOUR)
    door.desk.revoke("loan-desk")
    added, revoked = door.audit.entries()
    assert (added.event, revoked.event) == ("signals.access_added", "signals.access_revoked")
    assert added.fields["system"] == revoked.fields["system"] == "loan-desk"
    assert (added.fields["roles"], added.fields["by"]) == ("query screen", "bearer")
    assert added.fields["expires_at"] == "2026-11-23T13:00:00Z"
    assert token not in repr(added)


def test_a_certificate_that_is_not_pinned_leaves_the_token_to_say_who_calls(door: Door) -> None:
    """Where TLS asks everybody for a certificate, a token still counts; a broken one is refused in any case."""
    pem, fingerprint = certificate("crm")
    door.desk.add("crm", ["query"], certificate=pem)
    _, token = door.desk.add("loan-desk", ["query"])
    strange = certificate("crm")[1]
    assert door.desk.caller(Shown(f"Bearer {token}", strange), Role.QUERY) == "loan-desk"
    with pytest.raises(UnauthenticatedError):
        door.desk.caller(Shown("Bearer jrt_broken", fingerprint), Role.QUERY)
