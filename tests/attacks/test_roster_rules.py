"""A coordinator that tries to become everyone, against a node's rules for rosters (PROTOCOL.md section 0)."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from jointrisk.errors import CorruptError
from jointrisk.federation.approval import Endorsement
from jointrisk.federation.history import RosterRuleError
from jointrisk.federation.roster import Founded, Roster, Terms, sign_roster
from jointrisk.federation.roster_view import Known, Trust, View, accept_roster
from jointrisk.federation.signing import Signed, sign_document
from roster_forge import NOW, Forge, key_of, known_from, public_of

FOUNDERS = ("ant", "bee", "cat")


def founded() -> Forge:
    """Return a federation of three founders."""
    return Forge().found(*FOUNDERS)


def known_to(forge: Forge, name: str = "ant") -> Known:
    """Return what a node has after it has seen the roster as it stands."""
    signed = forge.signed()
    return known_from(signed, accept_roster(forge.anchor(name), None, signed, NOW))


def offer(forge: Forge, known: Known | None, name: str = "ant") -> View:
    """Show the roster as it stands to a node."""
    return accept_roster(forge.anchor(name), known, forge.signed(), NOW)


def refused(rule: str, forge: Forge, known: Known | None, name: str = "ant") -> None:
    """Expect the node to name this rule."""
    with pytest.raises(RosterRuleError) as error:
        offer(forge, known, name)
    assert error.value.rule == rule, error.value.message
    assert error.value.remedy


def with_change(forge: Forge, **fields: object) -> Forge:
    """Replace fields of the last change."""
    forge.changes[-1] = forge.changes[-1].model_copy(update=fields)
    return forge


def test_a_sound_federation_is_believed() -> None:
    """Founders, an approved fourth member, a removal: all are as they should be at every node."""
    forge = founded()
    known = known_to(forge)
    view = offer(forge.admit("dog", by=["ant", "bee"]).remove("cat"), known)
    assert {name: view.trust(name) for name in view.history.members} == dict.fromkeys(
        ("ant", "bee", "dog"), Trust.MEMBER
    )
    assert view.history.members["dog"].number == 4
    assert list(view.trusted()) == ["ant", "bee", "dog"]
    assert list(view.history.removed) == ["cat"]


def test_founders_appear_one_by_one() -> None:
    """The first founder's node sees the others join without approvals, up to the agreed number."""
    forge = Forge().found("ant")
    known = known_to(forge)
    assert list(offer(forge.found("bee", "cat"), known).trusted()) == ["ant", "bee", "cat"]


@pytest.mark.parametrize("by", [[], ["bee"], ["bee", "bee"], ["dog", "bee"]], ids=["none", "one", "twice", "itself"])
def test_a_sybil_without_enough_approvals_is_refused(by: list[str]) -> None:
    """Sybil: too few approvals, one counted twice, or the candidate's own."""
    forge = founded()
    known = known_to(forge)
    refused("approvals", forge.admit("dog", by=by), known)


def test_a_sybil_with_forged_approvals_is_refused() -> None:
    """Sybil: the coordinator signs approvals itself."""
    forge = founded()
    known = known_to(forge)
    forged = [Endorsement(approver=name, signature=key_of("coordinator key").sign(b"x")) for name in ("bee", "cat")]
    refused("approvals", forge.admit("dog", by=[], endorsements=forged), known)


@pytest.mark.parametrize(
    "fields",
    [
        {"identity_key": public_of("sybil")},
        {"member_id": "dingo"},
        {"admission_id": "f" * 32},
    ],
    ids=["other key", "other name", "other admission"],
)
def test_approvals_are_for_one_candidate_and_one_key(fields: dict[str, object]) -> None:
    """Sybil: approvals that people gave to somebody else are reused."""
    forge = founded()
    known = known_to(forge)
    refused("approvals", with_change(forge.admit("dog", by=["ant", "bee"]), **fields), known)


def test_an_admission_is_used_once() -> None:
    """Approvers that sign two candidates under one admission do not get both in."""
    forge = founded().admit("dog", by=["ant", "bee"])
    known = known_to(forge)
    forge._admissions = 0
    refused("approvals", forge.admit("eel", by=["ant", "bee"]), known)


def test_approvals_of_another_federation_do_not_count() -> None:
    """Sybil: the same institutions approved the same candidate in another federation."""
    forge = founded()
    known = known_to(forge)
    forge.admit("dog", by=["ant", "bee"])
    other = forge.terms.model_copy(update={"federation": "elsewhere"})
    roster = forge.roster().model_copy(update={"terms": other})
    signed = sign_roster(roster, key_of("coordinator key"))
    with pytest.raises(RosterRuleError) as error:
        accept_roster(forge.anchor("ant"), None, signed, NOW)
    assert error.value.rule == "approvals"
    with pytest.raises(RosterRuleError) as error:
        accept_roster(forge.anchor("ant"), known, signed, NOW)
    assert error.value.rule == "terms"


