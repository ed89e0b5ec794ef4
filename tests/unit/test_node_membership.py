"""The node's keys and its belief about the federation, over a real database and without a network."""

from datetime import timedelta
from pathlib import Path

import pytest

from coordinator_at_test import MASTER, MovableClock
from jointrisk.errors import CorruptError, InvalidInputError, NotFoundError, RefusedError, UnavailableError
from jointrisk.federation.approval import read_approval
from jointrisk.federation.certificates import (
    KeyPair,
    certificate_fingerprint,
    certificate_to_der,
    certificate_to_pem,
    issue_authority,
    key_to_pem,
    new_transport_key,
    requested_key,
)
from jointrisk.federation.fingerprint import fingerprint
from jointrisk.federation.history import RosterRuleError
from jointrisk.federation.roster import sign_roster
from jointrisk.federation.roster_view import Anchor, accept_roster
from jointrisk.federation.signing import Signed, private_bytes, public_bytes
from jointrisk.masterkey import MasterKey
from jointrisk_node.membership.belief import store_joining
from jointrisk_node.membership.keys import NodeKeys
from jointrisk_node.membership.membership import Membership
from jointrisk_node.membership.tables import ONLY_ROW, OwnMembership
from jointrisk_node.membership.views import Candidate
from node_at_test import NodeAtTest
from roster_forge import NOW, Forge, key_of, public_of

CA = issue_authority("testing", new_transport_key(), now=NOW, lifetime=timedelta(days=3650))


class ForgedFederation(Forge):
    """A forge whose CA is a real certificate, so that a node can store the membership."""

    def signed_now(self) -> Signed:
        """Return the roster as it stands, signed, naming that CA."""
        terms = self.terms.model_copy(update={"ca_fingerprint": certificate_fingerprint(CA)})
        return sign_roster(self.roster().model_copy(update={"terms": terms}), key_of("coordinator key"))


def member(tmp_path: Path, forge: ForgedFederation, name: str = "ant") -> tuple[NodeAtTest, Membership]:
    """Return a node that has joined with the fixed key of ``name``."""
    node = NodeAtTest(tmp_path / name, MovableClock(NOW))
    node.state.write("keys/identity.sealed", _sealed_identity(name))
    signed = forge.signed_now()
    anchor = Anchor(name, public_of(name), public_of("coordinator key"), certificate_fingerprint(CA))
    view = accept_roster(anchor, None, signed, NOW)
    own = OwnMembership(
        id=ONLY_ROW,
        federation="testing",
        member_id=name,
        identity_key=public_of(name),
        coordinator_key=public_of("coordinator key"),
        coordinator_address="127.0.0.1:7443",
        ca_certificate=certificate_to_der(CA),
        invitation_id="0" * 32,
        joined_at=NOW,
        first_changes=len(view.roster.changes),
        roster_version=view.roster.version,
        roster_payload=signed.payload,
        roster_signature=signed.signature,
    )
    store_joining(node.store, node.audit, own, view)
    return node, node.membership()


def _sealed_identity(name: str) -> bytes:
    return MASTER.seal("node identity", private_bytes(key_of(name)))


def candidate(name: str, key: str, previous: str | None = None) -> Candidate:
    """Return an admission as the coordinator would tell it."""
    return Candidate("a" * 32, name, public_of(key), public_of(previous) if previous else None, ("bee",), 2)


@pytest.fixture
def forge() -> ForgedFederation:
    """Return a federation of three founders."""
    forge = ForgedFederation()
    forge.found("ant", "bee", "cat")
    return forge


# -- keys --------------------------------------------------------------------------------------------------------------


def test_keys_are_made_once_and_sealed(tmp_path: Path) -> None:
    """The same identity after a restart; nothing readable on the disk but the public half."""
    node = NodeAtTest(tmp_path / "n")
    made = private_bytes(node.keys.identity())
    assert private_bytes(NodeAtTest(tmp_path / "n").keys.identity()) == made
    assert (tmp_path / "n" / "identity.pub").read_text().strip() == public_bytes(node.keys.identity()).hex()
    for path in (tmp_path / "n" / "keys").iterdir():
        assert made not in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(CorruptError):
        NodeKeys(node.state, MasterKey(bytes([9] * 32))).identity()


def test_a_join_is_repeated_with_the_same_keys(tmp_path: Path) -> None:
    """The very bytes of the request are kept; another invitation gets other keys."""
    node = NodeAtTest(tmp_path / "n")
    first = node.keys.joining("a" * 32)
    again = NodeAtTest(tmp_path / "n").keys.joining("a" * 32)
    assert again.request == first.request
    assert again.key.private_numbers() == first.key.private_numbers()
    assert requested_key(first.request) == first.key.public_key()
    other = node.keys.joining("b" * 32)
    assert other.request != first.request
    node.keys.end_joining()
    node.keys.end_joining()
    assert node.keys.joining("b" * 32).request != other.request


