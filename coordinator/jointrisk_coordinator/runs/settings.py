"""The settings of one training run."""

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from jointrisk.federation.policy import MemberName
from jointrisk.learning.tasks.settings import usual_rounds
from jointrisk.settings import Duration, Settings
from jointrisk_coordinator.runs.quorum import Rules

FEWEST_IN_SECURE_SUMS = 3
"""Of two members each would know the other's part from the sum."""


class RunSettings(Settings):
    """What a run is asked to do. Every key has a default, so that an empty file starts a sensible run."""

    task: str = Field(
        "default_model",
        description='What is learnt: "default_model", or "probe", which needs no data.',
    )
    task_settings: dict[str, Any] = Field(default_factory=dict, description="The task's own settings, see below.")
    strategy: str = Field("fedavg", description='"fedavg", "fedprox" or "fedadam".')
    strategy_settings: dict[str, Any] = Field(default_factory=dict, description="The strategy's own, see below.")
    rounds: int = Field(16, ge=1, le=100_000, description="How many rounds, unless `patience` ends the run before.")
    patience: int = Field(
        10, ge=0, le=100_000, description="Rounds without a better one after which the run ends; 0: never."
    )
    run_seed: int = Field(1, ge=0, lt=1 << 63, description="What all randomness of the run derives from.")
    evaluate: bool = Field(True, description="Whether members evaluate the new model after each round.")
    members: tuple[MemberName, ...] = Field((), description="Who is asked; empty: every member of the roster.")
    minimum_members: int = Field(
        3, ge=1, le=1000, description="The fewest members whose replies may make up one aggregate."
    )
    aggregation: Literal["secure", "plain"] = Field(
        "secure",
        description='"secure": the coordinator sees sums of at least three members and nothing else; "plain": it sees '
        "every member's reply, where every member's policy allows that.",
    )
    colluders: int | None = Field(
        None,
        ge=0,
        le=98,
        description="How many members may be one with the coordinator without learning another one's part; not given: "
        "a third, or more where that costs no dropout (docs/protocol.md 6.1).",
    )
    quorum: int = Field(
        0,
        ge=0,
        le=1000,
        description="How many participants must reply in a round; 0: two thirds of them, rounded up. "
        "Never fewer than minimum_members.",
    )
    offer_deadline: Duration = Field(
        timedelta(minutes=10), description="How long members have to accept, which includes reading their data."
    )
    round_deadline: Duration = Field(
        timedelta(minutes=10), description="How long members have for training, and again for evaluation, in a round."
    )
    rejoin_grace: Duration = Field(
        timedelta(seconds=30),
        description="How long a member without a connection is waited for when there are enough without it.",
    )
    on_missed_quorum: Literal["retry", "fail"] = Field(
        "retry", description='"retry" begins the round afresh, at most `retries` times; "fail" ends the run.'
    )
    retries: int = Field(3, ge=0, le=1000, description="How often one round is begun afresh.")
    retry_pause: Duration = Field(timedelta(seconds=2), description="How long to wait before that.")

    @model_validator(mode="before")
    @classmethod
    def _with_usual_rounds(cls, said: Any) -> Any:
        """Fill in how many rounds such a run usually takes, where nobody says it."""
        if not isinstance(said, dict):
            return said
        return usual_rounds(said.get("task", "default_model"), said.get("task_settings")) | said

    @property
    def is_secure(self) -> bool:
        """Whether the coordinator sees sums only."""
        return self.aggregation == "secure"

    @property
    def fewest_members(self) -> int:
        """The fewest members that have to accept."""
        return max(self.minimum_members, FEWEST_IN_SECURE_SUMS if self.is_secure else 1)

    def offer_rules(self) -> Rules:
        """Return how long members are waited for before the first round."""
        grace = self.rejoin_grace.total_seconds()
        return Rules(self.fewest_members, self.offer_deadline.total_seconds(), grace, hear_all=True)

    def round_rules(self, participants: int) -> Rules:
        """Return how long participants are waited for in a round, ``participants`` being how many there are."""
        wanted = self.quorum or -(-2 * participants // 3)
        quorum = max(wanted, self.minimum_members)
        return Rules(quorum, self.round_deadline.total_seconds(), self.rejoin_grace.total_seconds())
