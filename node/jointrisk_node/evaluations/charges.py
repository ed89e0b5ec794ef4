"""What was charged, in LMDB: accounts, request ids that are taken, batches that are paid for.

Everything is written in the transaction that also writes the record of the evaluation to the audit journal, and is on
the disk before the evaluation is given out. For each request one of these holds:

=========  ==========================================================================================
charged    its id is new: the account is charged and the id bound to the request's digest
repeated   its id is bound to this very request: it is answered again for nothing
free       its id is new, and its elements are paid for under another quorum or generation: once for nothing (*a holder
           of the first quorum may have failed*)
refused    its id is bound to something else, or the quota is used up: nothing is written
=========  ==========================================================================================

Ids and batches are remembered for `REMEMBERED`; what comes again after that is charged again.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from itertools import islice
from typing import Final

import lmdb

from jointrisk.errors import ConflictError
from jointrisk.evaluation import EvaluationRequest
from jointrisk_node.audit_journal import AuditJournal
from jointrisk_node.evaluations.quota import Account, Allowance

REMEMBERED: Final = timedelta(hours=24)
"""For how long a request id stays bound, and a batch paid for."""

_EVENT = "evaluation.answered"
_FORGOTTEN_AT_ONCE = 4
_MICROSECOND = timedelta(microseconds=1)
_EPOCH_START = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_NUMBER = struct.Struct(">Q")
_BINDING = struct.Struct(">Q32s")  # when, the request's digest
_PAID = struct.Struct(
    ">Q32s?"
)  # when, under which generation and quorum, whether another has been answered for nothing


class Outcome(StrEnum):
    """How a request was taken."""

    CHARGED = "charged"
    REPEATED = "repeated"
    FREE = "free"


@dataclass(frozen=True)
class Charge:
    """A request as it is charged.

    Attributes:
        request: the request, checked.
        digest: its digest.
        number: how many elements it has.
    """

    request: EvaluationRequest
    digest: bytes
    number: int

    @cached_property
    def binding_key(self) -> bytes:
        """Under what its id is bound: the id is the asker's own."""
        return _member(self.request.asker) + self.request.request_id

    @cached_property
    def batch_key(self) -> bytes:
        """Under what its elements are paid for."""
        one = self.request
        said = (_member(one.asker), _NUMBER.pack(one.epoch), one.purpose.encode(), sha256(one.elements).digest())
        return sha256(b"\0".join(said)).digest()

    @cached_property
    def quorum_digest(self) -> bytes:
        """What tells apart quorums of all generations."""
        one = self.request
        return sha256(_NUMBER.pack(one.generation) + b"".join(map(_member, one.quorum))).digest()

    @cached_property
    def account_key(self) -> bytes:
        """Under what the asker's account of the epoch is kept."""
        return _account_key(self.request.asker, self.request.epoch)


