"""Replicas of random sealed entries, for measuring lookups in large ones: everything is as after a synchronisation."""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.federation.signing import Signed, public_bytes
from jointrisk.listing.head import sign_head
from jointrisk.listing.record import RECORD_LENGTH, RECORD_VERSION
from jointrisk_node.replica.replica import Replica

_PART = 1 << 15
_HEAD_OF_ENTRY = bytes([1, RECORD_VERSION])


@dataclass(frozen=True, slots=True)
class Filled:
    """A replica that was filled.

    Attributes:
        replica: it.
        signed: the head that it serves.
        intake_seconds: what taking the log in and verifying it took.
        settling_seconds: what indexing and serving it took.
        bytes_per_entry: of its file.
    """

    replica: Replica
    signed: Signed
    intake_seconds: float
    settling_seconds: float
    bytes_per_entry: float


def random_entries(number: int) -> bytes:
    """Return packed entries with random ids, tags, stamps and ciphertexts."""
    length = RECORD_LENGTH - 1
    drawn = os.urandom(number * length)
    return b"".join([_HEAD_OF_ENTRY + drawn[at : at + length] for at in range(0, number * length, length)])


def fill(
    folder: Path,
    federation: str,
    epoch: int,
    key: Ed25519PrivateKey,
    number: int,
    now: datetime,
    real: Iterable[bytes] = (),
) -> Filled:
    """Fill a replica through its own intake.

    Args:
        folder: ``EPOCH/1`` in the folder of a `ReplicaDesk`, so that it opens it; nobody else has it open.
        federation: the federation.
        epoch: the epoch.
        key: the coordinator's identity key: it signs the head.
        number: how many random entries.
        now: the head's time.
        real: packed entries that stand after the random ones: those that are looked for.
    """
    replica = Replica(folder, federation, epoch, public_bytes(key))
    began, taken = time.perf_counter(), 0.0
    for part in _parts(number, real):
        start = time.perf_counter()
        replica.intake.take(part)
        taken += time.perf_counter() - start
    signed = sign_head(federation, epoch, replica.intake.fetched(), now, key)
    began = time.perf_counter()
    replica.intake.close(signed, replica.read(signed))
    replica.settle()
    settling = time.perf_counter() - began
    return Filled(replica, signed, taken, settling, replica.stored_bytes() / max(1, replica.live()))


def _parts(number: int, real: Iterable[bytes]) -> Iterator[bytes]:
    for start in range(0, number, _PART):
        yield random_entries(min(_PART, number - start))
    yield from real
