"""The scorer computes what torch computes on the encoded rows, and refuses what does not fit."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract_sample import sample_contract
from jointrisk.errors import CorruptError, RefusedError, VersionMismatchError
from jointrisk.federation.signing import public_bytes
from jointrisk.learning.bundle import read_bundle
from jointrisk.learning.encoding import Encoding, NumericEncoding
from jointrisk.learning.scoring import NetworkScorer, Scorer, networks_of, probability
from model_sample import KEY, sample_arrays, sample_bundle, sample_encoding, sample_facts, sample_rows

Average = Literal["log odds", "probability"]


def _torch_log_odds(
    encoding: Encoding, arrays: dict[str, NDArray[np.float32]], rows: NDArray[np.float32], average: Average
) -> NDArray[np.float64]:
    inputs = torch.from_numpy(encoding.encode(rows))
    outputs = []
    for network in networks_of(arrays):
        layers: list[torch.nn.Module] = []
        for layer in network:
            linear = torch.nn.Linear(layer.weight.shape[1], layer.weight.shape[0])
            linear.load_state_dict({"weight": torch.from_numpy(layer.weight), "bias": torch.from_numpy(layer.bias)})
            layers += [linear, torch.nn.ReLU(), torch.nn.Dropout(0.3)]
        with torch.no_grad():
            outputs.append(torch.nn.Sequential(*layers[:-2]).eval()(inputs)[:, 0].double())
    stacked = torch.stack(outputs)
    if average == "log odds":
        return stacked.mean(0).numpy()
    return torch.logit(torch.sigmoid(stacked).mean(0)).numpy()


@pytest.mark.parametrize("average", ["log odds", "probability"])
@pytest.mark.parametrize(("networks", "hidden"), [(3, (128, 128)), (1, ()), (2, (5,))])
def test_scores_are_torchs(networks: int, hidden: tuple[int, ...], average: Average) -> None:
    """Within 1e-5, for networks and scorecards, in blocks and rests of blocks."""
    encoding = sample_encoding()
    arrays = sample_arrays(encoding.width, networks=networks, hidden=hidden)
    rows = sample_rows(2500)
    scores = NetworkScorer(encoding, networks_of(arrays), average).log_odds(rows)
    expected = _torch_log_odds(encoding, arrays, rows, average)
    assert np.abs(scores - expected).max() < 1e-5
    assert np.abs(probability(scores) - probability(expected)).max() < 1e-5
    assert np.ptp(expected) > 0.1


@settings(max_examples=60, deadline=None)
@given(
    edges=st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=49, unique=True).map(sorted),
    values=st.lists(st.floats(width=32, allow_infinity=False), min_size=1, max_size=20),
    missing=st.booleans(),
)
def test_tables_are_the_encoding(edges: list[float], values: list[float], missing: bool) -> None:
    """Any edges, any value: what is looked up is what would be multiplied out. Edges closer than 1e-3 left aside."""
    if np.diff(edges).min() < 1e-3:
        return
    encoding = Encoding(features=(NumericEncoding(name="x", missing=missing, edges=tuple(edges)),))
    arrays = sample_arrays(encoding.width, networks=1, hidden=())
    rows = np.array(values, dtype=np.float32)[:, None]
    expected = encoding.encode(rows).astype(np.float64) @ arrays["seed0/0.weight"][0].astype(np.float64)
    scorer = NetworkScorer(encoding, networks_of(arrays), "log odds")
    alone = np.concatenate([scorer.log_odds(row[None]) for row in rows])
    for scores in (scorer.log_odds(rows), alone):
        assert np.abs(scores - expected - arrays["seed0/0.bias"][0]).max() < 1e-5


def test_one_row_scores_as_among_many() -> None:
    """A row's score does not depend on its neighbours, but for the last bits of a float."""
    scorer = NetworkScorer(sample_encoding(), networks_of(sample_arrays(sample_encoding().width)), "log odds")
    rows = sample_rows(50)
    alone = np.concatenate([scorer.log_odds(rows[place : place + 1]) for place in range(len(rows))])
    assert np.abs(alone - scorer.log_odds(rows)).max() < 1e-5
    assert len(scorer.log_odds(rows[:0])) == 0


def test_a_bundles_scorer_fits_its_contract(tmp_path: Path) -> None:
    """The features of the contract, in its order; others are refused."""
    bundle = read_bundle(sample_bundle(tmp_path / "run"), public_bytes(KEY))
    scorer = Scorer.from_bundle(bundle)
    scorer.require_fit(sample_contract())
    terms = sample_contract()
    turned = terms.model_copy(update={"features": terms.features[::-1]})
    with pytest.raises(RefusedError, match="not the features of the contract"):
        scorer.require_fit(turned)


@pytest.mark.parametrize("facts", [{"architecture": "forest"}, {"settings": {"average": "median"}}])
def test_an_unknown_architecture_is_refused_readably(tmp_path: Path, facts: dict[str, Any]) -> None:
    """Rather than scored wrongly."""
    data = sample_bundle(tmp_path / "run", facts=sample_facts(**facts))
    with pytest.raises(VersionMismatchError, match="architectures mlp, scorecard, ga2m, trees, blend"):
        Scorer.from_bundle(read_bundle(data, public_bytes(KEY)))


def test_arrays_that_do_not_fit_are_refused() -> None:
    """Another width, several outputs, a missing half, a strange name, nothing at all."""
    encoding = sample_encoding()
    good = sample_arrays(encoding.width, networks=1)
    two_outputs = good | {"seed0/2.weight": np.ones((2, 8), np.float32), "seed0/2.bias": np.ones(2, np.float32)}
    scalar = good | {"seed0/1.bias": np.float32(1.0)}
    for bad in (sample_arrays(encoding.width + 1), two_outputs, scalar, {}):
        with pytest.raises(CorruptError, match="do not fit"):
            NetworkScorer(encoding, networks_of(bad), "log odds")  # type: ignore[arg-type]
    with pytest.raises(CorruptError, match="weight and bias"):
        networks_of({name: value for name, value in good.items() if name != "seed0/1.bias"})
    with pytest.raises(CorruptError, match="single precision"):
        networks_of(good | {"seed0/0.weight": good["seed0/0.weight"].astype(np.float64)})
    with pytest.raises(CorruptError, match="named"):
        networks_of({"weights": good["seed0/0.weight"]})
