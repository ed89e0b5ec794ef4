"""Approvals, changed keys, removal, certificates and the roster at the coordinator, over a real database."""

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator_at_test import Candidate, CoordinatorAtTest, identity_in
from jointrisk.errors import (
    ConflictError,
    CorruptError,
    InvalidInputError,
    NotFoundError,
    RefusedError,
    UnauthenticatedError,
)
from jointrisk.federation.certificates import (
    certificate_request,
    new_transport_key,
)
from jointrisk.federation.roster import Roster
from jointrisk.federation.roster_view import Anchor, accept_roster
from jointrisk.federation.signing import sign_document
from jointrisk_coordinator.membership.ledger import MembershipRules
from roster_forge import key_of, public_of

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


def test_the_roster_names_the_newest_generation_of_key_shares(founded: CoordinatorAtTest) -> None:
    """A key ceremony that is done makes a new version, once; later changes keep the number, and it never goes back."""
    before = founded.office.roster.version
    for generation in (2, 2, 1):
        founded.office.note_generation(generation)
    assert (founded.office.roster.version, founded.office.roster.holder_generation) == (before + 1, 2)
    founded.office.remove("cat", "left")
    assert founded.office.roster.holder_generation == 2


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
