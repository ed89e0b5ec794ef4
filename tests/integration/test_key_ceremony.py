"""Key ceremonies among real processes: a key made, refreshed, passed on, replaced; and nothing of it without people."""

from collections.abc import Iterator
from itertools import combinations

import pytest

from ceremonies_held import QUICK, CeremonyFederation, key_of, parsed, posted
from command_in_process import Ended
from jointrisk.oprf import group
from key_course import MEMBERS, Course, live
from local_federation import wait_until
from needles import Needle, found_in, secret_needles

pytestmark = pytest.mark.federation


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeremonyFederation]:
    """Four members, no key."""
    root = tmp_path_factory.mktemp("ceremony")
    with CeremonyFederation(root / "federation", founding_members=len(MEMBERS)) as made:
        made.populate(MEMBERS, QUICK)
        yield made


@pytest.fixture(scope="module")
def without_key(federation: CeremonyFederation) -> dict[str, Ended]:
    """How commands end that make no sense before there is a key, or never."""
    wishes = {
        "refresh": ("refresh",),
        "rotate": ("rotate",),
        "reshare": ("reshare", "--threshold", 2, "--holders", "ash,birch"),
        "abort": ("abort",),
        "status": ("status",),
        "a stranger": ("start", "--threshold", 2, "--holders", "ash,birch,nobody"),
        "too high a threshold": ("start", "--threshold", 4, "--holders", "ash,birch,cedar"),
        "too low a threshold": ("start", "--threshold", 1, "--holders", "ash,birch,cedar"),
        "a holder twice": ("start", "--threshold", 2, "--holders", "ash,birch,ash"),
        "one holder": ("start", "--threshold", 2, "--holders", "ash"),
    }
    ended = {name: federation.ask(*words) for name, words in wishes.items()}
    ended["at a node"] = federation.at("ash", "ceremony", "status")
    ended["approve nothing"] = federation.at("ash", "approve", "00000000", "--terms", "AAAA")
    return ended


@pytest.fixture(scope="module")
def course(federation: CeremonyFederation, without_key: dict[str, Ended]) -> Course:
    """The life of a key."""
    return live(federation)


# -- what a key's life comes to ----------------------------------------------------------------------------------------


def test_refresh_and_resharing_keep_the_key_and_rotation_makes_another(course: Course) -> None:
    """Generations count on; the epoch and the group key are the same until a rotation."""
    made = [step.done for step in course.steps]
    assert [one["kind"] for one in made] == ["generate", "refresh", "reshare", "generate"]
    assert [(one["epoch"], one["generation"]) for one in made] == [(1, 1), (1, 2), (1, 3), (2, 4)]
    first, second, third, fourth = (step.key for step in course.steps)
    assert first == second == third != fourth
    group.element(bytes.fromhex(first))
    group.element(bytes.fromhex(fourth))


def test_every_member_verifies_and_lists_the_same_generations(course: Course) -> None:
    """Also who took no part in a ceremony: number, epoch, threshold, holders and group key."""
    for number, step in enumerate(course.steps, 1):
        known = {name: [{**one, "ours": ""} for one in listed] for name, listed in step.listed.items()}
        assert all(known[name] == known["dill"] for name in MEMBERS)
        assert len(known["dill"]) == number
        newest = known["dill"][-1]
        assert {field: newest[field] for field in newest if field != "ours"} == {
            field: step.done[field] for field in ("generation", "epoch", "threshold", "holders", "group_key")
        }


def test_each_node_has_the_newest_share_of_an_epoch_and_no_older_one(course: Course) -> None:
    """The leaver's is deleted as well; a rotation leaves the epoch before as it is."""
    has, had, never = "holds a share", "its share is deleted", "holds none"
    assert {name: [one["ours"] for one in listed] for name, listed in course.steps[-1].listed.items()} == {
        "ash": [had, had, never, has],
        "birch": [had, had, has, has],
        "cedar": [had, had, has, never],
        "dill": [never, never, has, has],
    }


def test_any_threshold_of_shares_makes_the_group_key(course: Course) -> None:
    """Every choice of so many holders, in every generation; one share fewer makes another key."""
    for step in course.steps:
        for chosen in combinations(sorted(step.shares), step.threshold):
            assert key_of({index: step.shares[index] for index in chosen}).hex() == step.key
        for chosen in combinations(sorted(step.shares), step.threshold - 1):
            assert key_of({index: step.shares[index] for index in chosen}).hex() != step.key


def test_shares_of_two_generations_make_no_key(course: Course) -> None:
    """Whoever stole one share before a refresh or a resharing and one afterwards has nothing."""
    first, second, third, _ = course.steps
    tried = 0
    for old, new in ((first, second), (second, third), (first, third)):
        for before, after in ((a, b) for a in old.shares for b in new.shares if a != b):
            assert key_of({before: old.shares[before], after: new.shares[after]}).hex() != first.key
            tried += 1
    assert tried == 3 * 6


