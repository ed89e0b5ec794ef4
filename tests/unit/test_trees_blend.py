"""Blends by federated validation, and reasons from contributions."""

import numpy as np
import pytest

from contract_sample import sample_contract, sample_terms
from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning import blend
from jointrisk.learning.reasons import Contributions, blended, reasons
from jointrisk.learning.trees.explaining import TreeModel
from tree_sample import EXACT, grow_forest, log_loss, sample

RNG = np.random.default_rng(5)
TRUE = RNG.normal(size=6000)
LABELS = (RNG.random(6000) < 1 / (1 + np.exp(-TRUE))).astype(np.uint8)
NOISY = [TRUE + RNG.normal(size=6000) * noise for noise in (0.8, 1.0, 3.0)]


def grouped(*groups: str, sensitive: tuple[int, ...] = ()) -> FeatureContract:
    """Return the sample contract with these groups, and these features sensitive."""
    terms = sample_terms()
    for place, (feature, group) in enumerate(zip(terms["features"], groups, strict=True)):
        feature |= {"group": group, "sensitive": place in sensitive}
    return FeatureContract.model_validate(terms | {"version": 1})


@pytest.mark.parametrize(("models", "count"), [(1, 1), (2, 21), (3, 231), (4, 1771)])
def test_weights_are_all_twentieths(models: int, count: int) -> None:
    """Every weighting once; all sum to 1; each model alone is among them."""
    tried = blend.weightings(models)
    assert tried.shape == (count, models)
    assert len({tuple(one) for one in tried.tolist()}) == count
    np.testing.assert_allclose(tried.sum(axis=1), 1)
    assert tried.min() >= 0
    assert set(map(tuple, np.eye(models).tolist())) <= {tuple(one) for one in tried.tolist()}


def test_weights_follow_from_members_sums() -> None:
    """Summed over three members they are those of the pooled rows: two noisy models are better than either."""
    odds = np.stack(NOISY)
    parts = np.array_split(np.arange(6000), [700, 3000])
    each = [blend.sums_of(odds[:, part], LABELS[part]) for part in parts]
    assert {name: (value.shape, str(value.dtype)) for name, value in each[0].items()} == blend.form(3)
    summed = {name: np.sum([one[name] for one in each], axis=0) for name in each[0]}
    chosen, pooled = blend.choose(summed, 3), blend.choose(blend.sums_of(odds, LABELS), 3)
    assert chosen.weights == pooled.weights
    assert chosen.weights[0] > chosen.weights[2]
    assert 0.2 < chosen.weights[1] < 0.8
    assert chosen.log_loss < min(chosen.single) - 0.001
    mixed = blend.blended(NOISY, chosen.weights)
    assert chosen.log_loss == pytest.approx(log_loss(mixed, LABELS))
    assert chosen.single == pytest.approx([log_loss(one, LABELS) for one in NOISY])


def test_a_blend_that_is_no_better_is_the_best_model() -> None:
    """Of a model and nearly itself, one is taken alone."""
    odds = np.stack([TRUE, TRUE + 1e-4, NOISY[2]])
    assert sorted(blend.choose(blend.sums_of(odds, LABELS), 3).weights) == [0, 0, 1]


def test_sums_that_are_none_are_refused() -> None:
    """Losses of other weightings, of no rows, or that are no numbers."""
    sums = blend.sums_of(np.stack(NOISY), LABELS)
    broken = sums["losses"].astype(np.float64)
    broken[3] = np.nan
    for wrong in ({"losses": sums["losses"][:-1]}, {"rows": np.zeros(1, np.int64)}, {"losses": broken}):
        with pytest.raises(CorruptError):
            blend.choose(sums | wrong, 3)
    for models in (0, 5):
        with pytest.raises(InvalidInputError):
            blend.weightings(models)
    for weights in ((0.5, 0.4, 0.0), (0.5, 0.5), (1.5, -0.5, 0.0)):
        with pytest.raises(InvalidInputError):
            blend.blended(NOISY, weights)


def test_reasons_are_groups_that_raise_the_risk() -> None:
    """The strongest first; a group's text is that of its strongest feature; what lowers the risk is no reason."""
    contract = grouped("money", "loan", "money", "contact")
    found = reasons(contract, np.array([0.5, 0.9, 0.6, -2.0]))
    assert [(code.group, code.feature) for code in found] == [("money", "branch"), ("loan", "purpose")]
    assert found[0].contribution == pytest.approx(1.1)
    assert found[0].text == contract.features[2].reason
    assert len(reasons(contract, np.array([0.5, 0.9, 0.6, -2.0]), count=1)) == 1
    assert reasons(contract, np.array([-0.7, 0.0, 0.6, 0.0])) == ()


def test_a_sensitive_feature_is_never_a_reason() -> None:
    """Neither alone, nor as the text or the weight of its group."""
    contract = grouped("money", "loan", "money", "contact", sensitive=(0, 3))
    found = reasons(contract, np.array([5.0, 0.2, 0.1, 9.0]))
    assert [(code.group, code.feature, code.contribution) for code in found] == [
        ("loan", "purpose", 0.2),
        ("money", "branch", 0.1),
    ]
    with pytest.raises(InvalidInputError, match="expected 4"):
        reasons(sample_contract(), np.zeros(3))


def test_trees_explain_what_they_score() -> None:
    """Contributions and baseline sum to the forest's log odds within 1e-4, also of a blend of forests."""
    forests = [grow_forest(sample(seed=seed), EXACT) for seed in (1, 2)]
    rows = sample(500, seed=9).rows
    models = [TreeModel(forest) for forest in forests]
    for forest, model in zip(forests, models, strict=True):
        np.testing.assert_allclose(model.log_odds(rows), forest.log_odds(rows), atol=1e-6)
        np.testing.assert_allclose(model.contributions(rows).log_odds, forest.log_odds(rows), atol=1e-4)
    weights = (0.3, 0.7)
    both = blended([model.contributions(rows) for model in models], weights)
    expected = blend.blended([forest.log_odds(rows) for forest in forests], weights)
    np.testing.assert_allclose(both.log_odds, expected, atol=1e-4)
    with pytest.raises(InvalidInputError):
        blended([both], weights)
    with pytest.raises(InvalidInputError):
        blended([both, Contributions(both.values[:2], 0.0)], weights)


def test_rows_that_do_not_fit_are_refused() -> None:
    """Other columns; no rows to explain; no rows to score are no scores."""
    model = TreeModel(grow_forest(sample(), EXACT))
    with pytest.raises(InvalidInputError, match="expected 5 columns"):
        model.log_odds(np.zeros((2, 4), dtype=np.float32))
    with pytest.raises(InvalidInputError, match="at least one"):
        model.contributions(np.zeros((0, 5), dtype=np.float32))
    assert model.log_odds(np.zeros((0, 5), dtype=np.float32)).shape == (0,)
