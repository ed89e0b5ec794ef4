"""The scorecard's points: they add up to the model's own log odds, and to odds twice as good for the PDO."""

import numpy as np
import pytest

from jointrisk.errors import CorruptError
from jointrisk.federation.contract import Feature, FeatureContract, Reason, Target
from jointrisk.learning.encoding import CategoryEncoding, Encoding, FlagEncoding, NumericEncoding
from jointrisk.learning.points import PointsTable, Scale, points_table
from jointrisk.learning.scoring import Layer, NetworkScorer

_ENCODING = Encoding(
    features=(
        NumericEncoding(name="income", missing=True, edges=(0.0, 10.0, 50.0)),
        FlagEncoding(name="phone", missing=False),
        CategoryEncoding(name="job", missing=True, hashed=False, kept=(0, 2), other=True),
    )
)
_NAN = float("nan")


def _feature(name: str, kind: str, words: tuple[str, ...] | None = None) -> Feature:
    said = {"name": name, "kind": kind, "unit": "USD" if kind == "numeric" else "", "categories": words}
    rest = {"missing": "allowed", "direction": "none", "sensitive": False, "changeable_by_customer": False}
    text = {"group": "general", "as_of": "application", "reason": Reason(en="A reason", zh="一个原因")}
    return Feature.model_validate(said | rest | text)


_TARGET = Target(definition="d", observation_window="12 months", performance_window="24 months", label_column="bad")
_CONTRACT = FeatureContract(
    title="t",
    minimum_rows=1000,
    target=_TARGET,
    features=(
        _feature("income", "numeric"),
        _feature("phone", "flag"),
        _feature("job", "category", ("clerk", "smith", "baker")),
    ),
)


def _network() -> list[Layer]:
    weight = np.random.default_rng(1).normal(size=(1, _ENCODING.width)).astype(np.float32)
    return [Layer(weight, np.array([-1.5], dtype=np.float32))]


def _points(table: PointsTable, *values: str) -> float:
    found = {(line.feature, line.value): line.points for line in table.lines}
    return table.base + sum(found[key] for key in zip(("income", "phone", "job"), values, strict=True))


def test_points_of_a_row_are_the_points_of_its_log_odds() -> None:
    """Edges, words, other words and missing values, each beside the scorer itself."""
    network, scale = _network(), Scale(doubling=25, points=500, odds=20)
    table, scorer = points_table(_CONTRACT, _ENCODING, network, scale), NetworkScorer(_ENCODING, [network], "log odds")
    rows = {
        ("0", "0", "clerk"): (0, 0, 0),
        ("10", "1", "baker"): (10, 1, 2),
        ("50", "1", "other"): (50, 1, 1),
        ("missing", "0", "missing"): (_NAN, 0, _NAN),
    }
    for said, row in rows.items():
        log_odds = scorer.log_odds(np.array([row], dtype=np.float32))[0]
        assert _points(table, *said) == pytest.approx(scale.of(float(log_odds)), abs=1e-3)
    assert len(table.lines) == 3 + 1 + 2 + 3 + 1


def test_the_scale_is_what_its_words_say() -> None:
    """Base odds get the base points, and twice the odds the PDO more."""
    scale = Scale(doubling=20, points=600, odds=50)
    assert scale.of(-np.log(50)) == pytest.approx(600)
    assert scale.of(-np.log(100)) == pytest.approx(620)


def test_a_model_that_is_no_scorecard_is_refused() -> None:
    """Two layers, or weights for another encoding."""
    for network in (_network() * 2, [Layer(np.zeros((1, 2), dtype=np.float32), np.zeros(1, dtype=np.float32))]):
        with pytest.raises(CorruptError, match="expected one layer"):
            points_table(_CONTRACT, _ENCODING, network, Scale())
