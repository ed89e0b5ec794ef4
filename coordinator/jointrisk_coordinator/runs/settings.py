"""The settings of one training run."""

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field

from jointrisk.federation.policy import MemberName
from jointrisk.settings import Duration, Settings
from jointrisk_coordinator.runs.quorum import Rules


class RunSettings(Settings):
    """What a run is asked to do. Every field has a default, so that an empty file starts a sensible run.

    Attributes:
        task: what is learnt: "default_model", or "probe", which needs no data and rehearses the link.
        task_settings: the task's own settings, see the task.
        strategy: "fedavg", "fedprox" or "fedadam".
        strategy_settings: the strategy's own settings, see :mod:`jointrisk.learning.strategies`.
        rounds: how many rounds.
        run_seed: what all randomness of the run derives from.
        evaluate: whether members evaluate the new model after each round.
        members: who is asked; empty for every member of the roster.
        minimum_members: the fewest members whose replies may make up one aggregate.
        quorum: how many of the participants must reply in a round; 0 for two thirds of them, rounded up. Never below
            ``minimum_members``.
        offer_deadline: how long members have to accept, which includes loading and checking their data.
        round_deadline: how long members have for each of training and evaluation in a round.
        rejoin_grace: how long a member without a connection is waited for when there are enough without it.
        on_missed_quorum: "retry" begins the round afresh, at most ``retries`` times; "fail" ends the run.
        retries: how often one round is begun afresh.
        retry_pause: how long to wait before that.
    """

    task: str = "default_model"
    task_settings: dict[str, Any] = Field(default_factory=dict)
    strategy: str = "fedavg"
    strategy_settings: dict[str, Any] = Field(default_factory=dict)
    rounds: int = Field(default=10, ge=1, le=100_000)
    run_seed: int = Field(default=1, ge=0, lt=1 << 63)
    evaluate: bool = True
    members: tuple[MemberName, ...] = ()
    minimum_members: int = Field(default=2, ge=1, le=1000)
    quorum: int = Field(default=0, ge=0, le=1000)
    offer_deadline: Duration = timedelta(minutes=10)
    round_deadline: Duration = timedelta(minutes=10)
    rejoin_grace: Duration = timedelta(seconds=30)
    on_missed_quorum: Literal["retry", "fail"] = "retry"
    retries: int = Field(default=3, ge=0, le=1000)
    retry_pause: Duration = timedelta(seconds=2)

    def offer_rules(self) -> Rules:
        """Return how long members are waited for before the first round."""
        return Rules(self.minimum_members, self.offer_deadline.total_seconds(), self.rejoin_grace.total_seconds())

    def round_rules(self, participants: int) -> Rules:
        """Return how long participants are waited for in a round, ``participants`` being how many there are."""
        wanted = self.quorum or -(-2 * participants // 3)
        quorum = max(wanted, self.minimum_members)
        return Rules(quorum, self.round_deadline.total_seconds(), self.rejoin_grace.total_seconds())
