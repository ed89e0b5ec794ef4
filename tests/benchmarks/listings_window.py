"""What is measured inside a node's process: lookups, bulk work, what libsodium alone takes there."""

import asyncio
import hmac
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo_people import person
from jointrisk.evaluation import EvaluationRequest, Purpose, consent_commitment, sign_request
from jointrisk.identifiers import Identifier, canonicalise
from jointrisk.listing.derive import tag_of
from jointrisk.oprf import dleq, group
from jointrisk.oprf.bulk import MAX_BATCH, Spread
from jointrisk.oprf.group import Element, Randomness, Scalar
from jointrisk.oprf.holder import Evaluation, evaluate_share, evaluate_unproven
from jointrisk.oprf.requester import blind
from jointrisk.oprf.sharing import invert_all, lagrange
from jointrisk.oprf.suite import VOPRF
from jointrisk.rpc.evaluations import request_to_message
from jointrisk.rpc.v1.listing_pb2 import AppendRequest
from jointrisk_node.asking.outcome import Consent
from jointrisk_node.evaluations import computing
from jointrisk_node.replica.coordinator_source import CoordinatorSource
from jointrisk_node.replica.desk import ReplicaDesk
from jointrisk_node.replica.settings import ReplicaSettings
from jointrisk_node.signals.desk import SignalDesk, Terms
from jointrisk_node.signals.person import Given, person_of

if TYPE_CHECKING:
    from jointrisk_node.daemon.listings import ListingParts, Shared

CONSENT = Consent("benchmark/listings")
_TERMS = Terms(Purpose.ADMISSION, CONSENT, "benchmark")
_ANY_AGE = ReplicaSettings(oldest=timedelta(days=3650))
_TURN = 512
_IN_FLIGHT = 2
_LONG = timedelta(seconds=120)
_NOT_A_PROOF = dleq.Proof(Scalar(bytes(32)), Scalar(bytes(32)))

Took = Callable[..., Awaitable[Any]]


