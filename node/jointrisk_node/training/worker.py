"""The node's worker: one warm process per run, with the client app and the lender's rows.

Started by the daemon as ``python -m jointrisk_node.training.worker``. It can be killed at any moment: a task is done
again from the state it was done from before, with the same seeds, so the reply has the same bytes.
"""

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from jointrisk import durable
from jointrisk.errors import ClientFailedError, DataBreachError, JointriskError
from jointrisk.federation.contract import FeatureContract, contract_from_payload
from jointrisk.federation.policy import RunOffer
from jointrisk.learning.encoding import with_buckets
from jointrisk.learning.flower import Context, Message, act_as, decode, encode, instruction, run_number
from jointrisk.learning.secure_runs import SecureMod, asked_kind, is_secure
from jointrisk.learning.tasks import Assignment, MemberData, load_task, task_settings
from jointrisk.worker_process import Line, Pipe, claim_folder, claim_pipe, where
from jointrisk_node.training import client_state
from jointrisk_node.training.ledger_line import LedgerLine


def main() -> None:
    """Serve one run: prepare, say so, then do task after task."""
    pipe = claim_pipe()
    start = pipe.receive()
    if start is None:
        return
    try:
        run = _Run(start, pipe)
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
        pipe: to the daemon.
    """

    def __init__(self, start: Line, pipe: Pipe) -> None:
        self._folder = durable.folder(Path(start["folder"]))
        claim_folder(self._folder)
        # torch's optimisers load its compiler, which makes a folder; in here it goes when the run goes.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(durable.folder(self._folder / "torch"))
        offer = RunOffer.model_validate(start["offer"])
        self._run_id, self._number = offer.run_id, offer.number_of(start["member_id"])
        act_as(self._run_id, self._number)
        self._name = str(start["member_id"])
        assignment, task = _assignment(offer, self._number, start), load_task(offer.task)
        self._app = task.client_app(assignment)
        self._mod = SecureMod(
            self._name,
            LedgerLine(pipe, self._folder),
            data_version=_data_version(assignment.data, self._run_id),
            ranges={"train": task.train_metrics, "evaluate": task.evaluate_metrics},
            randomness=os.urandom,
        )

    def perform(self, task: Line) -> dict[str, Any]:
        """Do a task and return its reply's size and digest; a reply that lies there already is the reply."""
        reply = Path(task["reply"])
        if not reply.exists():
            durable.write(reply, self._compute(task))
        return {"bytes": reply.stat().st_size, "sha256": _digest(reply)}

    def _compute(self, task: Line) -> bytes:
        content = decode(Path(task["content"]).read_bytes())
        secure = is_secure(task["kind"])
        kind = asked_kind(content, self._name) if secure else task["kind"]
        trains = kind is not None and kind.startswith("train")
        states = self._folder / "state"
        context = Context(
            run_id=run_number(self._run_id),
            node_id=self._number,
            node_config={},
            state=client_state.load(states, task["base_round"] if trains else task["round"]),
            run_config={},
        )
        message = instruction(content, task["kind"], self._number, task["message_id"], str(task["round"]))

        def app(asked: Message, context: Context) -> Message:
            """Call the client app, and keep its state before anything that follows from it is kept or sent."""
            reply = self._app(asked, context)
            if trains and len(context.state):
                client_state.save(states, task["round"], task["base_round"], context.state)
            return reply

        reply = self._mod(message, context, app) if secure else app(message, context)
        return encode(reply.content)


def _assignment(offer: RunOffer, number: int, start: Line) -> Assignment:
    contract = None if start["contract"] is None else contract_from_payload(start["contract"].encode())
    data = None if contract is None else _rows(contract, start["data"])
    return Assignment(
        settings=task_settings(offer.task, offer.task_settings),
        run_seed=offer.run_seed,
        number=number,
        contract=contract,
        data=data,
        rounds=offer.rounds,
    )


def _data_version(data: MemberData | None, run_id: str) -> bytes:
    """Return the digest of the rows; a task without rows says the same of nothing in each run anew."""
    if data is None:
        return hashlib.sha256(b"no rows\0" + run_id.encode()).digest()
    digest = hashlib.sha256(str(data.features.shape).encode())
    digest.update(np.ascontiguousarray(data.features).data)
    digest.update(np.ascontiguousarray(data.labels).data)
    return digest.digest()


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
