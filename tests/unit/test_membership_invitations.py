"""Invitations and joining at the coordinator, over a real database."""

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator_at_test import JOIN_ADDRESS, Candidate, CoordinatorAtTest, identity_in
from jointrisk.errors import (
    ConflictError,
    InvalidInputError,
    JointriskError,
    NotFoundError,
    RefusedError,
    UnauthenticatedError,
)
from jointrisk.federation.certificates import (
    certificate_from_der,
    requested_key,
)
from jointrisk.federation.invitation import decode_token
from jointrisk.federation.roster_view import Anchor, accept_roster
from jointrisk.throttle import Throttle
from roster_forge import NOW, public_of

FOUNDERS = ("ant", "bee", "cat")


@pytest.fixture
def desk(tmp_path: Path) -> CoordinatorAtTest:
    """Return a coordinator without members."""
    return CoordinatorAtTest(tmp_path / "coordinator")


@pytest.fixture
def founded(desk: CoordinatorAtTest) -> CoordinatorAtTest:
    """Return a coordinator with its three founders."""
    return desk.found(*FOUNDERS)


def believed(desk: CoordinatorAtTest, name: str, key: str = "") -> list[str]:
    """Return whom a node that sees the present roster for the first time works with."""
    anchor = Anchor(name, public_of(key or name), desk.authority.public_key, desk.authority.fingerprint)
    return list(accept_roster(anchor, None, desk.office.current_roster(), desk.clock()).trusted())


# -- founding, invitations ---------------------------------------------------------------------------------------------


def test_founders_join_at_once(desk: CoordinatorAtTest) -> None:
    """Certificate and place in the roster without approvals, in order of joining."""
    result = desk.join("ant")
    assert result.approvals_required == 0
    assert result.certificate is not None
    assert desk.office.is_current(identity_in(result.certificate))
    desk.found("bee", "cat")
    assert [member.number for member in desk.office.history.members.values()] == [1, 2, 3]
    assert desk.office.roster.version == 4
    assert believed(desk, "bee") == ["ant", "bee", "cat"]


def test_the_certificate_is_for_the_requested_key_and_the_invited_name(desk: CoordinatorAtTest) -> None:
    """Whatever the request says, the name is the invitation's."""
    candidate = Candidate("ant")
    result = desk.office.join(candidate.join_request(desk.token("ant")))
    assert result.certificate is not None
    assert certificate_from_der(result.certificate).public_key() == requested_key(candidate.request)
    assert identity_in(result.certificate).member_id == "ant"


def test_a_token_carries_what_a_node_needs(desk: CoordinatorAtTest) -> None:
    """Address, CA fingerprint, name and expiry; of the secret only the hash is stored."""
    issued = desk.office.invite("ant", JOIN_ADDRESS, valid=timedelta(hours=1))
    token = decode_token(issued.token)
    assert (token.address, token.member_id) == (JOIN_ADDRESS, "ant")
    assert token.ca_fingerprint == desk.authority.fingerprint
    assert token.expires_at == desk.clock() + timedelta(hours=1) == issued.expires_at
    stored = b"".join(path.read_bytes() for path in desk.state.root.iterdir() if path.is_file())
    assert token.secret not in stored
    assert issued.token.encode() not in stored


@pytest.mark.parametrize("name", ["", "Ant", "coordinator", "a" * 41])
def test_invitations_need_a_plain_name(desk: CoordinatorAtTest, name: str) -> None:
    """Names that may not stand in a certificate are refused at once."""
    with pytest.raises(InvalidInputError):
        desk.token(name)


def test_an_invitation_is_valid_for_a_while(desk: CoordinatorAtTest) -> None:
    """One that has expired when it is made is a mistake."""
    with pytest.raises(InvalidInputError, match="valid"):
        desk.token("ant", valid=timedelta())