def test_removed_members_approve_nobody() -> None:
    """Sybil: old keys of members that left are worth nothing."""
    forge = founded().admit("dog", by=["ant", "bee"])
    known = known_to(forge)
    refused("approvals", forge.remove("cat").admit("eel", by=["cat", "bee"]), known)


def test_a_sybil_cannot_approve_the_next() -> None:
    """Sybil: a chain in which each invented member approves the following one breaks at its first link."""
    forge = founded()
    known = known_to(forge)
    refused("approvals", forge.admit("dog", by=["bee"]).admit("eel", by=["dog", "bee"]), known)


def test_approvals_before_a_removal_do_not_meet_the_lower_need_after_it() -> None:
    """Sybil: removing members lowers what is needed; approvals of the removed must not count towards that."""
    forge = founded()
    known = known_to(forge)
    endorsements = forge.endorse("dog", "dog", None, ["bee"])
    refused("approvals", forge.remove("bee", "cat").admit("dog", by=[], endorsements=endorsements), known)


def test_after_removals_the_last_member_decides() -> None:
    """With one other member left its approval is what is needed, and nothing less."""
    forge = founded()
    known = known_to(forge)
    forge.remove("bee", "cat")
    assert list(offer(forge.admit("dog", by=["ant"]), known).trusted()) == ["ant", "dog"]
    refused("approvals", founded().remove("bee", "cat").admit("dog", by=[]), known)


def test_no_founder_comes_after_the_founding() -> None:
    """Sybil: a fourth founder, or a founder in place of one who left."""
    forge = founded()
    known = known_to(forge)
    refused("founders", forge.found("dog"), known)
    refused("founders", founded().remove("cat").found("dog"), known)


@pytest.mark.parametrize("number", [1, 3, 5, 4000])
def test_numbers_are_neither_reused_nor_skipped(number: int) -> None:
    """Sybil: a low number would make a founder, a high one hide a gap."""
    forge = founded()
    known = known_to(forge)
    refused("numbers", with_change(forge.admit("dog", by=["ant", "bee"]), number=number), known)


def test_too_early_admissions_cannot_fill_the_founders_places() -> None:
    """A member with approvals is not counted as one of the founders."""
    forge = Forge().found("ant")
    known = known_to(forge)
    refused("founders", forge.admit("dog", by=["ant"]), known)


def test_a_removed_name_does_not_come_back() -> None:
    """Approvals that a name once had cannot bring another key under it."""
    forge = founded().admit("dog", by=["ant", "bee"])
    known = known_to(forge)
    refused("names", forge.remove("dog").admit("dog", by=["ant", "bee"]), known)
    refused("names", founded().remove("dog"), None)


@pytest.mark.parametrize("name", ["bee", "cat"])
def test_two_members_cannot_share_a_key(name: str) -> None:
    """One party that stands as two would count twice."""
    forge = Forge().found("ant", "bee")
    known = known_to(forge)
    forge.found("cat")
    refused("keys", with_change(forge, identity_key=public_of("bee" if name == "cat" else "ant")), known)


def test_members_do_not_vanish_or_change_without_a_trace() -> None:
    """History: dropping, reordering or editing a change that the node has seen is found."""
    forge = founded().admit("dog", by=["ant", "bee"])
    known = known_to(forge)
    shorter = founded().reissue().reissue()
    refused("history", shorter, known)
    edited = founded().admit("eel", by=["ant", "bee"]).reissue()
    refused("history", edited, known)


def test_nothing_is_slipped_in_behind_a_nodes_back() -> None:
    """History: a change dated before the roster that the node has, which did not hold it, is found."""
    forge = founded().reissue().reissue()
    known = known_to(forge)
    version = known.roster.version
    refused("history", with_change(forge.admit("dog", by=["ant", "bee"]), version=version - 1), known)


@pytest.mark.parametrize("version", [4, 1, 900])
def test_changes_are_in_order_and_not_from_the_future(version: int) -> None:
    """Order: a change's version is above the one before it and not above the roster's."""
    forge = founded()
    refused("order", with_change(forge.admit("dog", by=["ant", "bee"]), version=version), None)


