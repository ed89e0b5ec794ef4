"""The personalised stage at a node: what is chosen on which rows, and what the choice costs when it is wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract_sample import sample_contract
from jointrisk.errors import CorruptError, DataBreachError, InvalidInputError, NotFoundError
from jointrisk.learning import personal, scoring
from jointrisk.learning.encoding import Rows
from jointrisk.learning.local import Local
from jointrisk.learning.personal import Personal
from jointrisk.learning.personal_scorer import PersonalScorer
from jointrisk.learning.reasons import Contributions
from jointrisk.learning.scoring import Scorer
from jointrisk.learning.tasks import MemberData
from jointrisk.learning.validation import held_out
from jointrisk_node.data import DataSettings
from jointrisk_node.models.personalising import own_rows, personalise, validation_share
from model_sample import sample_facts
from personal_sample import knowing_model, own_book, own_model, sample_model, sample_rows

SECRET = 77_777.0
"""A number that stands in a broken book."""


class _Linear(Scorer):
    """A shared model whose contributions can be told by hand."""

    def __init__(self) -> None:
        self.weights, self.base = np.array([1e-5, 0.5, -1e-4, 1.0]), -1.0

    def contributions(self, rows: Rows) -> Contributions:
        """Return each feature's part of the log odds; a missing value has none."""
        return Contributions(np.nan_to_num(rows * self.weights), self.base)

    def _block(self, rows: Rows) -> personal.Floats:
        return self.contributions(rows).log_odds

    def _explained(self, rows: Rows) -> Contributions:
        return self.contributions(rows)


def test_a_model_comes_back_from_its_text_the_same() -> None:
    """Scores and contributions to the last bit; the same rows give the same text."""
    rows, made = sample_rows(50, seed=9), own_model()
    again = Local.from_text(made.to_text())
    assert (again.log_odds(rows) == made.log_odds(rows)).all()
    assert len(set(made.log_odds(rows))) > 10
    assert (again.contributions(rows).values == made.contributions(rows).values).all()
    assert again.contributions(rows).log_odds == pytest.approx(made.log_odds(rows), abs=1e-9)
    assert own_model().to_text() == made.to_text()
    assert again.log_odds(rows[:0]).shape == (0,)


def test_what_is_no_model_and_no_row_is_refused() -> None:
    """A text that LightGBM does not read, rows of other features, contributions of no rows."""
    made = own_model()
    with pytest.raises(CorruptError, match="LightGBM reads"):
        Local.from_text("tree\nversion=v4\n")
    with pytest.raises(InvalidInputError, match="expected 4 columns"):
        made.log_odds(sample_rows(5)[:, :3])
    with pytest.raises(InvalidInputError, match="at least one"):
        made.contributions(sample_rows(5)[:0])


def test_the_personalised_score_is_the_formula_and_its_contributions_sum_to_it(tmp_path: Path) -> None:
    """Scale times the weighted mean, plus the offset; single rows as in a table."""
    rows, own, chosen = sample_rows(40), own_model(), Personal(0.3, 0.8, -0.25)
    shared = Scorer.from_bundle(sample_model(tmp_path))
    scorer = PersonalScorer(chosen, shared, own)
    expected = 0.8 * (0.3 * shared.log_odds(rows) + 0.7 * own.log_odds(rows)) - 0.25
    assert scorer.log_odds(rows) == pytest.approx(expected, abs=1e-12)
    assert scorer.log_odds(rows[:1])[0] == pytest.approx(expected[0], abs=1e-5)
    assert scorer.log_odds(rows[:0]).shape == (0,)
    scorer.require_fit(sample_contract())
    told = PersonalScorer(chosen, _Linear(), own)
    found = told.contributions(rows)
    assert found.values.shape == (40, 4)
    assert found.log_odds == pytest.approx(told.log_odds(rows), abs=1e-9)
    assert told.contributions(rows[:0]).values.shape == (0, 4)
    assert told.contributions(rows[:0]).baseline == pytest.approx(found.baseline)
    by_hand = 0.8 * (0.3 * (rows * _Linear().weights) + 0.7 * own.contributions(rows).values)
    assert found.values == pytest.approx(by_hand, abs=1e-9)


def test_a_model_of_ones_own_stays_alone_where_the_shared_one_is_wrong(tmp_path: Path) -> None:
    """The own model is the one of all rows, and its log odds are the score, to the last bit."""
    bundle, book = knowing_model(tmp_path, -1.0), own_book(2000, seed=3)
    found = personalise(bundle, sample_contract(), book)
    assert (found.kept, found.personal) == ("own", personal.ALONE)
    assert found.own is not None
    assert found.own.to_text() == own_model(book).to_text()
    scorer = PersonalScorer(found.personal, Scorer.from_bundle(bundle), found.own)
    assert (scorer.log_odds(book.features) == found.own.log_odds(book.features)).all()
    assert found.figures["own"].log_loss < found.figures["shared"].log_loss
    assert found.figures["personalised"] == found.figures["own"]
    assert (found.rows, found.validation_rows) == (2000, held_out(2000, 0.1).sum())