def test_transport_key_and_certificate_are_one_file(tmp_path: Path) -> None:
    """They cannot come apart when a renewal is cut off; before joining there are none."""
    node = NodeAtTest(tmp_path / "n")
    with pytest.raises(NotFoundError, match="certificate"):
        node.keys.transport()
    pair = KeyPair(key_to_pem(new_transport_key()), certificate_to_pem(CA))
    node.keys.keep_transport(pair)
    assert NodeAtTest(tmp_path / "n").keys.transport() == pair
    assert [path.name for path in (tmp_path / "n" / "keys").iterdir()] == ["transport.sealed"]


# -- belief ------------------------------------------------------------------------------------------------------------


def test_a_node_that_has_not_joined_says_so(tmp_path: Path) -> None:
    """With the command to give."""
    with pytest.raises(NotFoundError) as error:
        NodeAtTest(tmp_path / "n").membership()
    assert "join" in error.value.remedy


def test_a_believed_roster_survives_a_restart(tmp_path: Path, forge: ForgedFederation) -> None:
    """Newer rosters are stored, the same one is no news, and all is on record."""
    node, membership = member(tmp_path, forge)
    forge.admit("dog", by=["bee", "cat"])
    assert membership.apply_roster(forge.signed_now())
    assert not membership.apply_roster(forge.signed_now())
    assert list(node.membership().trusted()) == ["ant", "bee", "cat", "dog"]
    assert node.events() == ["membership.joined", "membership.roster_believed", "membership.roster_believed"]


def test_a_broken_roster_changes_nothing_and_is_on_record_once(tmp_path: Path, forge: ForgedFederation) -> None:
    """The roster before stays; the same violation at every poll does not fill the log."""
    node, membership = member(tmp_path, forge)
    version = membership.roster.version
    forge.admit("dog", by=["bee"])
    for _ in range(3):
        with pytest.raises(RosterRuleError, match="approvals"):
            membership.apply_roster(forge.signed_now())
    assert membership.roster.version == node.membership().roster.version == version
    refusals = list(node.audit.entries(event="membership.roster_refused"))
    assert [refusal.fields["rule"] for refusal in refusals] == ["approvals"]


def test_pins_survive_a_restart(tmp_path: Path, forge: ForgedFederation) -> None:
    """What was pinned at first sight is what a restarted node holds a rewritten history against."""
    node, _ = member(tmp_path, forge)
    other = ForgedFederation()
    other.found("ant", "bee", "cow").reissue()
    with pytest.raises(RosterRuleError, match="history"):
        node.membership().apply_roster(other.signed_now())


def test_an_expired_roster_stops_the_node(tmp_path: Path, forge: ForgedFederation) -> None:
    """It goes on believing it, and takes part in nothing."""
    node, membership = member(tmp_path, forge)
    membership.require_fresh()
    assert isinstance(node.clock, MovableClock)
    node.clock.move(hours=24)
    with pytest.raises(UnavailableError, match="expired"):
        node.membership().require_fresh()
    assert list(membership.trusted()) == ["ant", "bee", "cat"]


def test_a_removed_node_stops(tmp_path: Path, forge: ForgedFederation) -> None:
    """It believes its own removal."""
    _, membership = member(tmp_path, forge)
    forge.remove("ant")
    membership.apply_roster(forge.signed_now())
    with pytest.raises(RefusedError, match="removed"):
        membership.require_fresh()


def test_changed_bytes_in_the_database_are_found(tmp_path: Path, forge: ForgedFederation) -> None:
    """Nobody makes members by writing to the node's database alone."""
    node, _ = member(tmp_path, forge)
    with node.store.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE membership SET roster_payload = CAST(replace(roster_payload, 'cat', 'cow') AS BLOB)"
        )
    with pytest.raises(CorruptError):
        node.membership()


def test_another_identity_key_than_joined_with_is_found(tmp_path: Path, forge: ForgedFederation) -> None:
    """A key file of another node does not make this one that node."""
    node, _ = member(tmp_path, forge)
    node.state.write("keys/identity.sealed", _sealed_identity("bee"))
    with pytest.raises(CorruptError, match="identity key"):
        node.membership()


# -- what people decide ------------------------------------------------------------------------------------------------


