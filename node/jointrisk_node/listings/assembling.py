"""A node's lister put together: what the daemon makes, serves and runs."""

import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jointrisk.clock import Clock, utc_now
from jointrisk.evaluation import Purpose
from jointrisk.identifiers import Identifier
from jointrisk.listing.derive import ListingKeys
from jointrisk.listing.record import Randomness
from jointrisk.masterkey import MasterKey
from jointrisk.store import AuditLog, Store
from jointrisk_node.asking.outcome import Consent, Evaluated
from jointrisk_node.listings.delivery import DeliveryLedger, ListingCalls
from jointrisk_node.listings.desk import ListerDesk
from jointrisk_node.listings.ledger import ListingLedger
from jointrisk_node.listings.sealing import Evaluate
from jointrisk_node.listings.settings import ListingsSettings
from jointrisk_node.listings.witnessing import Replica, Watch, WitnessLedger


class AsksHolders(Protocol):
    """What is used of `jointrisk_node.asking.asker.Asker`."""

    async def evaluate(
        self, identifiers: Sequence[Identifier], purpose: Purpose, consent: Consent, *, epoch: int, bulk: bool = False
    ) -> Evaluated:
        """Evaluate identifiers."""
        ...


@dataclass(frozen=True)
class Lister:
    """A node's lister.

    Attributes:
        desk: what the operator asks for (`jointrisk_node.listings.service.ListingLister` serves it).
        watch: checks own entries in the log.
        settings: the table ``[listings]``.
    """

    desk: ListerDesk
    watch: Watch
    settings: ListingsSettings

    def loops(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return everything that runs as long as the daemon does; none of it ends by itself or raises."""
        return (
            self.desk.keep_up(),
            self.desk.keep_renewed(),
            self.desk.keep_epoch(),
            self.watch.keep_watch(every=self.settings.deliver_every),
        )


def make_lister(
    store: Store,
    master: MasterKey,
    audit: AuditLog,
    calls: ListingCalls,
    asker: AsksHolders,
    epochs: Callable[[], Sequence[int]],
    replica: Replica,
    settings: ListingsSettings,
    *,
    randomness: Randomness = os.urandom,
    clock: Clock = utc_now,
) -> Lister:
    """Put a lister together; blocking, because the lister secret is drawn or opened.

    Args:
        store: the node's database.
        master: the master key.
        audit: the audit log in the same store.
        calls: of the coordinator.
        asker: asks the holders.
        epochs: epochs that this node knows a group key of; called in any thread.
        replica: this node's copy of the log.
        settings: the table ``[listings]``.
        randomness: `os.urandom` outside tests.
        clock: the time.

    Raises:
        InvalidInputError: the consent reference of the settings breaks its form.
        CorruptError: the lister secret does not open.
    """
    ledger = ListingLedger(store, master, audit, randomness, clock)
    waiting = DeliveryLedger(store, ledger.vault, audit, clock)
    witness = WitnessLedger(store, audit)
    evaluate = publishing_evaluations(asker, Consent(settings.consent))
    desk = ListerDesk(ledger, waiting, witness, calls, evaluate, epochs, settings, randomness, clock)
    watch = Watch(witness, replica, grace=settings.release_grace, recheck=settings.recheck, clock=clock)
    return Lister(desk, watch, settings)


def publishing_evaluations(asker: AsksHolders, consent: Consent) -> Evaluate:
    """Return what asks holders for publishing, as bulk work."""

    async def evaluate(identifiers: Sequence[Identifier], epoch: int) -> Sequence[ListingKeys]:
        evaluated = await asker.evaluate(identifiers, Purpose.PUBLISHING, consent, epoch=epoch, bulk=True)
        return evaluated.keys

    return evaluate