class Window:
    """Takes figures in the daemon's process.

    Args:
        parts: the daemon's.
        shared: what they are made of.
    """

    def __init__(self, parts: "ListingParts", shared: "Shared") -> None:
        self._parts = parts
        self._shared = shared
        self._desks: dict[str, SignalDesk] = {"": parts.signals}
        self._bulk: asyncio.Task[int] | None = None

    async def take(self, what: str, terms: Mapping[str, Any]) -> Any:
        """Take a figure: ``what`` is the name of one of the methods below."""
        method: Took = getattr(self, f"take_{what}")
        return await method(**terms)

    async def take_epoch(self) -> int:
        """Return the epoch of the key."""
        return self._epoch

    # -- processor time --------------------------------------------------------------------------------------------

    async def take_cpu(self) -> float:
        """Return the seconds of processor time of the whole process."""
        return time.process_time()

    async def take_raw(self) -> float:
        """Return the microseconds of one multiplication by libsodium alone, in this process."""
        return _each(lambda: group._multiply(_OUT, _KEY, _ELEMENT))

    async def take_floor(self) -> float:
        """Return the microseconds that an asker's primitives take for an item of 2 of 3, its own share one of the two.

        Blinding is a scalar, a hash and a multiplication; the own share a multiplication; the other's proof a weight,
        two multiplications and two additions; the end an addition, an inversion, a multiplication and a hash; then
        three HMACs and a hash for keys and tag.
        """
        multiply, add = await self.take_raw(), _each(lambda: group._add(_OUT, _ELEMENT, group.GENERATOR))
        blinds = [group.random_scalar(os.urandom) for _ in range(_TURN)]
        others = (
            lambda: group.random_scalar(os.urandom),
            lambda: VOPRF.hash_to_group(b"resident ID 123456"),
            lambda: VOPRF.hash_to_scalar(bytes(154)),
            lambda: VOPRF.finalize(b"resident ID 123456", _ELEMENT),
            _derive_floor,
        )
        return 5 * multiply + 3 * add + sum(map(_each, others)) + _once(lambda: invert_all(blinds)) / _TURN

    async def take_proofs(self, *, wanted: bool) -> None:
        """Answer with or without proofs from here on: without, the answers cost what they cost but for the proof."""
        composed = evaluate_share if wanted else without_proof
        vars(computing)["evaluate_share"] = composed

    # -- bulk ------------------------------------------------------------------------------------------------------

    async def take_load(self, *, holder: str, batches: int) -> int:
        """Send a holder full batches that were made before, two at a time; return the number of items."""
        generation = (await self._parts.asker._generations.of(self._epoch))[0]
        quorum = tuple(sorted((self._shared.membership.member_id, holder)))
        elements = b"".join(_elements())
        waiting = asyncio.Semaphore(_IN_FLIGHT)

        async def send() -> None:
            async with waiting:
                request = self._request(generation.key.generation, quorum, elements)
                message = request_to_message(request, sign_request(request, self._parts.asker._desk.identity))
                await self._parts._peers.evaluate(holder, message, _LONG)

        async with asyncio.TaskGroup() as group_of_tasks:
            for _ in range(batches):
                group_of_tasks.create_task(send())
        return batches * MAX_BATCH

    def _request(self, generation: int, quorum: tuple[str, ...], elements: bytes) -> EvaluationRequest:
        return EvaluationRequest(
            federation=self._shared.membership.federation,
            asker=self._shared.membership.member_id,
            epoch=self._epoch,
            generation=generation,
            request_id=os.urandom(16),
            purpose=Purpose.PORTFOLIO,
            quorum=quorum,
            consent=consent_commitment(os.urandom(16), CONSENT.reference),
            elements=elements,
            head=self._parts.replica.newest(self._epoch),
        )

    async def take_evaluated(self, *, first: int, count: int) -> list[float]:
        """Evaluate persons as bulk work; return seconds, and seconds of this process's processor time."""
        identifiers = _identifiers(range(first, first + count))
        began, used = time.perf_counter(), time.process_time()
        await self._evaluate(identifiers)
        return [time.perf_counter() - began, time.process_time() - used]

    async def take_keys(self, *, first: int, count: int) -> list[tuple[str, str]]:
        """Return tag and key of persons."""
        keys = await self._evaluate(_identifiers(range(first, first + count)))
        return [(one.tag.hex(), one.key.hex()) for one in keys]

    async def take_bulk_begun(self, *, first: int) -> None:
        """Begin to evaluate persons, batch after batch."""
        self._bulk = asyncio.create_task(self._evaluate_on(first))

    async def take_bulk_ended(self) -> int:
        """End that; return how many there were."""
        assert self._bulk is not None
        bulk, self._bulk = self._bulk, None
        self._bulk_ends = True
        return await bulk

    async def _evaluate_on(self, first: int) -> int:
        self._bulk_ends, done = False, 0
        identifiers = _identifiers(range(first, first + _IN_FLIGHT * MAX_BATCH))
        while not self._bulk_ends:
            await self._evaluate(identifiers)
            done += len(identifiers)
        return done

    async def _evaluate(self, identifiers: Sequence[Identifier]) -> Sequence[Any]:
        asker = self._parts.asker
        done = await asker.evaluate(identifiers, Purpose.PORTFOLIO, CONSENT, epoch=self._epoch, bulk=True)
        return done.keys

    # -- replicas --------------------------------------------------------------------------------------------------

    async def take_opened(self, *, name: str, folder: str) -> None:
        """Open a replica beside the daemon's own for `take_lookups`, unless it is open."""
        parts = self._parts
        if name not in self._desks:
            own = parts.signals._own_pseudonym
            replica = self._replica(Path(folder))
            self._desks[name] = SignalDesk(parts.asker, replica, parts.journal, own_pseudonym=own)

    async def take_lookups(self, *, name: str, persons: Sequence[int], pause: float = 0.0) -> dict[str, Any]:
        """Ask about persons one after the other, each from an identifier as typed to the opened entries.

        Returns:
            ``ms`` of each, and of how many there was something to tell.
        """
        desk, taken, found = self._desks[name], [], 0
        for number in persons:
            given = [Given("resident_id", "CN", person(number).resident_id)]
            began = time.perf_counter()
            answers = await desk.ask([person_of(given)], _TERMS)
            taken.append((time.perf_counter() - began) * 1000)
            found += bool(answers.signals[0].listings)
            await asyncio.sleep(pause)
        return {"ms": taken, "found": found}

    async def take_appended(self, *, batches: int) -> None:
        """Append random entries under tags of random witnesses: the coordinator cannot tell them from others."""
        for _ in range(batches):
            request = AppendRequest(epoch=self._epoch, entries=b"".join(random_offer() for _ in range(MAX_BATCH)))
            await self._shared.channel.append_listings(request)

    async def take_synchronised(self, *, folder: str) -> dict[str, float]:
        """Fetch the coordinator's whole log into a new replica; return seconds, entries, bytes for each live entry."""
        replica = self._replica(Path(folder))
        began = time.perf_counter()
        await replica.refresh()
        seconds = time.perf_counter() - began
        state = replica.state(self._epoch)
        replica.close()
        shutil.rmtree(folder)
        return {"seconds": seconds, "entries": state.size, "bytes_per_entry": state.stored_bytes / state.live}

    def _replica(self, folder: Path) -> ReplicaDesk:
        shared = self._shared
        federation, key = shared.membership.federation, shared.membership.coordinator_key
        return ReplicaDesk(folder, federation, key, CoordinatorSource(shared.channel), shared.audit, _ANY_AGE)

    @property
    def _epoch(self) -> int:
        return self._parts.asker.epochs()[-1]


