"""What features add to log odds: it sums to them for every architecture, and is what the stated methods say."""

import itertools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from jointrisk.errors import CorruptError, RefusedError, VersionMismatchError
from jointrisk.federation.signing import public_bytes
from jointrisk.learning.bundle import Bundle, read_bundle
from jointrisk.learning.scoring import Scorer, picked_scorer, scorer_of
from jointrisk.learning.trees.bins import BinPlan
from jointrisk.learning.trees.forest import Forest
from model_sample import KEY, sample_arrays, sample_bundle, sample_encoding, sample_facts, sample_pairs, sample_rows
from tree_sample import EXACT, Sample, grow_forest

ENCODING = sample_encoding()
WIDTH = ENCODING.width
ROWS = sample_rows(700)
MEANS = ENCODING.encode(ROWS).astype(np.float64).mean(axis=0).round(9)
SAID: Mapping[str, Any] = {"means": MEANS.tolist()}
Arrays = Mapping[str, NDArray[np.generic]]


def forest_arrays() -> Arrays:
    """Return trees over the sample encoding that tell rows apart by every feature."""
    rows = sample_rows(3000, seed=8)
    odds = np.nan_to_num(rows[:, 0] / 50_000) + 2 * (rows[:, 1] == 2) - 2 * rows[:, 3] * (rows[:, 0] > 0)
    labels = np.random.default_rng(1).random(len(rows)) < 1 / (1 + np.exp(-odds))
    forest: Forest = grow_forest(Sample(rows, labels.astype(np.uint8)), EXACT, plan=BinPlan.of(ENCODING))
    return forest.arrays()


MAKERS: Mapping[str, Callable[[], tuple[str, Mapping[str, Any], Arrays]]] = {
    "scorecard": lambda: ("scorecard", SAID, sample_arrays(WIDTH, networks=1, hidden=())),
    "mlp": lambda: ("mlp", SAID, sample_arrays(WIDTH, networks=3, hidden=(16, 16))),
    "mean probability": lambda: ("mlp", {**SAID, "average": "probability"}, sample_arrays(WIDTH, hidden=(16,))),
    "ga2m": lambda: ("ga2m", SAID, sample_pairs(WIDTH)),
    "trees": lambda: ("trees", {}, forest_arrays()),
    "blend": lambda: ("blend", *blend_parts("mlp", "ga2m", "trees")),
}


def blend_parts(*names: str, weights: tuple[float, ...] = (0.5, 0.2, 0.3)) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a blend's settings and arrays."""
    made = {name: MAKERS[name]() for name in names}
    parts = [
        {"name": name, "architecture": architecture, "weight": weight, "settings": dict(said)}
        for (name, (architecture, said, _)), weight in zip(made.items(), weights, strict=True)
    ]
    arrays = {f"{name}/{key}": value for name, (_, _, own) in made.items() for key, value in own.items()}
    return {"parts": parts}, arrays


def scorer(name: str) -> Scorer:
    """Return one architecture's scorer of a sample model."""
    return scorer_of(ENCODING, *MAKERS[name]())


def bundle_of(folder: Path, architecture: str, said: Mapping[str, Any], arrays: Mapping[str, Any]) -> Bundle:
    """Return a verified bundle."""
    facts = sample_facts(architecture=architecture, settings=dict(said))
    return read_bundle(sample_bundle(folder, facts=facts, arrays=arrays), public_bytes(KEY))


@pytest.mark.parametrize("name", MAKERS)
def test_contributions_sum_to_the_log_odds(name: str) -> None:
    """Within 1e-4, for rows with missing values, words and values far outside; alone as among many; none for none."""
    made = scorer(name)
    found = made.contributions(ROWS)
    assert found.values.shape == (len(ROWS), 4)
    assert found.values.dtype == np.float64
    assert np.abs(found.log_odds - made.log_odds(ROWS)).max() < 1e-4
    assert (np.ptp(found.values, axis=0) > 0).sum() >= 3
    alone = [made.contributions(ROWS[place : place + 1]) for place in range(20)]
    assert np.abs(np.concatenate([one.values for one in alone]) - found.values[:20]).max() < 1e-4
    nobody = made.contributions(ROWS[:0])
    assert nobody.values.shape == (0, 4)
    assert nobody.baseline == pytest.approx(found.baseline)


