"""The personalised stage: what is chosen where the shared model helps, where it does not, and where it is off."""

import numpy as np

from jointrisk.learning.areas import area, difference
from jointrisk.learning.personal import ALONE, Floats, Labels, Personal, choose


def _rows(count: int = 4000) -> tuple[Floats, Labels]:
    rng = np.random.default_rng(3)
    truth = rng.normal(-1, 1.5, count)
    return truth, (rng.random(count) < 1 / (1 + np.exp(-truth))).astype(np.uint8)


def _noise(seed: int, count: int = 4000) -> Floats:
    return np.random.default_rng(seed).normal(0, 1.5, count)


def test_two_views_with_errors_of_their_own_are_mixed() -> None:
    """Errors that are independent average out, so neither model alone is chosen."""
    truth, labels = _rows()
    shared, own = truth + _noise(1), truth + _noise(2)
    chosen = choose(shared[:2000], own[:2000], labels[:2000])
    assert 0.2 <= chosen.weight <= 0.8
    assert difference(labels[2000:], chosen.log_odds(shared, own)[2000:], own[2000:]).value > 0.02


def test_a_shared_model_that_knows_nothing_is_left_alone() -> None:
    """The lender keeps exactly what it had."""
    truth, labels = _rows()
    assert choose(_noise(1), truth, labels) == ALONE


def test_a_shared_model_of_another_level_is_recalibrated() -> None:
    """Its log odds are twice as wide and too high; on rows that were not chosen on the mean comes out right."""
    truth, labels = _rows()
    shared, own = 2 * truth + 3, np.full(len(truth), -1.0)
    chosen = choose(shared[:2000], own[:2000], labels[:2000])
    expected = 1 / (1 + np.exp(-chosen.log_odds(shared, own)[2000:]))
    assert abs(expected.mean() - labels[2000:].mean()) < 0.02
    assert chosen.weight * chosen.scale * 2 == np.clip(chosen.weight * chosen.scale * 2, 0.85, 1.15)


def test_few_rows_and_one_class_still_give_finite_numbers() -> None:
    """A fold without bads, and rows that are told apart perfectly, end in finite numbers."""
    shared, own = np.array([3.0, -3, 2, -2, 1, -1]), np.array([-1.0, 1, -1, 1, -1, 1])
    for labels in (np.array([1, 0, 1, 0, 1, 0], dtype=np.uint8), np.zeros(6, dtype=np.uint8)):
        chosen = choose(shared, own, labels)
        assert np.isfinite(chosen.log_odds(shared, own)).all()
        assert chosen.scale > 0


def test_alone_is_the_own_model() -> None:
    """No weight, no recalibration: the numbers do not change in a bit."""
    own = _noise(4)
    assert (Personal().log_odds(_noise(5), own) == own).all()


def test_areas_and_their_errors_are_those_of_the_definition() -> None:
    """Area by pairs; the error is near the spread over fresh samples."""
    truth, labels = _rows(300)
    scores = np.round(truth + _noise(6, 300), 1)
    bads, goods = scores[labels == 1], scores[labels == 0]
    pairs = (bads[:, None] > goods).mean() + (bads[:, None] == goods).mean() / 2
    found = area(labels, scores)
    assert abs(found.value - pairs) < 1e-12
    rng = np.random.default_rng(1)
    draws = [rng.integers(0, 300, 300) for _ in range(200)]
    spread = np.std([area(labels[rows], scores[rows]).value for rows in draws])
    assert 0.8 < found.error / spread < 1.25