def test_a_changed_key_waits_for_a_person_here() -> None:
    """The old pin stays, the new key is not used, the rest of the roster is; after accepting it is."""
    forge = founded()
    known = known_to(forge)
    view = offer(forge.change_key("bee", "bee two", by=["ant", "cat"]), known)
    assert view.trust("bee") is Trust.KEY_CHANGED
    assert view.pinned["bee"] == public_of("bee")
    assert list(view.trusted()) == ["ant", "cat"]
    accepted = Known(known.signed, known.roster, known.first_changes, frozenset({("bee", public_of("bee two"))}))
    assert offer(forge, accepted).trust("bee") is Trust.MEMBER


def test_accepting_one_key_does_not_accept_the_next() -> None:
    """A person compared one fingerprint; another key of the same member waits again."""
    forge = founded()
    known = known_to(forge)
    forge.change_key("bee", "bee two", by=["ant", "cat"]).change_key("bee", "bee three", by=["ant", "cat"])
    accepted = Known(known.signed, known.roster, known.first_changes, frozenset({("bee", public_of("bee two"))}))
    view = offer(forge, accepted)
    assert view.trust("bee") is Trust.KEY_CHANGED
    assert view.pinned["bee"] == public_of("bee two")


@pytest.mark.parametrize("by", [[], ["ant"], ["bee", "ant"]], ids=["none", "one", "itself"])
def test_a_changed_key_without_approvals_is_refused(by: list[str]) -> None:
    """Taking over a member: the coordinator cannot even put the key before a person."""
    forge = founded()
    known = known_to(forge)
    refused("approvals", forge.change_key("bee", "bee two", by=by), known)


def test_a_key_does_not_change_silently() -> None:
    """Taking over a member: a change that names another previous key, or goes back to a lost one."""
    forge = founded()
    known = known_to(forge)
    forge.change_key("bee", "bee two", by=["ant", "cat"])
    refused("keys", with_change(forge, previous_identity_key=public_of("other")), known)
    again = founded().change_key("bee", "bee two", by=["ant", "cat"]).change_key("bee", "bee", by=["ant", "cat"])
    refused("keys", again, known)


def test_a_changed_key_approves_nobody_here_until_accepted() -> None:
    """A taken-over member and the coordinator: a member that depends on its approval waits, others do not."""
    forge = founded()
    known = known_to(forge)
    forge.change_key("bee", "bee two", by=["ant", "cat"])
    view = offer(forge.admit("dog", by=["bee", "cat"]).admit("eel", by=["ant", "cat"]), known)
    assert view.trust("dog") is Trust.PENDING
    assert view.trust("eel") is Trust.MEMBER
    assert "dog" not in view.pinned
    accepted = Known(known.signed, known.roster, known.first_changes, frozenset({("bee", public_of("bee two"))}))
    assert offer(forge, accepted).trust("dog") is Trust.MEMBER


def test_a_waiting_member_approves_nobody_here() -> None:
    """Trust is not passed on by members that this node does not trust itself."""
    forge = founded()
    known = known_to(forge)
    forge.change_key("bee", "bee two", by=["ant", "cat"]).admit("dog", by=["bee", "cat"])
    assert offer(forge.admit("eel", by=["dog", "cat"]), known).trust("eel") is Trust.PENDING


def test_a_node_that_missed_rosters_judges_as_if_it_had_seen_all() -> None:
    """Members approved by others that joined meanwhile and left again are believed."""
    forge = founded()
    known = known_to(forge)
    forge.admit("dog", by=["bee", "cat"]).admit("eel", by=["dog", "bee"]).remove("dog", "bee")
    forge.admit("fox", by=["eel", "cat"])
    assert list(offer(forge, known).trusted()) == ["ant", "cat", "eel", "fox"]


def test_another_key_for_this_node_itself_is_refused() -> None:
    """Impersonation of the node that looks: with approvals or without, at first sight or later."""
    forge = founded()
    known = known_to(forge)
    forge.change_key("ant", "ant two", by=["bee", "cat"])
    refused("own entry", forge, known)
    refused("own entry", forge, None)


def test_a_roster_without_this_node_is_refused_at_first_sight() -> None:
    """A joining node is in the roster that it gets, or something is wrong."""
    refused("own entry", Forge().found("bee"), None)


def test_a_node_learns_that_it_was_removed() -> None:
    """That is believed, so that it stops."""
    forge = founded()
    known = known_to(forge)
    view = offer(forge.remove("ant"), known)
    assert view.removed
    assert "ant" not in view.trusted()


def test_rollback_is_refused() -> None:
    """An older roster, signed as it was, would bring a removed member back."""
    older = founded()
    newer = founded().remove("bee")
    refused("rollback", older, known_to(newer))


def test_an_earlier_generation_of_holders_is_a_rollback() -> None:
    """A newer roster does not lead back to shares that a key ceremony has replaced."""
    forge = founded()
    forge.holder_generation = 3
    known = known_to(forge)
    assert offer(forge.reissue(), known).roster.holder_generation == 3
    forge.holder_generation = 2
    refused("rollback", forge.reissue(), known)


