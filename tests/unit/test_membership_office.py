"""The coordinator's membership, over a real database."""

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator_at_test import JOIN_ADDRESS, Candidate, CoordinatorAtTest, identity_in
from jointrisk.errors import (
    ConflictError,
    CorruptError,
    InvalidInputError,
    JointriskError,
    NotFoundError,
    RefusedError,
    UnauthenticatedError,
)
from jointrisk.federation.certificates import (
    certificate_from_der,
    certificate_request,
    new_transport_key,
    requested_key,
)
from jointrisk.federation.invitation import decode_token
from jointrisk.federation.roster import Roster
from jointrisk.federation.roster_view import Anchor, accept_roster
from jointrisk.federation.signing import sign_document
from jointrisk_coordinator.membership.ledger import MembershipRules
from jointrisk_coordinator.membership.throttle import Throttle
from roster_forge import NOW, key_of, public_of

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


# -- approvals ---------------------------------------------------------------------------------------------------------


def test_a_later_member_waits_for_approvals(founded: CoordinatorAtTest) -> None:
    """No certificate and no place in the roster until two others have approved."""
    candidate, token = Candidate("dog"), founded.token("dog")
    waiting = founded.office.join(candidate.join_request(token))
    assert (waiting.certificate, waiting.approvals, waiting.approvals_required) == (None, 0, 2)
    assert "dog" not in founded.office.history.members
    first = founded.office.approve(founded.approval("dog", "ant"), founded.members["ant"])
    assert (first.approvals, first.approvals_required, first.admitted) == (1, 2, False)
    assert founded.office.join(candidate.join_request(token)).approvals == 1
    second = founded.office.approve(founded.approval("dog", "bee"), founded.members["bee"])
    assert (second.approvals, second.admitted) == (2, True)
    admitted = founded.office.join(candidate.join_request(token))
    assert admitted.certificate is not None
    assert founded.office.is_current(identity_in(admitted.certificate))
    assert founded.office.join(candidate.join_request(token)) == admitted
    assert believed(founded, "dog") == ["ant", "bee", "cat", "dog"]


def test_approving_twice_counts_once(founded: CoordinatorAtTest) -> None:
    """A repeated approval is answered alike; also after the admission."""
    founded.join("dog")
    approval = founded.approval("dog", "ant")
    for _ in range(2):
        assert founded.office.approve(approval, founded.members["ant"]).approvals == 1
    other = founded.approval("dog", "bee")
    for _ in range(2):
        assert founded.office.approve(other, founded.members["bee"]).admitted


def test_approvals_are_the_callers_own(founded: CoordinatorAtTest) -> None:
    """Another member's approval, one signed with another key, or of another document is refused."""
    founded.join("dog")
    approval = founded.approval("dog", "ant")
    with pytest.raises(UnauthenticatedError):
        founded.office.approve(approval, founded.members["bee"])
    with pytest.raises(UnauthenticatedError):
        founded.office.approve(founded.approval("dog", "ant", key="cat"), founded.members["ant"])
    with pytest.raises(InvalidInputError):
        founded.office.approve(founded.approval("dog", "bee", key="ant"), founded.members["ant"])
    with pytest.raises(CorruptError):
        founded.office.approve(sign_document("approval", b"{}", key_of("ant")), founded.members["ant"])
    assert founded.office.admissions()[0].approved_by == ()


def test_an_approval_of_something_else_is_refused(founded: CoordinatorAtTest) -> None:
    """An approval names an admission that waits, with its very key."""
    founded.join("dog")
    approval = founded.approval("dog", "ant")
    changed = approval.payload.replace(public_of("dog").hex().encode(), public_of("fox").hex().encode())
    with pytest.raises(InvalidInputError):
        founded.office.approve(sign_document("approval", changed, key_of("ant")), founded.members["ant"])
    founded.office.remove("dog", "mistake")
    with pytest.raises(ConflictError, match="withdrawn"):
        founded.office.approve(approval, founded.members["ant"])


def test_an_approval_of_nothing_is_refused(founded: CoordinatorAtTest) -> None:
    """There is no such admission."""
    founded.join("dog")
    approval = founded.approval("dog", "ant")
    pending = founded.office.admissions()[0].admission_id.encode()
    with pytest.raises(NotFoundError):
        founded.office.approve(
            sign_document("approval", approval.payload.replace(pending, b"f" * 32), key_of("ant")),
            founded.members["ant"],
        )


