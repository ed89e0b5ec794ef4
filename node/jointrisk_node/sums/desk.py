"""What a run's worker process may ask of the daemon in secure sums: open a session, sign in it, keep an answer."""

import asyncio
import base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from jointrisk.errors import InvalidInputError, JointriskError, RefusedError
from jointrisk.learning.secure_aggregation import Kind, Policy, Rule, RuleError, Terms, encoding
from jointrisk.worker_process import Line
from jointrisk_node.sums.ledger import NewAnswer, SumLedger

_SIGNED = (b"jointrisk/v1/secagg-keys", b"jointrisk/v1/secagg-survivors")


_SECRETS_GO = (Kind.MASKED, Kind.RELEASE)
"""Answers after which a member needs fewer secrets."""


@dataclass(frozen=True)
class SumPolicy:
    """What a node insists on in secure sums.

    Attributes:
        judge: of terms.
        cohorts: for how many sets of members it answers one statement.
    """

    judge: Policy
    cohorts: int


class SumDesk:
    """Answers the workers' lines. What a worker says is checked as far as rules depend on it.

    Args:
        member_id: this node.
        policy: what the node insists on in a run under a contract version; raises JointriskError when it cannot say.
        ledger: the database.
        sign: signs with the node's identity key.
    """

    def __init__(
        self,
        member_id: str,
        policy: Callable[[int], SumPolicy],
        ledger: SumLedger,
        sign: Callable[[bytes], bytes],
    ) -> None:
        self._member_id = member_id
        self._policy = policy
        self._ledger = ledger
        self._sign = sign
        self._known: dict[bytes, Terms] = {}
        self._tidying: asyncio.Task[None] | None = None

    async def answer(self, run_id: str, contract_version: int, line: Line) -> Line:
        """Return what a worker is told; "refused" with code and reason where a rule forbids what it asks.

        Args:
            run_id: the worker's run.
            contract_version: of the run's offer.
            line: the worker's.
        """
        steps = {"sum_open": self._open, "sum_sign": self._signed, "sum_keep": self._keep}
        step = steps.get(line["op"])
        if step is None:
            raise InvalidInputError(f"training worker: unknown line {line['op']!r}")
        try:
            said = await asyncio.to_thread(step, run_id, contract_version, line)
        except JointriskError as error:
            return {"op": "refused", "code": error.code, "reason": error.message}
        if said["op"] == "sum_kept" and line["answers"][-1][0] in _SECRETS_GO:
            self._tidying = asyncio.create_task(self._tidy(self._tidying))
        return said

    async def _tidy(self, before: asyncio.Task[None] | None) -> None:
        """Empty the database's log of older states, beside what goes on."""
        if before is not None:
            await asyncio.wait([before])
        with suppress(JointriskError):  # the next one does it
            await asyncio.to_thread(self._ledger.forget_deleted)

    def forget_run(self, run_id: str) -> None:
        """Delete what only a run that goes on needs."""
        self._known = {digest: terms for digest, terms in self._known.items() if terms.run != run_id}
        self._ledger.forget_run(run_id)

    def _open(self, run_id: str, contract_version: int, line: Line) -> Line:
        digest, policy = bytes.fromhex(line["session"]), self._policy(contract_version)
        kept = self._ledger.find(digest)
        if kept is None:
            self._enter(run_id, digest, policy, line["terms"])
        elif kept.terms.run != run_id:
            raise RuleError(Rule.SESSION, "expected a session of this run, got one of another")
        return {
            "op": "sum_opened",
            "policy": _policy_line(policy.judge),
            "state": None if kept is None else base64.b64encode(kept.state).decode(),
            "answers": [] if kept is None else kept.answers,
        }

    def _enter(self, run_id: str, digest: bytes, policy: SumPolicy, said: str | None) -> None:
        if said is None:
            raise RuleError(Rule.ATTEMPT, "expected a session that this node has entered, got another")
        terms = Terms.decode(base64.b64decode(said))
        if terms.run != run_id or terms.digest != digest:
            raise RuleError(Rule.SESSION, "expected terms of this run, got others")
        policy.judge.judge(terms, self._member_id)
        self._known = {known: other for known, other in self._known.items() if other.unit != terms.unit}
        self._known[digest] = terms

    def _signed(self, run_id: str, contract_version: int, line: Line) -> Line:
        """Sign keys and survivors of a session of this run, and nothing else."""
        del contract_version
        digest, message = bytes.fromhex(line["session"]), base64.b64decode(line["message"])
        self._terms(run_id, digest)
        if not any(message.startswith(encoding.block(domain) + digest) for domain in _SIGNED):
            raise RefusedError("expected keys or survivors of a secure sum to sign, got something else")
        return {"op": "sum_signed", "signature": base64.b64encode(self._sign(message)).decode()}

    def _keep(self, run_id: str, contract_version: int, line: Line) -> Line:
        digest = bytes.fromhex(line["session"])
        new = NewAnswer(
            terms=self._terms(run_id, digest),
            state=base64.b64decode(line["state"]),
            answers=[(int(number), str(request)) for number, request in line["answers"]],
            statement=bytes.fromhex(line["statement"]),
            cohort=tuple(line["cohort"]),
            finished=bool(line["finished"]),
        )
        over = self._ledger.keep(new, self._policy(contract_version).cohorts)
        return {"op": "sum_kept", "over": over}

    def _terms(self, run_id: str, digest: bytes) -> Terms:
        terms = self._known.get(digest)
        if terms is None:
            kept = self._ledger.find(digest)
            if kept is not None:
                terms = self._known[digest] = kept.terms
        if terms is None or terms.run != run_id:
            raise RuleError(Rule.SESSION, "expected a session of this run, got another")
        return terms


def _policy_line(policy: Policy) -> Mapping[str, Any]:
    return {
        "federation": policy.federation,
        "contract_version": policy.contract_version,
        "pinned": {name: key.hex() for name, key in policy.pinned.items()},
        "colluders": policy.colluders,
        "minimum": policy.minimum,
    }
