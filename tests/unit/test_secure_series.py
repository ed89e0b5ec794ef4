"""Sums of a series behind the aggregation seam: one exchange each, of all members or of none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jointrisk.learning.aggregation import Aggregate
from jointrisk.learning.flower import ArrayRecord, Message, MetricRecord, RecordDict, pack
from jointrisk.learning.secure_aggregation import RuleError
from jointrisk.learning.secure_runs import SecureAggregation
from secure_members import PLAIN, CohortAtHand, arrays_of, secure

FIVE = ("alder", "birch", "cedar", "dogwood", "elm")
FORM = {"counts": ((2, 3), "int64")}
ONE_SUM = ["query.secure_sum"] * 5
BEGUN = ["query.secure_keys"] * 5 + ["query.secure_agree"] * 5


def _counts(place: int) -> ArrayRecord:
    return ArrayRecord({"counts": pack(np.full((2, 3), 10**place, dtype=np.int64))})


def cohort(folder: Path) -> CohortAtHand:
    """Return five members whose counts tell who is in a sum."""

    def app(place: int) -> Callable[[Message], RecordDict]:
        return lambda _: RecordDict({"arrays": _counts(place), "metrics": MetricRecord({"num-examples": 1})})

    return CohortAtHand(folder, {name: app(place) for place, name in enumerate(FIVE)})


def question(model: int, names: tuple[str, ...] = FIVE) -> list[Message]:
    """Return one message about a model to each of these members."""
    content = RecordDict({"arrays": ArrayRecord({"model": pack(np.array([model]))})})
    return [Message(content, 1 + FIVE.index(name), "train.level_2") for name in names]


def ask(seam: SecureAggregation, members: CohortAtHand, model: int, names: tuple[str, ...] = FIVE) -> Aggregate:
    """Return what these members' parts come to."""
    return seam.sum(members, question(model, names), FORM, whole=True)


def total(found: Aggregate) -> int:
    """Return who is in a sum, a digit each."""
    assert found.reply is not None
    return int(arrays_of(found.reply.content)["counts"][0, 0])


def test_keys_are_agreed_on_once(tmp_path: Path) -> None:
    """Then every sum takes one exchange, over rounds too; each is the plain sum."""
    members = cohort(tmp_path)
    seam = secure(members, tmp_path / "run")
    for model in range(3):
        members.round = 1 + model
        plain = PLAIN.sum(members, question(model), FORM, whole=True)
        members.asked.clear()
        found = ask(seam, members, model)
        assert total(found) == total(plain) == 11111
        assert members.asked == ([] if model else BEGUN) + ONE_SUM
        assert (found.members, found.missing, found.guarantee.mode) == (FIVE, (), "secure")


@pytest.mark.parametrize("how", ["lost", "late"])
def test_who_is_missing_ends_the_series(tmp_path: Path, how: str) -> None:
    """Nothing of the sum is known. Another question goes on with those that are left, under fresh keys."""
    members = cohort(tmp_path)
    seam = secure(members, tmp_path / "run")
    assert total(ask(seam, members, 1)) == 11111
    members.fault = lambda who, _: how if who == "cedar" else ""
    missed = ask(seam, members, 2)
    assert (missed.reply, missed.missing) == (None, ("cedar",))
    members.asked.clear()
    four = tuple(name for name in FIVE if name != "cedar")
    assert total(ask(seam, members, 3, four)) == 11011
    assert members.asked[:4] == ["query.secure_keys"] * 4


def test_the_same_is_not_answered_for_fewer(tmp_path: Path) -> None:
    """Members that answered for five do not answer for four: the difference would be the fifth's part."""
    members = cohort(tmp_path)
    seam = secure(members, tmp_path / "run")
    members.fault = lambda who, kind: "late" if (who, kind) == ("cedar", "query.secure_sum") else ""
    assert ask(seam, members, 1).reply is None
    members.fault = lambda _who, _kind: ""
    four = tuple(name for name in FIVE if name != "cedar")
    refused = ask(seam, members, 1, four)
    assert refused.reply is None
    assert set(refused.missing) == set(four)
    assert all("one-cohort" in reason for reason in refused.failures.values())


def test_a_worker_that_begins_again_asks_the_same_members_under_fresh_keys(tmp_path: Path) -> None:
    """The question that was under way is answered again; masks are others, so that two answers have no difference."""
    members = cohort(tmp_path)
    assert total(ask(secure(members, tmp_path / "run"), members, 1)) == 11111
    members.asked.clear()
    assert total(ask(secure(members, tmp_path / "run"), members, 1)) == 11111
    assert members.asked == BEGUN + ONE_SUM


def test_too_few_begin_no_series(tmp_path: Path) -> None:
    """Below the minimum no keys are agreed on."""
    members = cohort(tmp_path)
    found = None
    with pytest.raises(RuleError, match="expected at least 4 members"):
        found = ask(secure(members, tmp_path / "run"), members, 1, FIVE[:3])
    assert found is None
    assert "query.secure_sum" not in members.asked
