"""Random lives of honest federations, and random damage to their rosters."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from jointrisk.errors import JointriskError
from jointrisk.federation.roster import Change, Roster
from jointrisk.federation.roster_view import Known, Trust, View, accept_roster
from jointrisk.federation.signing import Signed
from roster_forge import NOW, Forge, public_of

steps = st.lists(st.tuples(st.sampled_from(["admit", "key", "remove", "reissue"]), st.integers(0, 99)), max_size=10)
WATCHER = "ant"


class Life:
    """An honest coordinator that does one step after the other; the watching node stays a member."""

    def __init__(self) -> None:
        self.forge = Forge(approvals_required=2).found(WATCHER, "bee", "cat")
        self.current = [WATCHER, "bee", "cat"]
        self._made = 0

    def step(self, kind: str, choice: int) -> None:
        """Do one step; what is not possible now becomes a new issue of the same roster."""
        others = [name for name in self.current if name != WATCHER]
        self._made += 1
        if kind == "admit":
            name = f"member-{self._made}"
            self.forge.admit(name, by=self._approvers(name, choice))
            self.current.append(name)
        elif kind == "key" and others:
            name = others[choice % len(others)]
            self.forge.change_key(name, f"{name} key {self._made}", by=self._approvers(name, choice))
        elif kind == "remove" and others:
            name = others[choice % len(others)]
            self.forge.remove(name)
            self.current.remove(name)
        else:
            self.forge.reissue()

    def _approvers(self, name: str, choice: int) -> list[str]:
        others = [other for other in self.current if other != name]
        start = choice % len(others)
        return (others[start:] + others[:start])[:2]


class Watcher:
    """A node that believes rosters one after the other."""

    def __init__(self, forge: Forge, *, accepts: frozenset[tuple[str, bytes]] = frozenset()) -> None:
        self._anchor = forge.anchor(WATCHER)
        self._accepts = accepts
        self._known: Known | None = None
        self.view: View = self.see(forge)

    def see(self, forge: Forge) -> View:
        """Believe the roster as it stands."""
        return self.see_signed(forge.signed())

    def see_signed(self, signed: Signed) -> View:
        """Believe a signed roster."""
        self.view = accept_roster(self._anchor, self._known, signed, NOW)
        first = self._known.first_changes if self._known else len(self.view.roster.changes)
        self._known = Known(signed, self.view.roster, first, self._accepts)
        return self.view


@settings(max_examples=60, deadline=None)
@given(steps, st.sets(st.integers(0, 9)))
def test_missing_rosters_makes_no_difference(life: list[tuple[str, int]], seen: set[int]) -> None:
    """A node that saw some rosters trusts exactly what a node trusts that saw all of them."""
    one = Life()
    always, sometimes = Watcher(one.forge), Watcher(one.forge)
    for index, (kind, choice) in enumerate(life):
        one.step(kind, choice)
        always.see(one.forge)
        if index in seen:
            sometimes.see(one.forge)
    sometimes.see(one.forge)
    assert sometimes.view.pinned == always.view.pinned
    assert sometimes.view.trusted() == always.view.trusted()


@settings(max_examples=60, deadline=None)
@given(steps)
def test_who_accepts_every_changed_key_trusts_every_member(life: list[tuple[str, int]]) -> None:
    """An honest federation's members are all trusted at a node whose people have accepted what changed."""
    one = Life()
    for kind, choice in life:
        one.step(kind, choice)
    changed = frozenset((c.member_id, c.identity_key) for c in one.forge.changes if c.change == "key_changed")
    watcher = Watcher(Life().forge, accepts=changed)
    assert set(watcher.see(one.forge).trusted()) == set(one.current)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_no_key_is_trusted_that_nobody_accepted(life: list[tuple[str, int]]) -> None:
    """Without a person's consent every trusted key is one that its member joined with."""
    one = Life()
    watcher = Watcher(one.forge)
    for kind, choice in life:
        one.step(kind, choice)
    view = watcher.see(one.forge)
    for name, member in view.trusted().items():
        assert member.identity_key == public_of(name)
        assert view.trust(name) is Trust.MEMBER


DAMAGES: list[Callable[[list[Change], int], list[Change]]] = [
    lambda changes, at: changes[:at] + changes[at + 1 :],
    lambda changes, at: [*changes, changes[at]],
    lambda changes, at: [*changes[:at], changes[at].model_copy(update={"member_id": "mole"}), *changes[at + 1 :]],
    lambda changes, at: [changes[at], *changes[:at], *changes[at + 1 :]] if at else list(reversed(changes)),
    lambda changes, at: [*changes[:at], changes[at].model_copy(update={"version": 1}), *changes[at + 1 :]],
]


@settings(max_examples=100, deadline=None)
@given(steps, st.integers(0, 99), st.sampled_from(DAMAGES))
def test_damaged_histories_are_refused(
    life: list[tuple[str, int]], place: int, damage: Callable[[list[Change], int], list[Change]]
) -> None:
    """A coordinator that drops, repeats, renames, reorders or redates a change that a node has seen is found."""
    one = Life()
    for kind, choice in life:
        one.step(kind, choice)
    watcher = Watcher(one.forge)
    changes = damage(list(one.forge.changes), place % len(one.forge.changes))
    one.forge.reissue()
    one.forge.changes = changes
    try:
        watcher.see(one.forge)
    except JointriskError:
        return
    raise AssertionError([change.change for change in changes])


@settings(max_examples=40, deadline=None)
@given(steps)
def test_rosters_read_back(life: list[tuple[str, int]]) -> None:
    """Every roster has one byte form, and is what was signed."""
    one = Life()
    for kind, choice in life:
        one.step(kind, choice)
    roster = one.forge.roster()
    assert Roster.parse(roster.payload()) == roster