def test_a_holder_that_leaves_deals_and_gets_nothing(course: Course) -> None:
    """It posts no keys to seal shares to and confirms nothing."""
    assert posted(course.steps[2].done) == {
        "birch": ["keys", "deal", "echo", "confirm"],
        "cedar": ["keys", "echo", "confirm"],
        "dill": ["keys", "echo", "confirm"],
        "ash": ["deal", "echo"],
    }


# -- what is left behind -----------------------------------------------------------------------------------------------


def test_what_is_deleted_is_in_no_file(course: Course) -> None:
    """Replaced shares and the states of parties, sealed as they were: database, write-ahead log, everything."""
    shares = {(name, what) for name, what, _ in course.deleted if what.startswith("key-share/")}
    assert shares == {(name, f"key-share/{number}") for name in ("ash", "birch", "cedar") for number in (1, 2)}
    assert len({(name, what) for name, what, _ in course.deleted if what.startswith("ceremony/")}) >= len(MEMBERS)
    needles = [Needle(f"{what} of {name}", sealed[13:]) for name, what, sealed in course.deleted]
    assert found_in(course.places, needles) == []


def test_no_secret_of_a_ceremony_is_anywhere_in_the_clear(course: Course) -> None:
    """Shares, polynomials and recipient keys: in no file and no log of nodes and coordinator, in no spelling."""
    shares = {share for step in course.steps for share in step.shares.values()}
    assert shares <= course.secrets
    assert len(course.secrets) > 2 * len(shares), "the parties' secrets were seen, too"
    needles = [needle for secret in course.secrets for needle in secret_needles("a secret", secret)]
    assert found_in(course.places, needles) == []


def test_every_log_tells_the_course_and_verifies(federation: CeremonyFederation, course: Course) -> None:
    """Who approved, cedar as a present holder also what it took no part in; what was made; which shares are deleted."""
    federation.require_sound_audits()
    sessions = [step.done["ceremony_id"] for step in course.steps]
    ended = {one["session"]: one["state"] for one in federation.events(federation.coordinator, "ceremony.ended")}
    assert [ended[session] for session in sessions] == ["done"] * len(sessions)
    for name, parts in {"ash": (0, 1, 2, 3), "cedar": (0, 1, 2, 3), "dill": (2, 3)}.items():
        node = federation.nodes[name]
        approved = [one["session"] for one in federation.events(node, "ceremony.approved")]
        assert [session for session in approved if session in sessions] == [sessions[part] for part in parts]
    assert [one["generation"] for one in federation.events(federation.nodes["ash"], "key_share.deleted")][:2] == [1, 2]


# -- people ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def keyed(federation: CeremonyFederation, course: Course) -> Iterator[CeremonyFederation]:
    """The federation with a key; a test may leave another key, but no ceremony that goes on."""
    yield federation
    federation.start_again()
    assert federation.status()["state"] in {"done", "aborted"}


def test_what_makes_no_sense_is_refused_in_words(without_key: dict[str, Ended]) -> None:
    """Before there is a key: exit code and reason of each."""
    for name in ("refresh", "rotate", "reshare"):
        without_key[name].require_refusal(4, "there is no key yet")
    without_key["abort"].require_refusal(3, "no ceremony goes on")
    without_key["status"].require_refusal(3, "there has been no key ceremony")
    without_key["at a node"].require_refusal(3, "there has been no key ceremony")
    without_key["approve nothing"].require_refusal(3, "no.* ceremony")
    without_key["a stranger"].require_refusal(3, "nobody is no member")
    without_key["too high a threshold"].require_refusal(2, "threshold .* got 4")
    without_key["too low a threshold"].require_refusal(2, "--threshold")
    without_key["a holder twice"].require_refusal(2, "twice")
    without_key["one holder"].require_refusal(2, "holders, got 1")


def test_with_a_key_there_is_no_second_start_and_no_unknown_dealer(keyed: CeremonyFederation) -> None:
    """Nor are more or fewer dealers taken than the threshold says."""
    keyed.given(2, "ash,birch,cedar")
    keyed.ask("start", "--threshold", 2, "--holders", "ash,birch").require_refusal(4, "there is a key already")
    keyed.ask("refresh", "--dealers", "ash,nobody").require_refusal(3, "no holder today: nobody")
    keyed.ask("refresh", "--dealers", "ash,dill").require_refusal(3, "no holder today: dill")
    keyed.ask("refresh", "--dealers", "ash").require_refusal(4, "expected 2 of today's holders to deal, got 1")
    keyed.ask("reshare", "--threshold", 2, "--holders", "ash,nobody").require_refusal(3, "nobody is no member")
    assert keyed.status()["state"] in {"done", "aborted"}, "nothing was proposed"


