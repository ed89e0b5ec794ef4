"""The node's worker: one warm process per run, with the client app and the lender's rows.

Started by the daemon as ``python -m jointrisk_node.training.worker``. It can be killed at any moment: a task is done
again from the state it was done from before, with the same seeds, so the reply has the same bytes.
"""

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

from jointrisk import durable
from jointrisk.errors import ClientFailedError, DataBreachError, JointriskError
from jointrisk.federation.contract import FeatureContract, contract_from_payload
from jointrisk.federation.policy import RunOffer
from jointrisk.learning.encoding import with_buckets
from jointrisk.learning.flower import ClientApp, Context, act_as, decode, encode, instruction, run_number
from jointrisk.learning.tasks import Assignment, MemberData, load_task, task_settings
from jointrisk.worker_process import Line, Pipe, claim_folder, claim_pipe, where
from jointrisk_node.training import client_state


def main() -> None:
    """Serve one run: prepare, say so, then do task after task."""
    pipe = claim_pipe()
    start = pipe.receive()
    if start is None:
        return
    try:
        run = _Run(start)
    except Exception as error:  # noqa: BLE001 - the daemon is told, whatever it is
        pipe.send(op="unready", **_failure(error))
    else:
        pipe.send(op="ready")
        _serve(pipe, run)
    while True:
        pipe.receive()


def _serve(pipe: Pipe, run: "_Run") -> None:
    while (task := pipe.receive()) is not None:
        try:
            pipe.send(op="done", message_id=task["message_id"], **run.perform(task))
        except Exception as error:  # noqa: BLE001 - as above
            pipe.send(op="failed", message_id=task["message_id"], **_failure(error))


class _Run:
    """One run's app, data and state.

    Args:
        start: the daemon's first line.
    """

    def __init__(self, start: Line) -> None:
        self._folder = durable.folder(Path(start["folder"]))
        claim_folder(self._folder)
        # torch's optimisers load its compiler, which makes a folder; in here it goes when the run goes.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(durable.folder(self._folder / "torch"))
        offer = RunOffer.model_validate(start["offer"])
        self._run_id, self._number = offer.run_id, offer.number_of(start["member_id"])
        act_as(self._run_id, self._number)
        self._app = _app(offer, self._number, start)

    def perform(self, task: Line) -> dict[str, Any]:
        """Do a task and return its reply's size and digest; a reply that lies there already is the reply."""
        reply = Path(task["reply"])
        if not reply.exists():
            durable.write(reply, self._compute(task))
        return {"bytes": reply.stat().st_size, "sha256": _digest(reply)}

    def _compute(self, task: Line) -> bytes:
        trains = task["kind"].startswith("train")
        states = self._folder / "state"
        context = Context(
            run_id=run_number(self._run_id),
            node_id=self._number,
            node_config={},
            state=client_state.load(states, task["base_round"] if trains else task["round"]),
            run_config={},
        )
        content = decode(Path(task["content"]).read_bytes())
        message = instruction(content, task["kind"], self._number, task["message_id"], str(task["round"]))
        reply = self._app(message, context)
        if trains and len(context.state):
            client_state.save(states, task["round"], task["base_round"], context.state)
        return encode(reply.content)


def _app(offer: RunOffer, number: int, start: Line) -> ClientApp:
    contract = None if start["contract"] is None else contract_from_payload(start["contract"].encode())
    data = None if contract is None else _rows(contract, start["data"])
    assignment = Assignment(
        settings=task_settings(offer.task, offer.task_settings),
        run_seed=offer.run_seed,
        number=number,
        contract=contract,
        data=data,
    )
    return load_task(offer.task).client_app(assignment)


def _rows(contract: FeatureContract, data: dict[str, Any]) -> MemberData:
    """Load the lender's rows.

    Raises:
        DataBreachError: they break the contract; says where, for both sides to read.
        JointriskError: they cannot be read. What the reason names (a path, a host) is this lender's own affair: it goes
            to the node's log, and the coordinator learns that much only.
    """
    from jointrisk_node.data import DataSettings, LoanBook

    try:
        table = LoanBook.open(DataSettings.model_validate(data)).arrays(contract)
    except DataBreachError:
        raise
    except JointriskError as error:
        print(f"the loan book cannot be read: {error.message}", file=sys.stderr, flush=True)  # noqa: T201 - the daemon's log
        raise type(error)("the loan book cannot be read; the node's log says why") from error
    return MemberData(with_buckets(contract, table.features, table.vocabularies), table.labels)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _failure(error: Exception) -> dict[str, str]:
    if isinstance(error, JointriskError):
        return {"code": error.code, "reason": error.message}
    # An unforeseen error's text could hold a value of a row: only its type and place leave this process.
    return {"code": ClientFailedError.code, "reason": f"{type(error).__name__} at {where(error)}"}


if __name__ == "__main__":
    main()