def test_an_invitation_that_was_open_too_long_makes_nobody(founded: CoordinatorAtTest) -> None:
    """Should a withdrawn invitation come back (a restored backup), it takes no name and replaces no removed member."""
    old = Candidate("dog").join_request(founded.token("dog"))
    founded.join("dog")
    for name in ("ant", "bee"):
        founded.office.approve(founded.approval("dog", name), founded.members[name])
    replacing = Candidate("cat two").join_request(founded.token("cat", replace_key=True))
    founded.office.remove("cat", "left")
    with founded.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE invitation SET state = 'open' WHERE state = 'withdrawn'")
    with pytest.raises(RefusedError, match="taken"):
        founded.office.join(old)
    with pytest.raises(RefusedError, match="no member any more"):
        founded.office.join(replacing)
    assert founded.refusals() == ["name taken", "no longer a member"]


def test_a_name_is_given_once(founded: CoordinatorAtTest) -> None:
    """A member's, a candidate's and a removed member's name are not invited again."""
    with pytest.raises(ConflictError, match="is a member"):
        founded.token("ant")
    founded.join("dog")
    with pytest.raises(ConflictError, match="waits for approvals"):
        founded.token("dog")
    founded.office.remove("ant", "left")
    with pytest.raises(ConflictError, match="removed"):
        founded.token("ant")
    with pytest.raises(NotFoundError):
        founded.token("nobody", replace_key=True)


# -- tokens that are not good ------------------------------------------------------------------------------------------


def test_a_wrong_secret_and_an_unknown_invitation_get_the_same_answer(desk: CoordinatorAtTest) -> None:
    """Whoever lacks the secret does not learn whether the invitation exists; the audit log knows."""
    token = desk.token("ant")
    request = Candidate("ant").join_request(token)
    answers = set()
    for changed in (
        dataclasses.replace(request, secret=bytes(32)),
        dataclasses.replace(request, secret=b""),
        dataclasses.replace(request, invitation_id="f" * 32),
        dataclasses.replace(request, invitation_id="\0"),
        dataclasses.replace(request, invitation_id="f" * 32, identity_key=b"malformed"),
        dataclasses.replace(request, secret=bytes(32), certificate_request=b"malformed"),
    ):
        with pytest.raises(UnauthenticatedError) as refused:
            desk.office.join(changed)
        answers.add((refused.value.message, refused.value.remedy))
    assert len(answers) == 1
    assert sorted(set(desk.refusals())) == ["unknown", "wrong secret"]
    assert len(desk.refusals()) == 6
    assert desk.office.join(request).certificate is not None


def test_an_expired_token_is_refused(desk: CoordinatorAtTest) -> None:
    """Also one second after; the right secret is told the reason."""
    request = Candidate("ant").join_request(desk.token("ant", valid=timedelta(seconds=10)))
    desk.clock.move(seconds=10)
    with pytest.raises(RefusedError, match="expired"):
        desk.office.join(request)
    assert desk.refusals() == ["expired"]
    assert "ant" not in desk.office.history.members


def test_a_used_token_is_refused_with_other_keys(desk: CoordinatorAtTest) -> None:
    """Another identity key or another certificate request: burnt."""
    token = desk.token("ant")
    desk.office.join(Candidate("ant").join_request(token))
    for candidate in (Candidate("ant"), Candidate("bee")):
        with pytest.raises(RefusedError, match="used before"):
            desk.office.join(candidate.join_request(token))
    assert desk.refusals() == ["reused", "reused"]


def test_the_same_request_again_gets_the_same_answer(desk: CoordinatorAtTest) -> None:
    """A node that was killed before it read the answer asks again, also after the token's expiry."""
    candidate, token = Candidate("ant"), desk.token("ant")
    first = desk.office.join(candidate.join_request(token))
    desk.clock.move(days=4)
    assert desk.office.join(candidate.join_request(token)) == first
    assert len(desk.office.history.members) == 1


