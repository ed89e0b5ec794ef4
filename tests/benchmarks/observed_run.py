"""A run watched from outside: when its rounds ended, and what its processes had taken by then."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.process_figures import peak_rss_mb, wire_bytes, worker_pids
from jointrisk.operator_socket import operator_socket
from jointrisk.rpc.channel import unix_channel
from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb
from jointrisk.rpc.v1.coordinator_operator_pb2_grpc import CoordinatorOperatorStub
from local_federation import LocalFederation

RUN_WORKER = "jointrisk_coordinator.runs.worker"
NODE_WORKER = "jointrisk_node.training.worker"


class Moment(NamedTuple):
    """How far a run was at one time.

    Args:
        rounds: complete rounds.
        seconds: monotonic clock.
        wire: bytes over the first node's connection so far, both ways; 0 where they were not asked for.
    """

    rounds: int
    seconds: float
    wire: int


@dataclass
class ObservedRun:
    """What was seen of a run.

    Attributes:
        moments: after every update that the coordinator sent, in order.
        peaks_mb: the most memory that any process of a kind had, MiB.
    """

    moments: list[Moment] = field(default_factory=list)
    peaks_mb: dict[str, float] = field(default_factory=dict)

    def per_round(self, figure: Callable[[Moment], float], *, warm_after: int) -> float:
        """Return how much a figure grew in a round, on average of all rounds after the first ``warm_after``."""
        first = next(moment for moment in self.moments if moment.rounds >= warm_after)
        last = next(moment for moment in self.moments if moment.rounds == self.moments[-1].rounds)
        return (figure(last) - figure(first)) / (last.rounds - first.rounds)

    def round_seconds(self, *, warm_after: int) -> float:
        """Return the seconds of a warm round, from commit to commit."""
        return self.per_round(lambda moment: moment.seconds, warm_after=warm_after)


def observe(federation: LocalFederation, toml: str, *, wire: bool = False, memory: bool = False) -> ObservedRun:
    """Start a run, watch it to its end, and return what was seen.

    Args:
        federation: running, its nodes online.
        toml: the run's settings.
        wire: count the bytes of the first node's connection at every update.
        memory: note peak memory of every kind of process at every update.

    Raises:
        RuntimeError: the run did not end well.
    """
    observed = ObservedRun()
    with unix_channel(str(operator_socket(federation.coordinator.home))) as channel:
        stub = CoordinatorOperatorStub(channel)
        address = stub.GetStatus(pb.GetCoordinatorStatusRequest(), timeout=60).address
        run = stub.StartRun(pb.StartRunRequest(toml=toml), timeout=60)
        for state in stub.WatchRun(pb.GetRunRequest(run_id=run.run_id), timeout=600):
            run = state
            now = time.monotonic()
            observed.moments.append(Moment(run.rounds_done, now, _wire(federation, address) if wire else 0))
            if memory:
                _note_peaks(federation, observed.peaks_mb)
    if run.state != "done":
        raise RuntimeError(f"the run ended as {run.state}: {run.detail}")
    return observed


def _wire(federation: LocalFederation, address: str) -> int:
    return wire_bytes(next(iter(federation.nodes.values())).pid, int(address.rpartition(":")[2]))


def _note_peaks(federation: LocalFederation, peaks: dict[str, float]) -> None:
    coordinator, nodes = federation.coordinator.pid, [node.pid for node in federation.nodes.values()]
    kinds = {
        "coordinator": [coordinator],
        "run_worker": worker_pids(coordinator, RUN_WORKER),
        "node": nodes,
        "node_worker": [worker for node in nodes for worker in worker_pids(node, NODE_WORKER)],
    }
    for kind, pids in kinds.items():
        peaks[kind] = max([peaks.get(kind, 0.0), *(peak_rss_mb(pid) for pid in pids)])
