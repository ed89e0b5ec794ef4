"""A node's run policy: which training runs it takes part in, decided by rules that its operator wrote down.

Pure: an offer and a policy in, nothing or a refusal that names its rule out. The refusal travels to the coordinator.
"""

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator

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
    """What a node's operator allows."""

    tasks: tuple[str, ...] = Field(
        ("default_model", "probe"), description="Tasks that this node takes part in without asking a person each time."
    )
    minimum_parties: int = Field(
        3, ge=1, le=100, description="The fewest members, this node included, whose replies may make up one aggregate."
    )
    colluders: int = Field(
        1,
        ge=0,
        le=98,
        description="So many other members may be one with the coordinator and still learn nothing but sums of this "
        "node's part; a run that provides for fewer is refused.",
    )
    plain_aggregation: bool = Field(
        default=False,
        description="Whether this node takes part in runs in which the coordinator sees its part, not only sums.",
    )
    statement_cohorts: int = Field(
        1,
        ge=1,
        le=1000,
        description="For how many different sets of members this node answers the same question about the same model "
        "and the same rows. From two sums that differ in one member follows that member's part.",
    )
    code_version: str | tuple[str, ...] = Field(
        SAME,
        description='Training code at the coordinator: "same" as installed here, "any", or a list of versions.',
    )


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
        aggregation: "secure": the coordinator asks for nothing but secure sums; "plain": it sees every reply.
        colluders: how many members secure sums provide for; None where that follows from how many take part.
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
    aggregation: Literal["secure", "plain"] = "secure"
    colluders: int | None = Field(None, ge=0)

    @field_validator("members")
    @classmethod
    def _sorted_and_distinct(cls, members: tuple[str, ...]) -> tuple[str, ...]:
        if list(members) != sorted(set(members)):
            raise ValueError("expected names in order, each once")
        return members

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
    _check_aggregation(policy, offer)
    _check_code(policy, offer, code_version)


def _check_task(policy: RunPolicy, offer: RunOffer) -> None:
    if offer.task not in policy.tasks:
        allowed = ", ".join(policy.tasks) or "none"
        raise RefusedError(
            f'policy rule "tasks": allowed are {allowed}; offered is "{offer.task}"',
            remedy='Add the task to "tasks" in the node\'s run policy.',
        )


def _check_parties(policy: RunPolicy, offer: RunOffer, known_members: Collection[str]) -> None:
    # At worst every stranger is among those whose replies make up an aggregate: they hide nobody.
    strangers = sorted(set(offer.members) - set(known_members))
    counted = offer.minimum_members - len(strangers)
    if counted >= policy.minimum_parties:
        return
    unknown = f", of whom this node's roster does not know {', '.join(strangers)}" if strangers else ""
    raise RefusedError(
        f'policy rule "minimum_parties": at least {policy.minimum_parties} members in each aggregate; '
        f"offered are {offer.minimum_members}{unknown}",
        remedy='Start the run with a larger "minimum_members", among approved members.',
    )


def _check_aggregation(policy: RunPolicy, offer: RunOffer) -> None:
    if offer.aggregation == "plain" and not policy.plain_aggregation:
        raise RefusedError(
            'policy rule "plain_aggregation": allowed are secure sums; offered is that the coordinator sees every part',
            remedy='Start the run with aggregation = "secure", or set plain_aggregation in the node\'s run policy.',
        )
    if offer.aggregation == "secure" and offer.colluders is not None and offer.colluders < policy.colluders:
        raise RefusedError(
            f'policy rule "colluders": secure sums have to provide for {policy.colluders}; offered are '
            f"{offer.colluders}",
            remedy='Start the run with a larger "colluders".',
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
