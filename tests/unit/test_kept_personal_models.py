"""Personalised models at rest: sealed, for one bundle alone, and never used when anything about them is wrong."""

from pathlib import Path

import numpy as np
import pytest

from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.learning.personal import Personal
from jointrisk.learning.personal_scorer import PersonalScorer
from jointrisk.learning.scoring import Scorer
from jointrisk.masterkey import MasterKey
from jointrisk.statedir import StateDir
from jointrisk_node.models.personal import PersonalModels
from personal_sample import own_model, sample_model, sample_rows

MASTER = MasterKey(bytes(range(32)))
CHOSEN = Personal(0.4, 1.1, -0.2)


def _no_key() -> MasterKey:
    raise InvalidInputError("no master key")


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    """A state directory."""
    return StateDir.create(tmp_path / "node")


def test_what_was_kept_scores_and_what_was_removed_does_not(state: StateDir, tmp_path: Path) -> None:
    """The formula with the own model that was kept; again replaces it; afterwards the shared model to the last bit."""
    bundle, rows, own = sample_model(tmp_path / "run"), sample_rows(20), own_model()
    kept, shared = PersonalModels(state, lambda: MASTER), Scorer.from_bundle(bundle)
    assert kept.mark("model-a") is None
    kept.keep(bundle, CHOSEN, own)
    first = kept.mark("model-a")
    expected = CHOSEN.log_odds(shared.log_odds(rows), own.log_odds(rows))
    assert (kept.scorer(bundle).log_odds(rows) == expected).all()
    kept.keep(bundle, Personal(), own)
    assert kept.mark("model-a") not in {first, None}
    assert (PersonalModels(state, lambda: MASTER).scorer(bundle).log_odds(rows) == own.log_odds(rows)).all()
    kept.remove("model-a")
    kept.remove("model-a")
    assert kept.mark("model-a") is None
    assert not isinstance(kept.scorer(bundle), PersonalScorer)
    assert (kept.scorer(bundle).log_odds(rows) == shared.log_odds(rows)).all()


def test_the_file_is_private_and_says_nothing(state: StateDir, tmp_path: Path) -> None:
    """For its owner alone; nothing of LightGBM's text is in it, nor beside it."""
    kept = PersonalModels(state, lambda: MASTER)
    kept.keep(sample_model(tmp_path), CHOSEN, own_model())
    files = list(state.path("models").iterdir())
    assert [file.name for file in files] == ["model-a.personal"]
    assert files[0].stat().st_mode & 0o777 == 0o600
    content = files[0].read_bytes()
    assert [word for word in (b"leaf_value", b"Column_0", b"weight") if word in content] == []


def test_no_other_model_uses_it(state: StateDir, tmp_path: Path) -> None:
    """Others score as they are; under another's name, or for another bundle of the same name, it does not open."""
    kept = PersonalModels(state, lambda: MASTER)
    bundle, other = sample_model(tmp_path / "a"), sample_model(tmp_path / "b", run_id="model-b")
    same_name = sample_model(tmp_path / "c", best_round=3)
    kept.keep(bundle, CHOSEN, own_model())
    rows = sample_rows(5)
    assert (kept.scorer(other).log_odds(rows) == Scorer.from_bundle(other).log_odds(rows)).all()
    with pytest.raises(CorruptError, match="of another model") as caught:
        kept.scorer(same_name)
    assert "--remove" in caught.value.remedy
    state.path("models", "model-a.personal").rename(state.path("models", "model-b.personal"))
    with pytest.raises(CorruptError, match="of another model"):
        kept.scorer(other)


@pytest.mark.parametrize("place", [0, 5, 400, -1])
def test_a_changed_byte_is_found_before_anything_is_read(state: StateDir, tmp_path: Path, place: int) -> None:
    """Nothing is scored, and nothing of what is inside is told."""
    kept, bundle = PersonalModels(state, lambda: MASTER), sample_model(tmp_path)
    kept.keep(bundle, CHOSEN, own_model())
    path = state.path("models", "model-a.personal")
    changed = bytearray(path.read_bytes())
    changed[place] ^= 1
    for content in (bytes(changed), bytes(changed[:50]), b""):
        path.write_bytes(content)
        with pytest.raises(CorruptError, match="not what was written") as caught:
            kept.scorer(bundle)
        assert caught.value.__cause__ is None


def test_another_master_key_does_not_open_it_and_none_is_asked_for_where_nothing_is_kept(
    state: StateDir, tmp_path: Path
) -> None:
    """So that nodes that are not personalised score without one, as before."""
    bundle = sample_model(tmp_path)
    without = PersonalModels(state, _no_key)
    assert np.isfinite(without.scorer(bundle).log_odds(sample_rows(3))).all()
    PersonalModels(state, lambda: MASTER).keep(bundle, CHOSEN, own_model())
    with pytest.raises(InvalidInputError, match="no master key"):
        without.scorer(bundle)
    with pytest.raises(CorruptError):
        PersonalModels(state, lambda: MasterKey(bytes(32))).scorer(bundle)


def test_what_is_sealed_by_a_later_version_is_not_guessed_at(state: StateDir, tmp_path: Path) -> None:
    """Sealed with the right key under the right name, and of another form."""
    bundle = sample_model(tmp_path)
    for content in (b"{}", b'{"format":2}', b"\xff", b'{"format":1,"weight":2.0,"scale":1.0,"offset":0.0,"own":""}'):
        state.write("models/model-a.personal", MASTER.seal(f"personal model {bundle.digest}", content))
        with pytest.raises(CorruptError, match="not what was written"):
            PersonalModels(state, lambda: MASTER).scorer(bundle)
