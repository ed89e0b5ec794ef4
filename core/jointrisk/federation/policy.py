"""A node's run policy: which training runs it takes part in, decided by rules that its operator wrote down.

Pure: an offer and a policy in, nothing or a refusal that names its rule out. The refusal travels to the coordinator.
"""

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from jointrisk.errors import RefusedError
from jointrisk.federation.names import NAME_PATTERN
from jointrisk.settings import Settings

MemberName = Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$")]
RunId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]

SAME = "same"
"""Code version rule: exactly the code that is installed here."""
ANY = "any"
"""Code version rule: whatever the coordinator runs."""


class RunPolicy(Settings):
    """What a node's operator allows.

    Attributes:
        tasks: names of the tasks that this node takes part in.
        minimum_parties: the fewest members whose replies may make up one aggregate, this node included.
        code_version: "same" for exactly the training code installed here, "any", or a list of versions.
    """

    tasks: tuple[str, ...] = ("default_model", "probe")
    minimum_parties: int = Field(default=2, ge=1, le=100)
    code_version: str | tuple[str, ...] = SAME


class RunOffer(Settings):
    """What the coordinator asks a member to take part in. The content of a task of kind "offer", as JSON.

    Attributes:
        run_id: the run.
        task: name of the task, see :mod:`jointrisk.learning.tasks`.
        task_settings: the task's own settings.
        strategy: name of the strategy at the coordinator.
        rounds: how many rounds are planned.
        run_seed: what every party derives its randomness from, with round and member number.
        members: all members asked, sorted; the number of a member is its place in here, from 1.
        minimum_members: the fewest members whose replies make up one aggregate.
        contract_version: the feature contract; 0 for a task that needs none.
        code_version: the training code that the coordinator runs.
    """

    run_id: RunId
    task: str
    task_settings: dict[str, Any] = Field(default_factory=dict)
    strategy: str
    rounds: int = Field(ge=1)
    run_seed: int = Field(ge=0, lt=1 << 63)
    members: tuple[MemberName, ...]
    minimum_members: int = Field(ge=1)
    contract_version: int = Field(ge=0)
    code_version: str

    def number_of(self, member_id: str) -> int:
        """Return a member's number in this run, from 1.

        Raises:
            RefusedError: it is not among those asked.
        """
        if member_id not in self.members:
            raise RefusedError(f"the offer does not name {member_id}")
        return self.members.index(member_id) + 1


def decide(
    policy: RunPolicy, offer: RunOffer, *, member_id: str, known_members: Collection[str], code_version: str
) -> None:
    """Return when the policy lets this node take part.

    Args:
        policy: the operator's rules.
        offer: what is asked.
        member_id: who this node is.
        known_members: the members in this node's verified roster; strangers do not count towards any minimum.
        code_version: the training code installed here.

    Raises:
        RefusedError: a rule forbids it; the message names the rule, what it allows and what was offered.
    """
    offer.number_of(member_id)
    _check_task(policy, offer)
    _check_parties(policy, offer, known_members)
    _check_code(policy, offer, code_version)


def _check_task(policy: RunPolicy, offer: RunOffer) -> None:
    if offer.task not in policy.tasks:
        allowed = ", ".join(policy.tasks) or "none"
        raise RefusedError(
            f'policy rule "tasks": allowed are {allowed}; offered is "{offer.task}"',
            remedy='Add the task to "tasks" in the node\'s run policy.',
        )


def _check_parties(policy: RunPolicy, offer: RunOffer, known_members: Collection[str]) -> None:
    strangers = sorted(set(offer.members) - set(known_members))
    if strangers:
        raise RefusedError(
            f"the offer names members that this node's roster does not: {', '.join(strangers)}",
            remedy="Approve them (jointrisk node members list), or start the run without them.",
        )
    if offer.minimum_members < policy.minimum_parties:
        raise RefusedError(
            f'policy rule "minimum_parties": at least {policy.minimum_parties} members in each aggregate; '
            f"offered is {offer.minimum_members}",
            remedy='Start the run with a larger "minimum_members".',
        )


def _check_code(policy: RunPolicy, offer: RunOffer, code_version: str) -> None:
    rule = policy.code_version
    if rule == ANY:
        return
    allowed = (code_version,) if rule == SAME else ((rule,) if isinstance(rule, str) else rule)
    if offer.code_version not in allowed:
        raise RefusedError(
            f'policy rule "code_version": allowed is {", ".join(allowed)}; offered is {offer.code_version}',
            remedy="Install the same version of jointrisk on both sides.",
        )