def test_a_scorecard_adds_weights_times_distances_from_the_mean() -> None:
    """Feature by feature; the baseline is the log odds of the mean input, which is the mean of the rows' own."""
    arrays = MAKERS["scorecard"]()[2]
    weights = np.asarray(arrays["seed0/0.weight"][0], dtype=np.float64)
    each = (ENCODING.encode(ROWS) - MEANS) * weights
    expected = np.stack([each[:, begin:end].sum(axis=1) for begin, end in ENCODING.spans], axis=1)
    found = scorer("scorecard").contributions(ROWS)
    assert np.abs(found.values - expected).max() < 1e-5
    assert found.baseline == pytest.approx(scorer("scorecard").log_odds(ROWS).mean(), abs=1e-5)


def test_a_network_that_is_linear_says_what_a_scorecard_says() -> None:
    """Hidden units that never switch off make a sum of weights."""
    arrays = sample_arrays(WIDTH, networks=1, hidden=(8,))
    arrays["seed0/0.bias"] += 50
    flat = {
        "seed0/0.weight": arrays["seed0/1.weight"] @ arrays["seed0/0.weight"],
        "seed0/0.bias": arrays["seed0/1.weight"] @ arrays["seed0/0.bias"] + arrays["seed0/1.bias"],
    }
    network, card = (
        scorer_of(ENCODING, name, SAID, own).contributions(ROWS) for name, own in (("mlp", arrays), ("scorecard", flat))
    )
    assert np.abs(network.values - card.values).max() < 1e-4
    assert network.baseline == pytest.approx(card.baseline, abs=1e-4)


@pytest.mark.parametrize("name", ["mlp", "mean probability"])
def test_a_network_is_explained_by_integrated_gradients(name: str) -> None:
    """As torch's own gradients say at 2,000 places of the way from the mean input to the row's."""
    _, said, arrays = MAKERS[name]()
    means, inputs = torch.from_numpy(MEANS), torch.from_numpy(ENCODING.encode(ROWS[:8])).double()
    way = (torch.arange(2000).double() + 0.5) / 2000
    at = (means + (inputs - means) * way[:, None, None]).requires_grad_()
    score = _averaged(arrays, at.flatten(0, 1), said.get("average", "log odds"))
    each = ((inputs - means) * torch.autograd.grad(score.sum(), at)[0].mean(0)).numpy()
    expected = np.stack([each[:, begin:end].sum(axis=1) for begin, end in ENCODING.spans], axis=1)
    found = scorer(name).contributions(ROWS[:8]).values
    assert np.abs(found - expected).max() < 0.01
    assert np.abs(expected).max() > 0.1


def _averaged(arrays: Arrays, inputs: torch.Tensor, average: str) -> torch.Tensor:
    networks = sorted({name.partition("/")[0] for name in arrays})
    outputs = []
    for network in networks:
        hidden, last = inputs, max(int(name[name.index("/") + 1]) for name in arrays)
        for layer in range(last + 1):
            weight, bias = (torch.tensor(arrays[f"{network}/{layer}.{part}"]).double() for part in ("weight", "bias"))
            hidden = torch.nn.functional.linear(hidden, weight, bias)
            hidden = torch.relu(hidden) if layer < last else hidden
        outputs.append(hidden[:, 0])
    stacked = torch.stack(outputs)
    return stacked.mean(0) if average == "log odds" else torch.logit(torch.sigmoid(stacked).mean(0))


