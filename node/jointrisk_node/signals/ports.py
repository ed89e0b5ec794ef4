"""What asking needs of the rest of the node. `jointrisk_node.asking`, `.replica` and `.audit_journal` have it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

from jointrisk.audit import FieldValue
from jointrisk.evaluation import Purpose
from jointrisk.listing.derive import ListingKeys
from jointrisk_node.signals.answer import Found

if TYPE_CHECKING:
    from jointrisk.identifiers import Identifier

Consent_contra = TypeVar("Consent_contra", contravariant=True)


class Blamed(Protocol):
    """A holder that was asked in vain."""

    @property
    def member(self) -> str:
        """Who."""

    @property
    def why(self) -> str:
        """What it did."""


class Evaluated(Protocol):
    """What became of identifiers in one epoch."""

    @property
    def generation(self) -> int:
        """Of the shares."""

    @property
    def quorum(self) -> tuple[str, ...]:
        """The holders that answered."""

    @property
    def keys(self) -> list[ListingKeys]:
        """One for each identifier, in their order."""

    @property
    def request_ids(self) -> tuple[bytes, ...]:
        """As they are audited on both sides."""

    @property
    def proofs_verified(self) -> int:
        """How many."""

    @property
    def blamed(self) -> Sequence[Blamed]:
        """Holders that were down, lied or refused."""


class Evaluator(Protocol[Consent_contra]):
    """Evaluates identifiers with the holders: `jointrisk_node.asking.Asker`."""

    def epochs(self) -> list[int]:
        """Return the epochs whose group key this node knows, the newest last."""

    async def evaluate(
        self,
        identifiers: "Sequence[Identifier]",
        purpose: Purpose,
        consent: Consent_contra,
        *,
        epoch: int,
        bulk: bool = False,
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
    def signed_at(self) -> datetime:
        """When that was signed."""

    @property
    def age(self) -> timedelta:
        """How long ago that is."""


class Entries(Protocol):
    """What is listed: `jointrisk_node.replica.ReplicaDesk`."""

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