def test_founders_see_the_same_fingerprints(tmp_path: Path, forge: ForgedFederation) -> None:
    """One string for all, until somebody is shown another key."""
    _, ant = member(tmp_path, forge)
    _, bee = member(tmp_path, forge, "bee")
    assert ant.fingerprints() == bee.fingerprints()
    assert ant.fingerprints().members["cat"] == fingerprint(public_of("cat"))
    other = ForgedFederation()
    other.found("ant", "bee").changes.append(
        forge.changes[-1].model_copy(update={"identity_key": public_of("impostor")})
    )
    other.version = forge.version
    shown = member(tmp_path / "shown", other, "bee")[1].fingerprints()
    assert shown.federation != ant.fingerprints().federation
    assert shown.coordinator == ant.fingerprints().coordinator


def test_an_approval_needs_the_compared_fingerprint(tmp_path: Path, forge: ForgedFederation) -> None:
    """Signed only for the key that the person has compared; on record."""
    node, membership = member(tmp_path, forge)
    asked = candidate("dog", "dog")
    for wrong in ("", fingerprint(public_of("bee")), fingerprint(public_of("dog"))[:-1]):
        with pytest.raises(InvalidInputError, match="fingerprint"):
            membership.approval_of(asked, wrong)
    assert "membership.approval_signed" not in node.events()
    signed = membership.approval_of(asked, fingerprint(public_of("dog")).lower())
    approval = read_approval(signed, public_of("ant"))
    assert (approval.member_id, approval.identity_key, approval.approver) == ("dog", public_of("dog"), "ant")
    assert node.events()[-1] == "membership.approval_signed"


@pytest.mark.parametrize(
    "asked",
    [
        candidate("bee", "bee two"),
        candidate("bee", "bee two", previous="cat"),
        candidate("dog", "dog", previous="cat"),
        candidate("ant", "ant two", previous="ant"),
    ],
    ids=["member as new", "other previous key", "new with previous key", "itself"],
)
def test_a_candidate_that_contradicts_the_pins_is_not_approved(
    tmp_path: Path, forge: ForgedFederation, asked: Candidate
) -> None:
    """A coordinator that hides a change of key behind a new member gets no signature."""
    _, membership = member(tmp_path, forge)
    with pytest.raises(RefusedError):
        membership.approval_of(asked, fingerprint(asked.identity_key))


def test_a_changed_key_is_accepted_by_a_person(tmp_path: Path, forge: ForgedFederation) -> None:
    """Until then the member is not worked with; the choice survives a restart."""
    node, membership = member(tmp_path, forge)
    forge.change_key("bee", "bee two", by=["ant", "cat"])
    membership.apply_roster(forge.signed_now())
    assert list(membership.trusted()) == ["ant", "cat"]
    assert {view.member_id: view.state for view in membership.members()}["bee"] == "key changed"
    before = membership.fingerprints().federation
    with pytest.raises(InvalidInputError):
        membership.accept("bee", fingerprint(public_of("bee")))
    assert membership.accept("bee", fingerprint(public_of("bee two")))
    assert list(node.membership().trusted()) == ["ant", "bee", "cat"]
    assert membership.fingerprints().federation != before


def test_a_key_can_be_accepted_before_it_is_in_the_roster(tmp_path: Path, forge: ForgedFederation) -> None:
    """The person who approves the change need not be asked twice."""
    _, membership = member(tmp_path, forge)
    asked = candidate("bee", "bee two", previous="bee")
    assert not membership.accept("bee", fingerprint(public_of("bee two")), asked)
    assert "bee" in membership.trusted()
    forge.change_key("bee", "bee two", by=["ant", "cat"])
    membership.apply_roster(forge.signed_now())
    assert membership.trusted()["bee"].identity_key == public_of("bee two")


def test_there_has_to_be_something_to_accept(tmp_path: Path, forge: ForgedFederation) -> None:
    """Unchanged members and strangers are not accepted, nor new candidates: those are approved."""
    _, membership = member(tmp_path, forge)
    for name, asked in (("bee", None), ("nobody", None), ("dog", candidate("dog", "dog"))):
        with pytest.raises(NotFoundError):
            membership.accept(name, fingerprint(public_of(name)), asked)


def test_people_see_members_candidates_and_the_removed(tmp_path: Path, forge: ForgedFederation) -> None:
    """In order of joining, then candidates, then former members."""
    _, membership = member(tmp_path, forge)
    forge.remove("cat")
    membership.apply_roster(forge.signed_now())
    seen = membership.members([candidate("dog", "dog")])
    assert [(view.member_id, view.state) for view in seen] == [
        ("ant", "member"),
        ("bee", "member"),
        ("dog", "pending"),
        ("cat", "removed"),
    ]
    assert (seen[2].approved_by, seen[2].approvals_required) == (("bee",), 2)