def _pairs_log_odds(arrays: Arrays, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute additive models with pairs as their definition has it: pair by pair."""
    total = np.zeros(len(inputs))
    for network in ("seed0", "seed1"):
        main, bias, pairs = (
            arrays[f"{network}/{part}"].astype(np.float64) for part in ("main.weight", "main.bias", "pairs.weight")
        )
        total += inputs @ main[0] + bias[0]
        places = [inputs[:, begin:end] @ pairs[:, begin:end].T for begin, end in ENCODING.spans]
        total += sum((one * other).sum(axis=1) for one, other in itertools.combinations(places, 2))
    return total / 2


def test_pairs_score_as_their_definition_says() -> None:
    """Every feature with every other, and none with itself."""
    arrays = MAKERS["ga2m"]()[2]
    expected = _pairs_log_odds(arrays, ENCODING.encode(ROWS).astype(np.float64))
    assert np.abs(scorer("ga2m").log_odds(ROWS) - expected).max() < 1e-4


def test_pairs_are_explained_by_shapley_values() -> None:
    """By enumeration: all coalitions of the four features, the others at the mean input."""
    arrays, inputs = MAKERS["ga2m"]()[2], ENCODING.encode(ROWS[:30]).astype(np.float64)
    worth = {}
    for coalition in itertools.product((0, 1), repeat=4):
        mixed = np.tile(MEANS, (len(inputs), 1))
        for (begin, end), taken in zip(ENCODING.spans, coalition, strict=True):
            if taken:
                mixed[:, begin:end] = inputs[:, begin:end]
        worth[coalition] = _pairs_log_odds(arrays, mixed)
    expected = np.zeros((len(inputs), 4))
    for coalition, value in worth.items():
        for place in (place for place in range(4) if not coalition[place]):
            joined = tuple(1 if other == place else taken for other, taken in enumerate(coalition))
            share = math.factorial(sum(coalition)) * math.factorial(3 - sum(coalition)) / math.factorial(4)
            expected[:, place] += share * (worth[joined] - value)
    found = scorer("ga2m").contributions(ROWS[:30])
    assert np.abs(found.values - expected).max() < 1e-4
    assert found.baseline == pytest.approx(worth[0, 0, 0, 0][0], abs=1e-5)


def test_a_blend_is_the_weighted_mean_of_its_parts(tmp_path: Path) -> None:
    """Scores, contributions and baselines; read from a bundle; a part without weight says nothing."""
    made = Scorer.from_bundle(bundle_of(tmp_path / "a", *MAKERS["blend"]()))
    parts = [scorer(name) for name in ("mlp", "ga2m", "trees")]
    expected = sum(weight * part.log_odds(ROWS) for weight, part in zip((0.5, 0.2, 0.3), parts, strict=True))
    assert np.abs(made.log_odds(ROWS) - expected).max() < 1e-9
    each = [part.contributions(ROWS[:50]) for part in parts]
    mixed = sum(weight * one.values for weight, one in zip((0.5, 0.2, 0.3), each, strict=True))
    assert np.abs(made.contributions(ROWS[:50]).values - mixed).max() < 1e-9
    one = bundle_of(tmp_path / "b", "blend", *blend_parts("mlp", "ga2m", "trees", weights=(0, 1, 0)))
    assert (Scorer.from_bundle(one).log_odds(ROWS) == parts[1].log_odds(ROWS)).all()


def test_the_second_model_of_a_bundle_is_only_scored_with_where_it_is_asked_for(tmp_path: Path) -> None:
    """What was fitted without the validation rows lies under "picked/"; where there is none the model is that."""
    architecture, said, arrays = MAKERS["blend"]()
    other = {f"picked/{name}": value for name, value in arrays.items()}
    other["picked/mlp/seed0/2.bias"] = np.asarray(arrays["mlp/seed0/2.bias"], np.float32) + 6
    both = bundle_of(tmp_path / "a", architecture, said, {**arrays, **other})
    first, second = Scorer.from_bundle(both).log_odds(ROWS), picked_scorer(both).log_odds(ROWS)
    assert np.abs(second - first - 1).max() < 1e-5
    single = bundle_of(tmp_path / "b", architecture, said, arrays)
    assert (picked_scorer(single).log_odds(ROWS) == first).all()


def test_blends_that_are_none_are_refused(tmp_path: Path) -> None:
    """Weights, names, architectures and arrays that do not belong together."""
    said, arrays = blend_parts("mlp", "ga2m", "trees")
    mlp, pairs, trees = said["parts"]
    inside = {"name": "inside", "architecture": "blend", "weight": 1.0, "settings": {"parts": [mlp | {"weight": 1.0}]}}
    for parts, error, words in (
        ([mlp, pairs, trees | {"weight": 0.2}], CorruptError, "sum to 1"),
        ([mlp, pairs, trees | {"weight": float("inf")}], CorruptError, "name, architecture, weight"),
        ([mlp, pairs, trees | {"weight": -0.3}], CorruptError, "name, architecture, weight"),
        ([mlp, mlp, mlp | {"weight": 0.0}], CorruptError, "name of their own"),
        ([mlp, pairs, trees | {"name": "picked"}], CorruptError, "name of their own"),
        ([mlp, pairs | {"weight": 0.5}], CorruptError, "others as well"),
        ([mlp, pairs, trees | {"architecture": "oracle"}], VersionMismatchError, "got another one"),
        ([inside], CorruptError, "got one of blends"),
        ([], CorruptError, "name, architecture, weight"),
    ):
        with pytest.raises(error, match=words):
            scorer_of(ENCODING, "blend", {"parts": parts}, arrays)
    with pytest.raises(CorruptError, match="others as well"):
        Scorer.from_bundle(bundle_of(tmp_path, "blend", said, {**arrays, "more": np.zeros(1)}))
    with pytest.raises(CorruptError, match="name, architecture, weight"):
        scorer_of(ENCODING, "blend", {}, arrays)


def test_pairs_that_do_not_fit_are_refused() -> None:
    """Another width or rank, a missing array, a strange name, another precision, nothing at all."""
    good = sample_pairs(WIDTH)
    for bad in (
        sample_pairs(WIDTH + 1),
        {**good, "seed1/pairs.weight": good["seed1/pairs.weight"][:2]},
        {**good, "seed1/main.bias": np.zeros(2, np.float32)},
        {**good, "seed1/pairs.weight": good["seed1/pairs.weight"][0]},
        {},
    ):
        with pytest.raises(CorruptError, match="do not fit"):
            scorer_of(ENCODING, "ga2m", SAID, bad)
    with pytest.raises(CorruptError, match="of every network"):
        scorer_of(ENCODING, "ga2m", SAID, {name: value for name, value in good.items() if name != "seed1/main.bias"})
    for name, value in (("seed0/0.weight", good["seed0/main.weight"]), ("seed0/main.bias", np.zeros(1))):
        with pytest.raises(CorruptError, match="arrays named"):
            scorer_of(ENCODING, "ga2m", SAID, {**good, name: value})


@pytest.mark.parametrize("name", ["scorecard", "mlp", "ga2m"])
def test_a_model_without_means_scores_and_tells_no_reasons(name: str) -> None:
    """Those of before there were any; means that are none are refused when the model is read."""
    architecture, _, arrays = MAKERS[name]()
    old = scorer_of(ENCODING, architecture, {"average": "log odds"}, arrays)
    assert (old.log_odds(ROWS) == scorer(name).log_odds(ROWS)).all()
    with pytest.raises(RefusedError, match="means of its inputs"):
        old.contributions(ROWS)
    for means in (MEANS[:-1].tolist(), [*MEANS[:-1].tolist(), "0"], 0.5, [math.nan] * WIDTH):
        with pytest.raises(CorruptError, match="mean of every input"):
            scorer_of(ENCODING, architecture, {"means": means}, arrays)