def test_a_shared_model_that_knows_the_book_is_recalibrated(tmp_path: Path) -> None:
    """Its ranking is right, its log odds half as wide and too low: it has most of the weight, and both are mended."""
    found = personalise(knowing_model(tmp_path, 0.5, -1.0), sample_contract(), own_book(4000))
    assert found.kept == "mix"
    assert found.personal.weight >= 0.7
    assert found.personal.scale > 1.3
    assert found.personal.offset > 1
    assert found.figures["personalised"].log_loss < found.figures["own"].log_loss < found.figures["shared"].log_loss


def test_the_shared_model_stays_where_nothing_is_better(tmp_path: Path) -> None:
    """It says what the labels were drawn by: a mix or the own model can be no better, and nothing is kept."""
    found = personalise(knowing_model(tmp_path), sample_contract(), own_book(800))
    assert (found.kept, found.personal, found.own) == ("shared", personal.SHARED, None)
    assert found.figures["personalised"] == found.figures["shared"]
    assert found.figures["shared"].log_loss < found.figures["own"].log_loss


def test_validation_rows_reach_no_model_that_the_choice_is_made_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the two models that are fitted only the second, which is kept, has seen a marker that stands in them alone."""
    bundle, book, out = knowing_model(tmp_path, -1.0), own_book(2000, seed=3), held_out(2000, 0.1)
    marked = book.features.copy()
    marked[out, 0] = 2 * marked[:, 0].max()
    fitted: list[Local] = []
    fit = Local.fit

    def watched(*what: Any) -> Local:
        fitted.append(fit(*what))
        return fitted[-1]

    monkeypatch.setattr(Local, "fit", watched)
    personalise(bundle, sample_contract(), MemberData(marked, book.labels))
    choosing, kept = fitted
    assert _greatest_income(choosing) == book.features[~out, 0].max()
    assert _greatest_income(kept) == marked[:, 0].max()


def test_the_shared_model_is_judged_as_it_was_before_it_saw_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a bundle holds the model that validation picked, that one is judged, and the other one scores."""
    picked = Scorer.from_bundle(knowing_model(tmp_path / "picked", 0.9))
    monkeypatch.setattr(scoring, "picked_scorer", lambda _: picked)
    book, out = own_book(), held_out(2000, 0.1)
    found = personalise(knowing_model(tmp_path / "all", -1.0), sample_contract(), book)
    expected = personal.log_loss(picked.log_odds(book.features[out]), book.labels[out])
    assert found.figures["shared"].log_loss == pytest.approx(expected)


def test_labels_of_validation_rows_reach_no_model_that_the_choice_is_made_with(tmp_path: Path) -> None:
    """With all of them turned round, the areas of the shared model and of the own one are one less what they were."""
    bundle, book, out = knowing_model(tmp_path, 0.5), own_book(), held_out(2000, 0.1)
    before = personalise(bundle, sample_contract(), book)
    turned = np.where(out, 1 - book.labels, book.labels).astype(np.uint8)
    after = personalise(bundle, sample_contract(), MemberData(book.features, turned))
    for name in ("shared", "own"):
        assert before.figures[name].auc == pytest.approx(1 - after.figures[name].auc, abs=1e-12)


def _greatest_income(model: Local) -> float:
    (line,) = [one for one in model.to_text().splitlines() if one.startswith("feature_infos=")]
    return float(line.removeprefix("feature_infos=").split()[0].strip("[]").split(":")[1])


def test_the_runs_own_share_is_held_out(tmp_path: Path) -> None:
    """What the bundle says, else a tenth; nonsense is refused."""
    bundle = sample_model(tmp_path, settings={"average": "log odds", "held_out": 0.25})
    assert personalise(bundle, sample_contract(), own_book()).validation_rows == held_out(2000, 0.25).sum()
    assert validation_share(sample_facts()) == 0.1
    for nonsense in (0.0, 1.0, 1, "0.1", None, True):
        with pytest.raises(CorruptError, match="a share"):
            validation_share(sample_facts(settings={"held_out": nonsense}))


def test_too_few_validation_rows_are_refused(tmp_path: Path) -> None:
    """By numbers of good and bad loans; the shared model goes on."""
    book = own_book(60)
    with pytest.raises(InvalidInputError, match="at least 5 good and 5 bad") as caught:
        personalise(sample_model(tmp_path), sample_contract(), book)
    assert "shared model" in caught.value.remedy


def test_a_book_that_is_missing_or_broken_is_told_without_its_values(tmp_path: Path) -> None:
    """No file, no source, a cell that breaks the contract."""
    contract = sample_contract()
    with pytest.raises(NotFoundError, match="no file"):
        own_rows(contract, DataSettings(source=str(tmp_path / "absent.csv")))
    with pytest.raises(InvalidInputError, match="source"):
        own_rows(contract, DataSettings())
    broken = tmp_path / "broken.csv"
    broken.write_text(
        "income,purpose,branch,has_phone,bad\n" + f"{SECRET},car,north,1,1\n" * 4 + "-77777,car,north,1,0\n"
    )
    with pytest.raises(DataBreachError, match="income") as caught:
        own_rows(contract, DataSettings(source=str(broken)))
    assert "77777" not in str(caught.value)