_OUT = group._Buffer()  # the floor is libsodium itself, without our checks and copies
_KEY = group.random_scalar(os.urandom)
_ELEMENT = group.multiply_base(group.random_scalar(os.urandom))


def _elements() -> tuple[Element, ...]:
    """Return as many valid elements as a batch has; a holder cannot tell that they are nobody's."""
    if not _MADE:
        _MADE.append(blind([b"%d" % number for number in range(MAX_BATCH)], os.urandom).elements)
    return _MADE[0]


_MADE: list[tuple[Element, ...]] = []


def without_proof(
    share: Scalar,
    index: int,
    quorum: Collection[int],
    blinded: Sequence[bytes],
    randomness: Randomness,
    spread: Spread,
) -> Evaluation:
    """Answer as `evaluate_share`, with zeros in place of a proof."""
    key = group.scalar_multiply(lagrange(quorum)[index], share)
    return Evaluation(evaluate_unproven(key, blinded, spread), _NOT_A_PROOF)


def _identifiers(numbers: range) -> list[Identifier]:
    return [canonicalise("resident_id", "CN", person(number).resident_id) for number in numbers]


def random_offer() -> bytes:
    """Return a random entry as it is appended, with a witness that fits its tag."""
    witness = os.urandom(16)
    return os.urandom(16) + tag_of(witness) + witness + os.urandom(48)


def _derive_floor() -> None:
    for _ in range(3):
        hmac.digest(b"k" * 32, b"jointrisk/v1/listing", "sha256")
    sha256(b"w" * 16).digest()


def _each(operation: Callable[[], object]) -> float:
    """Return the microseconds of processor time of one operation, on average of many."""

    def repeat() -> None:
        for _ in range(_TURN):
            operation()

    return _once(repeat) / _TURN


def _once(operation: Callable[[], object]) -> float:
    began = time.thread_time()
    operation()
    return (time.thread_time() - began) * 1e6