def test_strangers_and_candidates_cannot_approve(founded: CoordinatorAtTest) -> None:
    """Only a current member's certificate lets an approval in."""
    founded.join("dog")
    approval = founded.approval("dog", "dog")
    outsider = dataclasses.replace(founded.members["ant"], member_id="dog")
    with pytest.raises(RefusedError):
        founded.office.approve(approval, outsider)


def test_removed_members_approvals_do_not_count(founded: CoordinatorAtTest) -> None:
    """Given before its removal, an approval is worth nothing after it."""
    founded.join("dog")
    founded.office.approve(founded.approval("dog", "ant"), founded.members["ant"])
    founded.office.remove("ant", "left")
    assert founded.office.admissions()[0].approved_by == ()
    founded.office.approve(founded.approval("dog", "bee"), founded.members["bee"])
    assert "dog" not in founded.office.history.members
    assert founded.office.approve(founded.approval("dog", "cat"), founded.members["cat"]).admitted
    assert believed(founded, "bee") == ["bee", "cat", "dog"]


def test_a_removal_can_make_the_approvals_enough(founded: CoordinatorAtTest) -> None:
    """With one other member left, that one's approval admits."""
    founded.join("dog")
    founded.office.approve(founded.approval("dog", "ant"), founded.members["ant"])
    founded.office.remove("bee", "left")
    assert "dog" not in founded.office.history.members
    founded.office.remove("cat", "left")
    assert list(founded.office.history.members) == ["ant", "dog"]
    assert believed(founded, "ant") == ["ant", "dog"]


# -- changed keys, lost certificates -----------------------------------------------------------------------------------


def test_a_changed_key_needs_approvals_and_ends_the_old_certificate(founded: CoordinatorAtTest) -> None:
    """Also a founder's; the member itself does not count; until then the old key stays."""
    told: list[str] = []
    founded.office.on_removed.append(told.append)
    old = founded.members["cat"]
    candidate, token = Candidate("cat two"), founded.token("cat", replace_key=True)
    assert founded.office.join(candidate.join_request(token)).certificate is None
    assert founded.office.is_current(old)
    with pytest.raises(RefusedError, match="itself"):
        founded.office.approve(founded.approval("cat", "cat"), old)
    for name in ("ant", "bee"):
        founded.office.approve(founded.approval("cat", name), founded.members[name])
    assert not founded.office.is_current(old)
    assert told == ["cat"]
    renewed = founded.office.join(candidate.join_request(token))
    assert renewed.certificate is not None
    assert founded.office.is_current(identity_in(renewed.certificate))
    assert old.serial in founded.office.roster.refused_serials
    assert founded.office.history.members["cat"].identity_key == public_of("cat two")
    assert believed(founded, "cat", "cat two") == ["ant", "bee", "cat"]


def test_a_member_that_lost_its_certificate_comes_back_without_approvals(founded: CoordinatorAtTest) -> None:
    """The identity key is the same, so nothing changes for others; earlier certificates are refused."""
    told: list[str] = []
    founded.office.on_removed.append(told.append)
    old = founded.members["cat"]
    again = founded.join("cat", replace_key=True)
    assert again.certificate is not None
    assert founded.office.is_current(founded.members["cat"])
    assert not founded.office.is_current(old)
    assert old.serial in founded.office.roster.refused_serials
    assert told == ["cat"]
    assert len(founded.office.roster.changes) == 3


def test_a_replacing_invitation_ends_with_the_membership(founded: CoordinatorAtTest) -> None:
    """Invited to come back, then removed: the token is void."""
    token = founded.token("cat", replace_key=True)
    founded.office.remove("cat", "left")
    with pytest.raises(RefusedError, match="withdrawn"):
        founded.office.join(Candidate("cat two").join_request(token))


# -- removal -----------------------------------------------------------------------------------------------------------


