"""Before the first round: every member is offered the run, and those who accept in time are its participants."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

from jointrisk import durable
from jointrisk.federation.policy import RunOffer
from jointrisk.learning.code_version import code_version
from jointrisk.transfer import Header, message_id
from jointrisk_coordinator.runs.hub import Hub
from jointrisk_coordinator.runs.ledger import ParticipantView, RunView
from jointrisk_coordinator.runs.quorum import Monotonic, Rules, Verdict, decide
from jointrisk_coordinator.runs.tickets import Answer, Order

_LONGEST_ANSWER = 4096
Noted = Callable[[ParticipantView], None]
Mailbox = asyncio.Queue[Answer | None]
"""Answers of one run's members; None when somebody has come or gone."""


def offer_of(run: RunView) -> RunOffer:
    """Return what members are asked to take part in."""
    settings = run.settings
    return RunOffer(
        run_id=run.run_id,
        task=settings.task,
        task_settings=settings.task_settings,
        strategy=settings.strategy,
        rounds=settings.rounds,
        run_seed=settings.run_seed,
        members=tuple(participant.member_id for participant in run.participants),
        minimum_members=max(settings.minimum_members, settings.quorum),
        contract_version=run.contract_version,
        code_version=code_version(),
        aggregation=settings.aggregation,
        colluders=settings.colluders,
    )


class OfferPhase:
    """Asks all members of one run and waits for what they say.

    Args:
        hub: the streams.
        run: the run, "starting".
        mailbox: where answers arrive.
        heard: told each answer as it comes.
        waiting: told for whom it waits, for people.
        monotonic: seconds.
    """

    def __init__(
        self,
        hub: Hub,
        run: RunView,
        mailbox: Mailbox,
        *,
        heard: Noted,
        waiting: Callable[[list[str]], None],
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._hub = hub
        self._run = run
        self._mailbox = mailbox
        self._heard = heard
        self._waiting = waiting
        self._monotonic = monotonic
        self._answers: dict[str, ParticipantView] = {}
        self._numbers = {participant.member_id: participant.number for participant in run.participants}

    async def collect(self) -> tuple[bool, list[ParticipantView]]:
        """Return whether enough members accepted, and what each said; who said nothing in time has "left"."""
        rules = self._run.settings.offer_rules()
        orders = self._orders(rules)
        self._hub.ask(orders)
        began = self._monotonic()
        verdict = await self._wait(rules, began)
        self._hub.release(self._run.run_id, 0)
        silent = (
            ParticipantView(member, number, "left", "did not answer the offer in time")
            for member, number in self._numbers.items()
            if member not in self._answers
        )
        answers = sorted([*self._answers.values(), *silent], key=lambda answer: answer.number)
        return verdict is Verdict.GO, answers

    async def _wait(self, rules: Rules, began: float) -> Verdict:
        while True:
            now = self._monotonic()
            pending = [member for member in self._numbers if member not in self._answers]
            away = {m: now - s for m in pending if (s := self._hub.away_seconds(m)) is not None}
            good = sum(answer.state == "accepted" for answer in self._answers.values())
            decision = decide(rules, good=good, pending=pending, away_since=away, began=began, now=now)
            if decision.verdict is not Verdict.WAIT:
                return decision.verdict
            self._waiting(sorted(away))
            await self._next(decision.until - now)

    async def _next(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                answer = await self._mailbox.get()
        except TimeoutError:
            return
        if answer is not None and answer.member_id in self._numbers:
            said = self._judge(answer)
            self._answers[answer.member_id] = said
            self._heard(said)

    def _judge(self, answer: Answer) -> ParticipantView:
        number = self._numbers[answer.member_id]
        if answer.reply is not None and _accepts(answer.reply):
            return ParticipantView(answer.member_id, number, "accepted")
        reason = f"{answer.code}: {answer.reason}" if answer.code else "answered the offer with something else"
        return ParticipantView(answer.member_id, number, "refused", reason)

    def _orders(self, rules: Rules) -> list[Order]:
        content = offer_of(self._run).model_dump_json().encode()
        digest = hashlib.sha256(content).digest()
        out = durable.folder(self._hub.runs_folder / self._run.run_id / "out") / digest.hex()
        durable.write(out, content)
        return [
            Order(
                run_id=self._run.run_id,
                member_id=member,
                round=0,
                base_round=0,
                kind="offer",
                header=Header(message_id(self._run.run_id, 0, 1, "offer", member), len(content), digest),
                content=out,
                budget_ms=round(rules.deadline * 1000),
            )
            for member in self._numbers
        ]


def _accepts(reply: Path) -> bool:
    if reply.stat().st_size > _LONGEST_ANSWER:
        return False
    try:
        said = json.loads(reply.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("accepted") is True
