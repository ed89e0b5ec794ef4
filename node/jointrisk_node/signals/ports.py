"""What asking needs of the rest of the node. `jointrisk_node.asking`, `.replica` and `.audit_journal` have it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from jointrisk.audit import FieldValue
from jointrisk.evaluation import Purpose
from jointrisk_node.asking.outcome import Consent, Evaluated
from jointrisk_node.signals.answer import Found

if TYPE_CHECKING:
    from jointrisk.identifiers import Identifier


class Evaluator(Protocol):
    """Evaluates identifiers with the holders: `jointrisk_node.asking.asker.Asker`."""

    def epochs(self) -> list[int]:
        """Return the epochs whose group key this node knows, the newest last."""

    async def evaluate(
        self,
        identifiers: "Sequence[Identifier]",
        purpose: Purpose,
        consent: Consent,
        *,
        epoch: int,
        bulk: bool = False,
        question_id: str = "",
    ) -> Evaluated:
        """Evaluate. Raises where not as many holders answer as are needed, or the quota is used up."""


class ReplicaState(Protocol):
    """How a replica stands."""

    @property
    def size(self) -> int:
        """Entries of the log."""

    @property
    def head_hash(self) -> bytes:
        """Of the head that they lead to."""

    @property
    def signed_at(self) -> datetime | None:
        """When that was signed; None before the first synchronisation."""

    @property
    def age(self) -> timedelta | None:
        """How long ago that is."""


class Entries(Protocol):
    """What is listed: `jointrisk_node.replica.desk.ReplicaDesk`."""

    def epochs(self) -> list[int]:
        """Return the epochs that there is a replica of."""

    def lookup(self, epoch: int, tag: bytes) -> Sequence[Found]:
        """Return what is live under a tag. Raises where the replica is too old or is not there."""

    def state(self, epoch: int) -> ReplicaState:
        """Return how the replica stands."""


class Journal(Protocol):
    """Records what happens, durably: `jointrisk_node.audit_journal.AuditJournal`."""

    async def append(self, event: str, /, **fields: FieldValue) -> None:
        """Write a record; it is on the disk when this returns."""
