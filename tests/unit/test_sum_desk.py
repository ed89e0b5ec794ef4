"""What a node's daemon lets its worker do in secure sums: which terms it enters, what it signs, which answers leave."""

import base64
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jointrisk.errors import RefusedError
from jointrisk.federation.policy import RunOffer
from jointrisk.learning.secure_aggregation import Count, Layout, Mode, Policy, Terms, encoding
from jointrisk_node.sums import SumDesk, SumPolicy
from jointrisk_node.training.workers import require_protected
from rounds import World

NAMES = ("alder", "birch", "cedar")
RUN = "run-1"


class Desk:
    """A desk, and the lines that a worker of one run would send."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder, NAMES)
        keys = self.world.public_keys()
        policy = SumPolicy(Policy("test", 1, keys, 1, 3), 1)
        self.ledger = self.world.ledger("birch")
        self.desk = SumDesk("birch", lambda _: policy, self.ledger, self.world.identity("birch").sign)
        self.terms = Terms(
            Mode.ROUND, bytes(16), "test", RUN, 1, 1, "train", 1, 1, 3, 3, tuple(sorted(keys.items())), bytes(32),
            Layout((Count(3, 10),), 10, weighted=False),
        )  # fmt: skip

    async def open(self, terms: Terms, *, said: bool = True) -> dict[str, Any]:
        """Open a session."""
        shown = base64.b64encode(terms.encoded).decode() if said else None
        return await self.desk.answer(RUN, 1, {"op": "sum_open", "session": terms.digest.hex(), "terms": shown})

    async def sign(self, message: bytes) -> dict[str, Any]:
        """Ask for a signature in the session."""
        line = {"op": "sum_sign", "session": self.terms.digest.hex(), "message": base64.b64encode(message).decode()}
        return await self.desk.answer(RUN, 1, line)

    async def keep(self, terms: Terms, number: int = 1, **changed: Any) -> dict[str, Any]:
        """Store an answer."""
        line = {
            "op": "sum_keep", "session": terms.digest.hex(), "state": base64.b64encode(b"state").decode(),
            "answers": [[number, os.urandom(32).hex()]], "statement": "", "cohort": [], "finished": False,
        }  # fmt: skip
        return await self.desk.answer(RUN, 1, line | changed)


TERMS: dict[str, tuple[str, Callable[[Terms], Terms]]] = {
    "of another run": ("session", lambda t: replace(t, run="run-2")),
    "of another federation": ("session", lambda t: replace(t, federation="other")),
    "with fewer colluders than its policy says": ("colluders", lambda t: replace(t, colluders=0, threshold=2)),
    "with a stranger": ("pinned-members", lambda t: replace(t, members=(*t.members, ("stranger", bytes(32))))),
    "with another key": ("pinned-members", lambda t: replace(t, members=(("alder", bytes(32)), *t.members[1:]))),
    "without a threshold that ends a split view": ("threshold", lambda t: replace(t, threshold=2)),
}


@pytest.mark.parametrize("case", TERMS)
async def test_terms_that_do_not_protect_are_refused(tmp_path: Path, case: str) -> None:
    """The reason names the rule; nothing is signed in such a session."""
    desk = Desk(tmp_path)
    rule, change = TERMS[case]
    said = await desk.open(change(desk.terms))
    assert (said["op"], said["code"]) == ("refused", "refused")
    assert said["reason"].startswith(f"{rule}: ")


async def test_only_keys_and_survivors_of_a_session_are_signed(tmp_path: Path) -> None:
    """Not a document, not keys of another session, not before the session was entered."""
    desk = Desk(tmp_path)
    domain = encoding.block(b"jointrisk/v1/secagg-keys")
    assert (await desk.sign(domain + desk.terms.digest + b"keys"))["op"] == "refused"
    assert (await desk.open(desk.terms))["op"] == "sum_opened"
    signed = await desk.sign(domain + desk.terms.digest + b"keys")
    key = desk.world.identity("birch").public_key()
    key.verify(base64.b64decode(signed["signature"]), domain + desk.terms.digest + b"keys")
    for message in (b"jointrisk/v1/document\0roster\0{}", domain + bytes(32), desk.terms.digest):
        assert "expected keys or survivors" in (await desk.sign(message))["reason"]


async def test_a_session_whose_state_is_lost_is_over(tmp_path: Path) -> None:
    """Its attempt does not begin again; the next one does, and ends it."""
    desk = Desk(tmp_path)
    await desk.open(desk.terms)
    assert (await desk.keep(desk.terms))["op"] == "sum_kept"
    later = replace(desk.terms, attempt=2, session=bytes([1] * 16))
    await desk.open(later)
    assert (await desk.keep(later))["over"]
    await desk.open(desk.terms)
    assert (await desk.keep(desk.terms, 2))["reason"].startswith("attempt: ")
    assert desk.ledger.find(desk.terms.digest) is None


async def test_what_was_signed_is_signed_never_again_even_after_the_run(tmp_path: Path) -> None:
    """A coordinator that ends a run and begins one of the same name finds attempts and claims where they were."""
    desk = Desk(tmp_path)
    statement = bytes(32).hex()
    await desk.open(desk.terms)
    kept = await desk.keep(desk.terms, 4, statement=statement, cohort=list(NAMES), finished=True)
    assert kept["op"] == "sum_kept"
    desk.desk.forget_run(RUN)
    later = replace(desk.terms, attempt=2, session=bytes([1] * 16))
    await desk.open(later)
    assert (await desk.keep(later))["reason"].startswith("never-again: ")
    other = replace(later, round=2)
    await desk.open(other)
    refused = await desk.keep(other, 4, statement=statement, cohort=list(NAMES[:2]), finished=True)
    assert refused["reason"].startswith("one-cohort: ")


async def test_states_are_sealed(tmp_path: Path) -> None:
    """What a session's state holds is not in the database's files."""
    desk = Desk(tmp_path)
    await desk.open(desk.terms)
    needle = b"a private key that nobody may read"
    await desk.keep(desk.terms, state=base64.b64encode(needle).decode())
    files = b"".join(path.read_bytes() for path in (tmp_path / "birch").iterdir())
    kept = desk.ledger.find(desk.terms.digest)
    assert kept is not None
    assert kept.state == needle
    assert needle not in files


@pytest.mark.parametrize(
    ("aggregation", "kind"), [("secure", "train"), ("secure", "query.coarse"), ("plain", "query.secure_keys")]
)
def test_a_run_stays_what_was_accepted(aggregation: str, kind: str) -> None:
    """A coordinator that offered a secure run cannot ask plainly, nor the other way round."""
    offer = RunOffer.model_validate(
        {
            "run_id": RUN,
            "task": "probe",
            "strategy": "fedavg",
            "rounds": 1,
            "run_seed": 1,
            "members": NAMES,
            "minimum_members": 3,
            "contract_version": 0,
            "code_version": "1",
            "aggregation": aggregation,
        }
    )
    with pytest.raises(RefusedError, match="accepted with aggregation"):
        require_protected(offer, kind)
