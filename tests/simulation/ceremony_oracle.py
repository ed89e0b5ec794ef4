"""What may never happen in a world of ceremonies, whatever goes wrong in it.

**A failure is**: an honest party stops with an error; two honest parties have different keys; one is committed while
another can never be; one that is honest is named guilty; one that lied provably is not, once all have heard of it;
nobody lied and nobody gave up, everything arrived, and it is not committed.

**No failure is**: an abort because somebody gave up or lied; a party that stays prepared because a liar's vote is
missing; an abort that a commit outweighs later, when a liar voted both ways.
"""

from ceremony_sample import reconstructed
from jointrisk.oprf import group
from jointrisk.oprf.ceremony import Party, Phase, Reason
from jointrisk.oprf.ceremony.messages import Slot
from jointrisk.oprf.ceremony.party_state import PartyState, Secrets
from simulation.ceremony_liars import Liar
from simulation.ceremony_lies import LIES, PROVABLE
from simulation.ceremony_world import Plan, World


def check(world: World) -> None:
    """Fail if the world went wrong in a way that it may not; see the top of this module."""
    plan, honest, liars = world.plan, world.honest, world.liars
    _check_agreement(world)
    for party in honest.values():
        assert party._ledger.guilty <= liars, f"an honest party is named guilty: {plan}"
        proven = party.outcome is None or party.outcome.reason is not Reason.EVIDENCE or party.outcome.guilty
        assert proven, f"it is aborted for a lie of nobody: {plan}"
    assert world.board.guilty <= liars, f"the board names an honest party guilty: {plan}"
    phases = {party.phase for party in honest.values()}
    if plan.settles and not liars and not world.gave_up:
        assert phases == {Phase.COMMITTED}, f"nobody lied, and it is not committed: {plan}"
        outcome = world.board.outcome
        assert outcome is not None
        assert outcome.confirmed == tuple(world.terms.indices), f"it is not confirmed: {plan}"
    for party in honest.values():
        _check_secrets(party, plan)
    if Phase.ABORTED in phases and not liars:
        assert world.gave_up, f"nobody gave up, and it is aborted: {plan}"


def check_end(world: World) -> None:
    """Fail if honest parties that have told each other everything do not agree on how it ended, and why."""
    plan, honest = world.plan, world.honest
    check(world)
    phases = {party.phase for party in honest.values()}
    assert len(phases) == 1, f"honest parties end differently: {plan}"
    if phases == {Phase.PREPARED}:
        voters = {
            message.sender for party in honest.values() for message in party.messages if message.slot is Slot.VOTE
        }
        assert not world.liars <= voters, f"everybody voted, and it has not ended: {plan}"
    assert phases != {Phase.GATHERING}, f"it has not ended: {plan}"
    outcomes = [world.board.outcome, *(party.outcome for party in honest.values())]
    ends = {outcome and (outcome.key, outcome.guilty) for outcome in outcomes}
    assert len(ends) == 1, f"honest parties judge differently: {plan}"
    for ledger in (world.board._ledger, *(party._ledger for party in honest.values())):
        assert proven_liars(world) <= ledger.guilty, f"a proven liar is not named: {plan}"


def _check_secrets(party: Party, plan: Plan) -> None:
    """What is not needed any more is not kept."""
    kept = PartyState.decode(party.state()).secrets
    if party.phase is Phase.ABORTED and not party.is_revivable:
        assert kept == Secrets(), f"an aborted party keeps secrets: {plan}"
    if party.phase is not Phase.GATHERING:
        assert (kept.recipient_keys, kept.dealing) == ((), None), f"a party that voted keeps its polynomial: {plan}"


def proven_liars(world: World) -> set[str]:
    """Return who has to be named in the end: a single liar that lied provably, if nothing stopped it halfway."""
    only_provable = all(PROVABLE.get(LIES[lie][0], {}).get(lie) for _, lie in world.plan.lies)
    stopped = world.gave_up or len(world.liars) != 1 or not world.plan.settles
    told = {name for name in world.liars if isinstance(party := world.parties[name], Liar) and party.has_lied}
    return told if only_provable and not stopped else set()


def _check_agreement(world: World) -> None:
    """One key, shares that make it, nobody left behind for ever."""
    committed = {name: party for name, party in world.honest.items() if party.phase is Phase.COMMITTED}
    assert set(world.committed) <= set(committed), f"one was committed, and is no more: {world.plan}"
    if not committed:
        return
    keys = {party.outcome.key for party in committed.values() if party.outcome} | set(world.committed.values())
    assert len(keys) == 1, f"two group keys: {world.plan}"
    key = keys.pop()
    assert key is not None
    assert world.old is None or key.public_key == world.old.key.public_key, f"the group key changed: {world.plan}"
    shares = {name: party.share for name, party in committed.items() if party.share}
    for name, share in shares.items():
        assert group.multiply_base(share) == dict(key.holders)[name], (
            f"a share does not fit its public key: {world.plan}"
        )
    if len(shares) >= key.threshold:
        some = dict(sorted(shares.items())[-key.threshold :])
        assert reconstructed(world.terms, some) == key.public_key, f"the shares do not make the key: {world.plan}"
    for name, party in world.honest.items():
        can_commit = name in committed or party.phase is Phase.PREPARED or party.is_revivable
        assert can_commit, f"one is committed, another can never be: {world.plan}"
