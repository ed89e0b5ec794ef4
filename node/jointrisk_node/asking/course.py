"""One batch, until some quorum has answered it."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from jointrisk.errors import DeadlineError
from jointrisk.oprf.requester import Batch
from jointrisk_node.asking.generations import Generation, Generations
from jointrisk_node.asking.outcome import Blame, Missing, too_few
from jointrisk_node.asking.turn import Desk, Opened, Question, Turn

_READINGS = 3  # More often than that no ceremony ends while a batch is asked about.


class Course:
    """Tries quorum after quorum with the same blinded elements: they are charged once.

    Args:
        desk: what every turn needs.
        generations: keys and shares.
        question: purpose, consent, times.
        batch: the blinded elements.
    """

    def __init__(self, desk: Desk, generations: Generations, question: Question, batch: Batch) -> None:
        self.blamed: list[Blame] = []
        self._desk = desk
        self._generations = generations
        self._question = question
        self._batch = batch
        self._missing: dict[str, Missing] = {}
        self._deadline = asyncio.get_running_loop().time() + question.within.total_seconds()

    async def run(self) -> Opened:
        """Return the keys.

        Raises:
            UnavailableError: too few holders can be had; the error names the others, why, and since when.
            RefusedError: too few are willing; `QuotaError` where that is because of quotas.
            DeadlineError: it took too long.
            NotFoundError: this node knows no key of the epoch.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._run()
        except TimeoutError:
            named = "; ".join(f"{name} ({one.why})" for name, one in sorted(self._missing.items())) or "none failed"
            seconds = self._question.within.total_seconds()
            raise DeadlineError(
                f"expected answers of enough holders within {seconds:g} s, got fewer; failed so far: {named}",
                remedy="Nothing was looked up. Try again, or raise [asking] in node.toml.",
            ) from None

    async def _run(self) -> Opened:
        for _ in range(_READINGS):
            newest, *older = await self._generations.of(self._question.epoch)
            for generation in (newest, *older):
                opened = await self._with(generation)
                if opened is not None:
                    return opened
                if not self._others_generation():
                    raise self._too_few(generation)
            if not await self._generations.reload():
                break
        raise self._too_few(newest)

    async def _with(self, generation: Generation) -> Opened | None:
        """Ask quorums of one generation; None when no other is left."""
        self._missing = {name: one for name, one in self._missing.items() if not one.other_generation}
        while names := self._choose(generation):
            turn = Turn(self._desk, self._hurried(), generation, names, self._batch, self.blamed)
            taken = await turn.take()
            if isinstance(taken, Opened):
                return taken
            self._missing |= taken
        return None

    def _choose(self, generation: Generation) -> tuple[str, ...] | None:
        me, threshold = generation.me, generation.key.threshold
        for name in generation.indices:
            if name == me and generation.share is None:
                self._missing[name] = Missing("is this node, which has no share of it any more")
            elif avoided := self._desk.standing.avoided(name):
                self._missing.setdefault(name, avoided)
        left = [name for name in generation.indices if name not in self._missing]
        if len(left) < threshold:
            return None
        # The own share costs nobody anything; the others share the work evenly.
        others = sorted((name for name in left if name != me), key=lambda _: self._desk.randomness(8))
        others = self._desk.standing.ordered(others, self._question.purpose)
        return tuple(sorted(([me] * (me in left) + others)[:threshold]))

    def _hurried(self) -> Question:
        """Return the question with no more time for a call than is left."""
        left = timedelta(seconds=max(self._deadline - asyncio.get_running_loop().time(), 0.001))
        return replace(self._question, call=min(self._question.call, left))

    def _others_generation(self) -> bool:
        return any(one.other_generation for one in self._missing.values())

    def _too_few(self, generation: Generation) -> Exception:
        key = generation.key
        missing = {name: one for name, one in self._missing.items() if name in generation.indices}
        return too_few(key.epoch, key.generation, key.threshold, len(key.holders), missing)