def test_the_same_roster_again_is_fine_and_another_of_its_version_is_a_fork() -> None:
    """Equivocation: two rosters of one version are an alarm."""
    forge = founded()
    known = known_to(forge)
    offer(forge, known)
    signed = forge.signed(issued_at=NOW + timedelta(seconds=1))
    with pytest.raises(RosterRuleError) as error:
        accept_roster(forge.anchor("ant"), known, signed, NOW)
    assert error.value.rule == "fork"


def test_a_reissued_roster_is_believed() -> None:
    """A new version without a change only moves the expiry."""
    forge = founded()
    known = known_to(forge)
    assert offer(forge.reissue(), known).roster.version == known.roster.version + 1


def test_an_expired_roster_is_refused() -> None:
    """A coordinator, or somebody in its place, cannot hold a node at an old roster for ever."""
    forge = founded()
    with pytest.raises(RosterRuleError) as error:
        accept_roster(forge.anchor("ant"), None, forge.signed(), NOW + timedelta(hours=24))
    assert error.value.rule == "expiry"


@pytest.mark.parametrize(
    "terms",
    [
        {"founding_members": 9},
        {"approvals_required": 1},
        {"federation": "other"},
        {"coordinator_key": public_of("other")},
        {"ca_fingerprint": bytes([1] * 32)},
    ],
    ids=lambda terms: next(iter(terms)),
)
def test_the_terms_do_not_change(terms: dict[str, object]) -> None:
    """Fewer approvals, more founders, another CA or coordinator: refused, even if signed."""
    forge = founded()
    known = known_to(forge)
    changed: Terms = forge.terms.model_copy(update=terms)
    roster = forge.reissue().roster().model_copy(update={"terms": changed})
    with pytest.raises(RosterRuleError) as error:
        accept_roster(forge.anchor("ant"), known, sign_roster(roster, key_of("coordinator key")), NOW)
    assert error.value.rule == "terms"


@pytest.mark.parametrize("terms", [{"coordinator_key": public_of("other")}, {"ca_fingerprint": bytes([1] * 32)}])
def test_the_first_roster_is_of_this_very_coordinator(terms: dict[str, object]) -> None:
    """At first sight too: signed with the right key, but naming another key or CA for the federation."""
    forge = founded()
    roster = forge.roster().model_copy(update={"terms": forge.terms.model_copy(update=terms)})
    with pytest.raises(RosterRuleError) as error:
        accept_roster(forge.anchor("ant"), None, sign_roster(roster, key_of("coordinator key")), NOW)
    assert error.value.rule == "terms"


def test_only_the_pinned_coordinator_key_signs_rosters() -> None:
    """Another key, another kind, changed bytes: nothing is read of it."""
    forge = founded()
    known = known_to(forge)
    sound = forge.reissue().signed()
    forged = [
        sign_roster(forge.roster(), key_of("other")),
        Signed("contract", sound.payload, sound.signature, sound.signer),
        sign_document("contract", sound.payload, key_of("coordinator key")),
        Signed("roster", sound.payload.replace(b"bee", b"fly"), sound.signature, sound.signer),
    ]
    for signed in forged:
        with pytest.raises(RosterRuleError) as error:
            accept_roster(forge.anchor("ant"), known, signed, NOW)
        assert error.value.rule == "signature"


@pytest.mark.parametrize(
    "edit",
    [
        lambda payload: payload.replace(b'"format":1', b'"format":2'),
        lambda payload: payload.replace(b'"founded"', b'"crowned"'),
        lambda payload: payload[:-1] + b',"zeal":1}',
        lambda payload: payload + b"\n",
        lambda _: b"{}",
    ],
)
def test_signed_bytes_that_are_no_roster_are_refused(edit: Callable[[bytes], bytes]) -> None:
    """Unknown formats, changes and fields are not guessed at."""
    forge = founded()
    signed = sign_document("roster", edit(forge.roster().payload()), key_of("coordinator key"))
    with pytest.raises(CorruptError):
        accept_roster(forge.anchor("ant"), None, signed, NOW)


def test_a_roster_of_a_hundred_members_is_small_and_fast() -> None:
    """The whole history of 100 members with their approvals is far below a message's limit."""
    forge = founded()
    for index in range(97):
        forge.admit(f"member-{index}", by=["ant", "bee"])
    view = offer(forge, None)
    assert len(view.trusted()) == 100
    assert len(view.roster.payload()) < 150_000
    assert isinstance(view.roster, Roster)
    assert isinstance(view.roster.changes[0], Founded)
