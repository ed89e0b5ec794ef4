"""The run worker: one process per run, with Flower and the arrays, without network and database.

Started by the daemon as ``python -m jointrisk_coordinator.runs.worker``. It can be killed at any moment: what it has
not committed is computed again, from the last complete round and from replies that the daemon kept.
"""

from pathlib import Path

from jointrisk import durable
from jointrisk.errors import JointriskError
from jointrisk.federation.contract import contract_from_payload
from jointrisk.learning import checkpoint as checkpoints
from jointrisk.learning.aggregation import PlainAggregation
from jointrisk.learning.checkpoint import Checkpoint, RandomState
from jointrisk.learning.flower import act_as
from jointrisk.learning.strategies import make_strategy
from jointrisk.learning.tasks import Task, load_task, task_settings
from jointrisk.worker_process import Line, Pipe, claim_folder, claim_pipe, where
from jointrisk_coordinator.runs.daemon_line import DaemonLine
from jointrisk_coordinator.runs.grid import WorkerGrid
from jointrisk_coordinator.runs.loop import RoundLoop
from jointrisk_coordinator.runs.settings import RunSettings


def main() -> None:
    """Serve the run that the daemon names in its first line, then wait to be ended."""
    pipe = claim_pipe()
    start = pipe.receive()
    if start is None:
        return
    try:
        number = _serve(pipe, start)
    except JointriskError as error:
        pipe.send(op="failed", detail=error.message)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run has to end with a word
        pipe.send(op="failed", detail=f"the run worker failed: {type(error).__name__} at {where(error)}")
    else:
        pipe.send(op="done", detail=f"{number} rounds")
    while True:
        pipe.receive()


def _serve(pipe: Pipe, start: Line) -> int:
    folder = durable.folder(Path(start["folder"]))
    claim_folder(folder)
    act_as(start["run_id"])
    settings = RunSettings.model_validate(start["settings"])
    task = load_task(settings.task)
    members: dict[str, int] = start["members"]
    line = DaemonLine(pipe)
    loop = RoundLoop(
        settings,
        make_strategy(settings.strategy, settings.strategy_settings, len(members)),
        PlainAggregation(),
        WorkerGrid(line, start["run_id"], members, folder / "out", settings.round_rules(len(members))),
        folder,
        line.commit,
        best_metric=task.best_metric,
    )
    return loop.run(_beginning(start, settings, task, folder)).number


def _beginning(start: Line, settings: RunSettings, task: Task, folder: Path) -> Checkpoint:
    if start["rounds_done"]:
        return checkpoints.load(folder / "checkpoints", start["rounds_done"], start["arrays_sha256"])
    contract = None if start["contract"] is None else contract_from_payload(start["contract"].encode())
    arrays = task.initial_arrays(task_settings(settings.task, settings.task_settings), contract, settings.run_seed)
    return Checkpoint(0, arrays, RandomState.seeded(settings.run_seed))


if __name__ == "__main__":
    main()