def test_nothing_is_posted_before_all_have_approved(keyed: CeremonyFederation) -> None:
    """Two of three have; the third's node looks at the board several times, and nobody says a word."""
    keyed.given(2, "ash,birch,cedar")
    ceremony = keyed.propose("rotate")
    assert ceremony["waiting_for"] == ["ash", "birch", "cedar"]
    keyed.approve_by(("ash", "birch"), ceremony)
    with pytest.raises(AssertionError, match="messages"):
        keyed.wait_for_messages(ceremony, 1, timeout=2.0)
    now = keyed.status()
    assert (now["state"], now["waiting_for"], now["approved_by"]) == ("approving", ["cedar"], ["ash", "birch"])
    assert parsed(keyed.at("cedar", "ceremony", "status", "--json"))["ours"] == "not approved"
    keyed.approve_by(("cedar",), ceremony)
    assert keyed.ended(ceremony)["state"] == "done"


def test_a_person_must_have_read_these_very_terms(keyed: CeremonyFederation) -> None:
    """Without a terminal a fingerprint has to be given; another ceremony's is refused; neither counts as approval."""
    keyed.given(2, "ash,birch,cedar")
    earlier, ceremony = keyed.hold("refresh"), keyed.propose("rotate")
    keyed.approve("ash", ceremony, earlier["terms_fingerprint"]).require_refusal(2, "fingerprint of this ceremony")
    keyed.at("ash", "approve", ceremony["ceremony_id"]).require_refusal(2, "no terminal")
    keyed.at("ash", "approve", earlier["ceremony_id"], "--terms", "AAAA").require_refusal(3, "no such ceremony")
    keyed.approve("dill", ceremony).require_refusal(5, "neither a party .* nor a holder")
    assert keyed.status()["approved_by"] == []
    assert parsed(keyed.ask("abort", "--json"))["state"] == "aborted"


def test_one_ceremony_at_a_time_until_it_is_given_up(keyed: CeremonyFederation) -> None:
    """A second one is refused; given up before it began, the first accuses nobody, and another can be held."""
    keyed.given(2, "ash,birch,cedar")
    first = keyed.propose("refresh")
    keyed.approve_by(("ash",), first)
    for words in (("rotate",), ("refresh",)):
        keyed.ask(*words).require_refusal(4, "a ceremony goes on already")
    over = parsed(keyed.ask("abort", "--json"))
    assert (over["ceremony_id"], over["state"]) == (first["ceremony_id"], "aborted")
    assert over["detail"] == "given up by the operator before it began"
    keyed.ask("abort").require_refusal(3, "no ceremony goes on")
    keyed.approve("birch", first).require_refusal(4, "over")
    done = keyed.hold("refresh")
    assert (done["state"], done["generation"]) == ("done", first["generation"] + 1)


def test_a_new_key_needs_as_many_of_the_present_holders_as_the_threshold(keyed: CeremonyFederation) -> None:
    """Though none but two of them shall hold it: no coordinator gives the key to others with their consent alone."""
    keyed.given(3, "ash,birch,cedar")
    ceremony = keyed.propose("rotate", "--threshold", 2, "--holders", "birch,dill")
    assert ceremony["waiting_for"] == ["ash", "birch", "cedar", "dill"]
    keyed.approve_by(("birch", "dill", "ash"), ceremony)
    assert keyed.status()["waiting_for"] == ["cedar"]
    with pytest.raises(AssertionError, match="messages"):
        keyed.wait_for_messages(ceremony, 1, timeout=1.5)
    keyed.approve_by(("cedar",), ceremony)
    assert posted(keyed.ended(ceremony)) == {name: ["keys", "deal", "echo", "confirm"] for name in ("birch", "dill")}


def test_a_ceremony_that_cannot_end_is_given_up(keyed: CeremonyFederation) -> None:
    """A node is down in the middle: nobody is accused, who is awaited is told, and another ceremony can be held."""
    keyed.given(2, "ash,birch,cedar")
    ceremony = keyed.propose("rotate")
    keyed.approve_by(("cedar",), ceremony)
    keyed.nodes["cedar"].kill()
    keyed.approve_by(("ash", "birch"), ceremony)
    keyed.wait_for_messages(ceremony, 2)
    assert (keyed.status()["state"], keyed.status()["missing"]) == ("running", ["cedar"])
    keyed.ask("abort")
    wait_until(lambda: keyed.on_disk(ceremony).count("abort") == 2, "both to refuse")
    over = keyed.status()
    assert over["state"] == "aborted"
    assert over["detail"] == "given up (order) by ash, birch, waited for cedar; nobody is accused"
    keyed.start_again()
    assert keyed.hold("refresh")["state"] == "done"