def test_removal_takes_effect_at_once(founded: CoordinatorAtTest) -> None:
    """Certificate refused, roster without it and with its serial, streams told, all on record."""
    told: list[str] = []
    founded.office.on_removed.append(told.append)
    before = founded.office.roster.version
    identity = founded.members["bee"]
    assert founded.office.remove("bee", "contract ended") == before + 1
    assert not founded.office.is_current(identity)
    assert told == ["bee"]
    assert founded.office.roster.refused_serials == (identity.serial,)
    assert believed(founded, "ant") == ["ant", "cat"]
    for forbidden in (
        lambda: founded.office.renew(certificate_request(new_transport_key()), identity),
        lambda: founded.office.approve(founded.office.current_roster(), identity),
    ):
        with pytest.raises(RefusedError, match="removed"):
            forbidden()
    removal = next(iter(founded.audit.entries(event="membership.removed")))
    assert removal.fields == {"member_id": "bee", "reason": "contract ended", "was_member": True}


def test_a_removed_node_does_not_come_back_with_its_old_token(founded: CoordinatorAtTest) -> None:
    """The request that once made it a member is refused."""
    candidate, token = Candidate("cow"), founded.token("cow")
    request = candidate.join_request(token)
    founded.office.join(request)
    for name in ("ant", "bee"):
        founded.office.approve(founded.approval("cow", name), founded.members[name])
    assert founded.office.join(request).certificate is not None
    founded.office.remove("cow", "left")
    with pytest.raises(RefusedError, match="removed"):
        founded.office.join(request)


def test_removing_a_candidate_withdraws_its_admission(founded: CoordinatorAtTest) -> None:
    """Its token is void, and the name can be invited again: nobody has approved it."""
    request = Candidate("dog").join_request(founded.token("dog"))
    founded.office.join(request)
    founded.office.remove("dog", "wrong institution")
    assert founded.office.admissions() == []
    with pytest.raises(RefusedError, match="withdrawn"):
        founded.office.join(request)
    assert founded.join("dog", key="other dog").approvals_required == 2


def test_removing_nobody_is_an_error(founded: CoordinatorAtTest) -> None:
    """A mistyped name does not pass in silence."""
    for name in ("nobody", ""):
        with pytest.raises(NotFoundError):
            founded.office.remove(name, "mistake")
    with pytest.raises(InvalidInputError):
        founded.office.remove("ant", "x" * 501)


def test_removals_survive_a_restart(founded: CoordinatorAtTest) -> None:
    """What was refused before a kill is refused after it."""
    identity, other = founded.members["bee"], founded.members["ant"]
    founded.office.remove("bee", "left")
    again = CoordinatorAtTest(founded.state.root, clock=founded.clock)
    assert not again.office.is_current(identity)
    assert again.office.is_current(other)
    assert again.office.current_roster() == founded.office.current_roster()


# -- certificates ------------------------------------------------------------------------------------------------------


def test_renewal_gives_another_certificate_for_the_caller(founded: CoordinatorAtTest) -> None:
    """For the new key, the caller's name, and valid beside the old one until that expires."""
    request = certificate_request(new_transport_key())
    der = founded.office.renew(request, founded.members["ant"])
    fresh = identity_in(der)
    assert fresh.member_id == "ant"
    assert fresh.serial != founded.members["ant"].serial
    assert founded.office.is_current(fresh)
    assert founded.office.is_current(founded.members["ant"])


@pytest.mark.parametrize(
    "change",
    [{"federation": "other"}, {"member_id": "bee"}, {"member_id": "coordinator"}, {"serial": "1"}],
    ids=lambda change: next(iter(change.items())),
)
def test_only_certificates_that_were_issued_and_kept_are_current(
    founded: CoordinatorAtTest, change: dict[str, str]
) -> None:
    """Another federation, name or serial is nobody's, whatever signed it."""
    identity = dataclasses.replace(founded.members["ant"], **change)  # type: ignore[arg-type]
    assert not founded.office.is_current(identity)
    with pytest.raises(RefusedError):
        founded.office.require_current(identity)


def test_a_member_cannot_collect_certificates(founded: CoordinatorAtTest) -> None:
    """A node that renews in a circle is stopped, others are not."""
    request = certificate_request(new_transport_key())
    for _ in range(49):
        founded.office.renew(request, founded.members["ant"])
    with pytest.raises(RefusedError, match="certificates"):
        founded.office.renew(request, founded.members["ant"])
    assert founded.office.renew(request, founded.members["bee"])


