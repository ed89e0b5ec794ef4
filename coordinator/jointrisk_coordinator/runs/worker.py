"""The run worker: one process per run, with Flower and the arrays, without network and database.

Started by the daemon as ``python -m jointrisk_coordinator.runs.worker``. It can be killed at any moment: what it has
not committed is computed again, from the last complete round and from replies that the daemon kept.
"""

import os
from functools import partial
from pathlib import Path

from jointrisk import durable
from jointrisk.errors import JointriskError
from jointrisk.federation.contract import FeatureContract, contract_from_payload
from jointrisk.learning import checkpoint as checkpoints
from jointrisk.learning.aggregation import Aggregation, PlainAggregation
from jointrisk.learning.bundle import Facts, Privacy, write_unsigned
from jointrisk.learning.checkpoint import Checkpoint, RandomState
from jointrisk.learning.code_version import code_version
from jointrisk.learning.flower import ArrayRecord, act_as, values
from jointrisk.learning.secure_aggregation.parameters import Parameters
from jointrisk.learning.secure_runs import SecureAggregation, Sitting
from jointrisk.learning.strategies import make_strategy
from jointrisk.learning.tasks import Task, load_task, task_settings
from jointrisk.worker_process import Line, Pipe, claim_folder, claim_pipe, where
from jointrisk_coordinator.runs.daemon_line import DaemonLine
from jointrisk_coordinator.runs.grid import WorkerGrid
from jointrisk_coordinator.runs.loop import RoundLoop
from jointrisk_coordinator.runs.notebook import FolderNotebook
from jointrisk_coordinator.runs.preparing import Preparation
from jointrisk_coordinator.runs.settings import RunSettings


def main() -> None:
    """Serve the run that the daemon names in its first line, then wait to be ended."""
    pipe = claim_pipe()
    start = pipe.receive()
    if start is None:
        return
    try:
        said = _serve(pipe, start)
    except JointriskError as error:
        pipe.send(op="failed", detail=error.message)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run has to end with a word
        pipe.send(op="failed", detail=f"the run worker failed: {type(error).__name__} at {where(error)}")
    else:
        pipe.send(op="done", detail=said)
    while True:
        pipe.receive()


def _serve(pipe: Pipe, start: Line) -> str:
    folder = durable.folder(Path(start["folder"]))
    claim_folder(folder)
    act_as(start["run_id"])
    settings = RunSettings.model_validate(start["settings"])
    task = load_task(settings.task)
    contract = None if start["contract"] is None else contract_from_payload(start["contract"].encode())
    members: dict[str, int] = start["members"]
    line, seam = DaemonLine(pipe), _seam(settings, start, folder)
    grid = WorkerGrid(line, start["run_id"], members, folder / "out", settings.round_rules(len(members)))
    strategy = partial(make_strategy, settings.strategy, settings.strategy_settings, len(members))
    loop = RoundLoop(settings, task, strategy, seam, grid, folder, line.commit, contract=contract)
    if start["rounds_done"]:
        beginning = checkpoints.load(folder / "checkpoints", start["rounds_done"], start["arrays_sha256"])
    else:
        beginning = _beginning(settings, task, contract, Preparation(settings, seam, grid, folder))
    last = loop.run(beginning)
    _leave_model(folder, settings, task, contract, last, _privacy(settings, len(members)))
    return _in_words(last, task.best_metric)


def _in_words(last: Checkpoint, metric: str | None) -> str:
    """Say how many rounds there were, and which round of the stages that were judged was the best."""
    picked = [f"of {name} round {stage.rounds}" for name, stage in last.done.items() if metric in stage.metrics]
    return f"{last.number} rounds" + (f"; the best was {', '.join(picked)}" if picked else "")


def _seam(settings: RunSettings, start: Line, folder: Path) -> Aggregation:
    """Return how replies become one.

    Raises:
        RuleError: so many members cannot be protected.
    """
    if not settings.is_secure:
        return PlainAggregation()
    identities = {member: bytes.fromhex(key) for member, key in start["identities"].items()}
    numbers = {member: number for member, number in start["members"].items() if member in identities}
    sitting = Sitting(
        federation=start["federation"],
        run=start["run_id"],
        contract_version=start["contract_version"],
        numbers=numbers,
        identities=identities,
        parameters=parameters_of(settings, len(numbers)),
    )
    return SecureAggregation(
        sitting,
        FolderNotebook(folder),
        randomness=os.urandom,
        patience=settings.retries,
        pause=settings.retry_pause.total_seconds(),
    )


def _beginning(
    settings: RunSettings, task: Task, contract: FeatureContract | None, preparation: Preparation
) -> Checkpoint:
    """Prepare, and return what the first round starts from."""
    chosen = task_settings(settings.task, settings.task_settings)
    prepared = preparation.run(task.preparation(chosen, contract))
    return Checkpoint(0, ArrayRecord(), RandomState.seeded(settings.run_seed), prepared=prepared)


def parameters_of(settings: RunSettings, members: int) -> Parameters:
    """Return the numbers of secure sums of so many members.

    Raises:
        RuleError: there are none that protect a member.
    """
    f = settings.colluders
    chosen = Parameters.usual(members) if f is None else Parameters.choose(members, f)
    minimum = max(chosen.minimum, settings.minimum_members, settings.quorum)
    parameters = Parameters(members, chosen.colluders, chosen.threshold, minimum)
    parameters.check()
    return parameters


def _privacy(settings: RunSettings, members: int) -> Privacy:
    if not settings.is_secure:
        return Privacy()
    numbers = parameters_of(settings, members)
    return Privacy(
        aggregation="secure",
        members=numbers.parties,
        colluders=numbers.colluders,
        threshold=numbers.threshold,
        minimum=numbers.minimum,
    )


def _leave_model(
    folder: Path,
    settings: RunSettings,
    task: Task,
    contract: FeatureContract | None,
    last: Checkpoint,
    privacy: Privacy,
) -> None:
    """Leave the model for the daemon to sign, where the task makes one."""
    model = task.model(task_settings(settings.task, settings.task_settings), last.prepared, last.done)
    if model is None or contract is None:
        return
    facts = Facts(
        contract_version=contract.version,
        contract_digest=contract.digest(),
        encoding=model.encoding,
        architecture=model.architecture,
        settings=model.settings,
        metrics=dict(model.metrics),
        task=settings.task,
        strategy=settings.strategy,
        rounds=last.number,
        best_round=model.round,
        code_version=code_version(),
        privacy=privacy,
    )
    write_unsigned(folder, facts, {name: values(array) for name, array in model.arrays.items()})


if __name__ == "__main__":
    main()