class ChargeBook:
    """The accounts, in the environment of the audit journal. Reading is safe from any thread.

    Args:
        journal: whose environment is used, and which gets a record of every evaluation.
        allowance: what a member is granted, by name.
    """

    def __init__(self, journal: AuditJournal, allowance: Callable[[str], Allowance]) -> None:
        self.environment = journal.environment
        self.allowance = allowance
        self._journal = journal
        self._accounts = self.environment.open_db(b"evaluation-accounts")
        self._bindings = self.environment.open_db(b"evaluation-bindings")
        self._batches = self.environment.open_db(b"evaluation-batches")
        self._ends = self.environment.open_db(b"evaluation-ends")

    def charge_in(self, transaction: lmdb.Transaction, charge: Charge, now: datetime) -> Outcome:
        """Charge a request within a write transaction, which commits before the answer is given out.

        Args:
            transaction: of the environment, writing.
            charge: the request.
            now: the time.

        Raises:
            ConflictError: the request's id is bound to something else. Nothing is written, as with
            QuotaError: more is asked for than is granted.
        """
        moment = microseconds(now)
        if self._is_repeated(transaction, charge, moment):
            return Outcome.REPEATED
        outcome = self._pay(transaction, charge, moment)
        transaction.put(charge.binding_key, _BINDING.pack(moment, charge.digest), db=self._bindings)
        end = b"".join((_NUMBER.pack(moment), charge.batch_key, charge.binding_key))
        transaction.put(end, b"", db=self._ends)
        self._journal.put_in(transaction, _EVENT, _fields(charge, outcome))
        self._forget(transaction, moment)
        return outcome

    def account(self, member: str, epoch: int) -> Account:
        """Return what a member has used in an epoch."""
        with self.environment.begin() as transaction:
            return self._account(transaction, _account_key(member, epoch))

    def accounts(self) -> list[tuple[str, int, Account]]:
        """Return member, epoch and account of everybody who ever asked, in order of name and epoch."""
        with self.environment.begin(db=self._accounts) as transaction, transaction.cursor() as cursor:
            return [(*_read_account_key(key), Account.decode(value)) for key, value in cursor]

    def credit(self, member: str, epoch: int, tags: int) -> None:
        """Note how many different tags of a member an epoch's log holds; nothing for who has published nothing."""
        key = _account_key(member, epoch)
        with self.environment.begin(write=True) as transaction:
            account = self._account(transaction, key)
            if account.published and account.credit(tags) != account:
                transaction.put(key, account.credit(tags).encode(), db=self._accounts)

    def _is_repeated(self, transaction: lmdb.Transaction, charge: Charge, moment: int) -> bool:
        bound = transaction.get(charge.binding_key, db=self._bindings)
        if bound is None:
            return False
        at, digest = _BINDING.unpack(bound)
        if digest == charge.digest:
            return True
        if at <= moment - _remembered():
            return False
        raise ConflictError(
            "expected a new request id, got one that stands for another request",
            remedy="Draw 16 random bytes for every request; repeat a request byte for byte.",
        )

    def _pay(self, transaction: lmdb.Transaction, charge: Charge, moment: int) -> Outcome:
        """Take it from the account, unless the batch is paid for; write who has paid for it."""
        paid = transaction.get(charge.batch_key, db=self._batches)
        if paid is not None:
            at, quorum, is_used = _PAID.unpack(paid)
            if at > moment - _remembered() and quorum != charge.quorum_digest and not is_used:
                transaction.put(charge.batch_key, _PAID.pack(at, quorum, True), db=self._batches)
                return Outcome.FREE
        account = self._account(transaction, charge.account_key)
        granted = self.allowance(charge.request.asker)
        changed = account.charge(granted, charge.request.purpose, charge.number, moment)
        transaction.put(charge.account_key, changed.encode(), db=self._accounts)
        transaction.put(charge.batch_key, _PAID.pack(moment, charge.quorum_digest, False), db=self._batches)
        return Outcome.CHARGED

    def _account(self, transaction: lmdb.Transaction, key: bytes) -> Account:
        found = transaction.get(key, db=self._accounts)
        return Account() if found is None else Account.decode(bytes(found))

    def _forget(self, transaction: lmdb.Transaction, moment: int) -> None:
        """Forget some of what has ended: more than comes in, so that it never grows."""
        limit = moment - _remembered()
        for end in list(self._ended(transaction, limit)):
            batch, binding = end[8:40], end[40:]
            _delete_ended(transaction, self._batches, batch, limit)
            _delete_ended(transaction, self._bindings, binding, limit)
            transaction.delete(end, db=self._ends)

    def _ended(self, transaction: lmdb.Transaction, limit: int) -> Iterator[bytes]:
        with transaction.cursor(db=self._ends) as cursor:
            for key, _ in islice(cursor, _FORGOTTEN_AT_ONCE):
                if _NUMBER.unpack_from(key)[0] <= limit:
                    yield bytes(key)


def microseconds(now: datetime) -> int:
    """Return a moment in microseconds since 1970."""
    return (now - _EPOCH_START) // _MICROSECOND


def _remembered() -> int:
    return REMEMBERED // _MICROSECOND


def _delete_ended(transaction: lmdb.Transaction, database: "lmdb._Database", key: bytes, limit: int) -> None:
    """Delete what has not been written again since."""
    found = transaction.get(key, db=database)
    if found is not None and _NUMBER.unpack_from(found)[0] <= limit:
        transaction.delete(key, db=database)


def _member(name: str) -> bytes:
    written = name.encode("ascii")
    return bytes((len(written),)) + written


def _account_key(member: str, epoch: int) -> bytes:
    return _member(member) + _NUMBER.pack(epoch)


def _read_account_key(key: bytes) -> tuple[str, int]:
    return key[1:-8].decode("ascii"), int(_NUMBER.unpack(key[-8:])[0])


def _fields(charge: Charge, outcome: Outcome) -> dict[str, str | int]:
    one = charge.request
    return {
        "asker": one.asker,
        "request_id": one.request_id.hex(),
        "purpose": one.purpose.value,
        "count": charge.number,
        "charged": charge.number if outcome is Outcome.CHARGED else 0,
        "epoch": one.epoch,
        "generation": one.generation,
        "consent": one.consent.hex(),
    }