def test_expired_refused_serials_leave_the_roster(founded: CoordinatorAtTest) -> None:
    """The list does not grow for ever: an expired certificate fails by itself."""
    founded.office.remove("bee", "left")
    founded.clock.move(days=31)
    founded.office.current_roster()
    assert founded.office.roster.refused_serials == ()


# -- the roster over time ----------------------------------------------------------------------------------------------


def test_a_roster_is_issued_again_at_half_of_its_time(founded: CoordinatorAtTest) -> None:
    """The same changes, one version later, valid for another day."""
    first = founded.office.current_roster()
    founded.clock.move(hours=11, minutes=59)
    assert founded.office.current_roster() == first
    founded.clock.move(minutes=1)
    second = Roster.parse(founded.office.current_roster().payload)
    assert second.version == Roster.parse(first.payload).version + 1
    assert second.expires_at == founded.clock() + timedelta(hours=24)
    assert second.changes == Roster.parse(first.payload).changes


@pytest.mark.parametrize("rules", [MembershipRules(founding_members=4), MembershipRules(approvals_required=1)])
def test_the_agreed_numbers_cannot_be_changed_in_the_settings(
    founded: CoordinatorAtTest, rules: MembershipRules
) -> None:
    """Every node would refuse the roster, so the coordinator does not start."""
    with pytest.raises(ConflictError, match="agreed"):
        CoordinatorAtTest(founded.state.root, rules, founded.clock)


def test_lifetimes_may_change(founded: CoordinatorAtTest) -> None:
    """They are no term of the federation."""
    rules = MembershipRules(certificate_lifetime=timedelta(days=7), roster_lifetime=timedelta(hours=1))
    assert CoordinatorAtTest(founded.state.root, rules, founded.clock).office.history.members


def test_a_changed_roster_in_the_database_is_found(founded: CoordinatorAtTest) -> None:
    """Whoever writes to the database cannot make members."""
    with founded.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE roster SET payload = CAST(replace(payload, 'bee', 'fly') AS BLOB)")
    with pytest.raises(CorruptError):
        CoordinatorAtTest(founded.state.root, clock=founded.clock)


def test_people_see_members_candidates_and_the_removed(founded: CoordinatorAtTest) -> None:
    """With fingerprints, approvals and the certificate's end."""
    founded.join("dog")
    founded.office.approve(founded.approval("dog", "ant"), founded.members["ant"])
    founded.office.remove("bee", "left")
    views = {view.member_id: view for view in founded.office.list_members()}
    assert [(view.member_id, view.state) for view in founded.office.list_members()] == [
        ("ant", "member"),
        ("cat", "member"),
        ("dog", "pending"),
        ("bee", "removed"),
    ]
    assert (views["dog"].approved_by, views["dog"].approvals_required) == (("ant",), 2)
    assert views["ant"].certificate_expires_at == founded.clock() + timedelta(days=30)
    assert len({view.fingerprint for view in views.values()}) == 4


def test_every_step_is_on_record(founded: CoordinatorAtTest) -> None:
    """The audit log tells the story and is sound."""
    founded.join("dog")
    for name in ("ant", "bee"):
        founded.office.approve(founded.approval("dog", name), founded.members[name])
    founded.office.remove("dog", "left")
    told = [event for event in founded.events() if "issued" not in event]
    assert told == [
        *["membership.invited", "membership.founded"] * 3,
        "membership.invited",
        "membership.admission_opened",
        "membership.approved",
        "membership.approved",
        "membership.admitted",
        "membership.invitation_withdrawn",
        "membership.certificates_refused",
        "membership.removed",
    ]
    founded.audit.verify().require_sound()


def test_errors_hold_no_secret(desk: CoordinatorAtTest) -> None:
    """Neither a refused request's error nor its printed form shows the secret."""
    request = Candidate("ant").join_request(desk.token("ant"))
    with pytest.raises(JointriskError) as refused:
        desk.office.join(dataclasses.replace(request, proof=bytes(64)))
    for text in (str(refused.value), repr(request)):
        assert request.secret.hex() not in text
        assert repr(request.secret) not in text