def test_a_node_that_comes_back_late_gets_a_fresh_certificate(desk: CoordinatorAtTest) -> None:
    """The certificate of the first answer is near its end: another one, for the same key."""
    candidate, token = Candidate("ant"), desk.token("ant")
    first = desk.office.join(candidate.join_request(token))
    desk.clock.move(days=25)
    again = desk.office.join(candidate.join_request(token))
    assert again.certificate not in (None, first.certificate)


def test_a_coordinator_killed_in_a_join_goes_on(desk: CoordinatorAtTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the commit, nothing has happened, and the same request works after the restart."""
    request = Candidate("ant").join_request(desk.token("ant"))

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(desk.audit), "append_in", die)
        with pytest.raises(KeyboardInterrupt):
            desk.office.join(request)
    assert not desk.office.history.members
    again = CoordinatorAtTest(desk.state.root, clock=desk.clock)
    assert not again.office.history.members
    assert again.office.join(request).certificate is not None


def test_a_later_invitation_voids_the_earlier(desk: CoordinatorAtTest) -> None:
    """Only the last token for a name works."""
    first, second = desk.token("ant"), desk.token("ant")
    with pytest.raises(RefusedError, match="withdrawn"):
        desk.office.join(Candidate("ant").join_request(first))
    assert desk.office.join(Candidate("ant").join_request(second)).certificate is not None


@pytest.mark.parametrize(
    "change",
    [
        {"proof": bytes(64)},
        {"identity_key": public_of("other")},
        {"identity_key": b""},
        {"certificate_request": b"malformed"},
        {"address": "no port"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_malformed_requests_burn_nothing(desk: CoordinatorAtTest, change: dict[str, bytes]) -> None:
    """Refused with an audit record, and the invitation stays good."""
    request = Candidate("ant").join_request(desk.token("ant"))
    with pytest.raises(InvalidInputError):
        desk.office.join(dataclasses.replace(request, **change))  # type: ignore[arg-type]
    assert desk.refusals() == ["invalid_input"]
    assert desk.office.join(request).certificate is not None


def test_an_identity_key_is_one_members(founded: CoordinatorAtTest) -> None:
    """Nobody joins with a present or former member's key, and two candidates do not share one."""
    with pytest.raises(RefusedError, match="another member's"):
        founded.join("dog", key="ant")
    founded.office.remove("ant", "left")
    with pytest.raises(RefusedError, match="another member's"):
        founded.join("dog", key="ant")
    founded.join("dog")
    with pytest.raises(ConflictError, match="waits for approvals"):
        founded.join("eel", key="dog")


def test_a_flood_of_refused_joins_does_not_fill_the_audit_log(desk: CoordinatorAtTest) -> None:
    """At most sixty records a minute, and the next minute says how many were left out."""
    request = dataclasses.replace(Candidate("ant").join_request(desk.token("ant")), secret=bytes(32))
    for _ in range(75):
        with pytest.raises(UnauthenticatedError):
            desk.office.join(request)
    assert len(desk.refusals()) == 60
    desk.clock.move(minutes=1)
    with pytest.raises(UnauthenticatedError):
        desk.office.join(request)
    assert [entry.fields["unrecorded"] for entry in desk.audit.entries(event="membership.join_refused")][-1] == 15


def test_a_throttle_lets_the_limit_through_in_each_period() -> None:
    """Counts of what was held back come with the next that passes."""
    throttle = Throttle(limit=2, period=timedelta(seconds=1))
    assert [throttle.passes(NOW) for _ in range(4)] == [0, 0, None, None]
    assert throttle.passes(NOW + timedelta(seconds=1)) == 2


def test_errors_hold_no_secret(desk: CoordinatorAtTest) -> None:
    """Neither a refused request's error nor its printed form shows the secret."""
    request = Candidate("ant").join_request(desk.token("ant"))
    with pytest.raises(JointriskError) as refused:
        desk.office.join(dataclasses.replace(request, proof=bytes(64)))
    for text in (str(refused.value), repr(request)):
        assert request.secret.hex() not in text
        assert repr(request.secret) not in text
