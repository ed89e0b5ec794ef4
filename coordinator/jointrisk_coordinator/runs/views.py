"""Runs as the operator service tells them: dataclasses to protobuf."""

import tomli_w

from jointrisk.clock import rfc3339
from jointrisk.learning.guarantee import Guarantee
from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb
from jointrisk_coordinator.runs.ledger import RoundView, RunView
from jointrisk_coordinator.runs.settings import RunSettings


def to_message(run: RunView, *, history: bool = True) -> pb.Run:
    """Return a run as protobuf; without its rounds where a list of runs is shown."""
    return pb.Run(
        run_id=run.run_id,
        state=run.state,
        detail=run.detail,
        task=run.settings.task,
        strategy=run.settings.strategy,
        rounds_done=run.rounds_done,
        rounds=run.settings.rounds,
        started_at=rfc3339(run.started_at),
        ended_at=rfc3339(run.ended_at),
        contract_version=run.contract_version,
        participants=[
            pb.Participant(member_id=one.member_id, state=one.state, reason=one.reason) for one in run.participants
        ],
        history=[_round(one) for one in run.history] if history else [],
        settings_toml=_in_force(run.settings),
        arrays_sha256=run.arrays_sha256,
    )


def _round(one: RoundView) -> pb.Round:
    return pb.Round(
        round=one.number,
        seconds=one.seconds,
        members=one.members,
        missing=one.missing,
        metrics=one.metrics,
        attempts=one.attempts,
        arrays_sha256=one.arrays_sha256,
        guarantee=_in_words(Guarantee.from_json(one.guarantee), one),
        guarantee_figures=pb.Guarantee(**one.guarantee),
        stage=one.stage,
    )


def _in_words(kept: Guarantee, one: RoundView) -> str:
    """Say what protected the members' replies in training."""
    if kept.mode != "secure":
        return "plain: the coordinator saw every member's reply"
    said = (
        f"secure: the coordinator saw the sum of {len(one.members)} of {kept.members} members' parts, no single one, "
        f"unless more than {kept.colluders} of them help it; {kept.threshold} signed who is in it, fewer than "
        f"{max(kept.minimum, kept.threshold)} would have given nothing"
    )
    gone = [f"{member} dropped out at {step}" for member, step in sorted(kept.dropped.items())]
    gone += [f"{member} left after its part was in" for member in kept.silent]
    return "; ".join([said, *gone])


def _in_force(settings: RunSettings) -> str:
    """Return all settings, the defaults too, as TOML."""
    return tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True))
