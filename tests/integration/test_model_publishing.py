"""Publishing a model: once for every run, whoever is killed wherever in between."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import publishing_process
from jointrisk.errors import ConflictError, CorruptError, NotFoundError
from jointrisk.federation.signing import public_bytes
from jointrisk.learning.bundle import read_bundle
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_coordinator.registry import ModelRegistry
from jointrisk_coordinator.store.tables import load_tables
from model_sample import KEY, leave_unsigned, sample_bundle, sample_facts, sample_lineage, signer


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty database of a coordinator."""
    engine = make_engine(f"sqlite:///{tmp_path / 'state.db'}")
    load_tables().create_all(engine)
    return Store(engine)


@pytest.fixture
def registry(tmp_path: Path, store: Store) -> ModelRegistry:
    """A registry over it."""
    return ModelRegistry(store, tmp_path / "models", signer(), public_bytes(KEY), AuditLog(store))


def test_a_run_becomes_one_signed_model(tmp_path: Path, registry: ModelRegistry, store: Store) -> None:
    """File, row and audit record; the second time changes nothing; nodes are told."""
    told: list[int] = []
    registry.on_published.append(lambda: told.append(registry.current_number))
    leave_unsigned(tmp_path / "run")
    first = registry.publish(tmp_path / "run", sample_lineage())
    again = registry.publish(tmp_path / "run", sample_lineage())
    assert first == again
    assert first is not None
    assert told == [1, 1]
    data = registry.read(first, 0, 1 << 20)
    assert hashlib.sha256(data).hexdigest() == first.digest
    assert read_bundle(data, public_bytes(KEY)).manifest == first.manifest
    assert first.manifest.lineage == sample_lineage()
    assert [entry.event for entry in AuditLog(store).entries(event="model.")] == ["model.published"]
    assert data == sample_bundle(tmp_path / "elsewhere")


def test_a_run_without_a_model_publishes_nothing(tmp_path: Path, registry: ModelRegistry) -> None:
    """A probe leaves nothing in its folder."""
    (tmp_path / "run").mkdir()
    assert registry.publish(tmp_path / "run", sample_lineage()) is None
    assert (registry.published(), registry.current_number) == ([], 0)


def test_another_model_under_a_published_name_is_refused(tmp_path: Path, registry: ModelRegistry) -> None:
    """What is published stays as it is, its file too."""
    leave_unsigned(tmp_path / "run")
    first = registry.publish(tmp_path / "run", sample_lineage())
    assert first is not None
    leave_unsigned(tmp_path / "run", sample_facts(rounds=6))
    with pytest.raises(ConflictError, match="another model is published"):
        registry.publish(tmp_path / "run", sample_lineage())
    assert hashlib.sha256(registry.read(first, 0, 1 << 20)).hexdigest() == first.digest


def test_models_are_numbered_and_found_by_a_beginning(tmp_path: Path, registry: ModelRegistry) -> None:
    """In the order of publishing; an ambiguous beginning is refused."""
    leave_unsigned(tmp_path / "run")
    for name in ("run-a", "run-b"):
        registry.publish(tmp_path / "run", sample_lineage(name))
    assert [(model.number, model.model_id) for model in registry.published()] == [(1, "run-a"), (2, "run-b")]
    assert [model.model_id for model in registry.published(after=1)] == ["run-b"]
    assert registry.find("run-a").number == 1
    with pytest.raises(ConflictError, match="several"):
        registry.find("run")
    for absent in ("run-c", "", "%"):
        with pytest.raises(NotFoundError):
            registry.find(absent)


def test_a_damaged_file_is_not_served(tmp_path: Path, registry: ModelRegistry) -> None:
    """Cut off or gone: the coordinator says so instead of sending half a model."""
    leave_unsigned(tmp_path / "run")
    model = registry.publish(tmp_path / "run", sample_lineage())
    assert model is not None
    path = tmp_path / "models" / f"{model.model_id}.bundle"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptError, match="not what was published"):
        registry.read(model, 0, 10)
    path.unlink()
    with pytest.raises(CorruptError, match="missing"):
        registry.read(model, 0, 10)


def test_killed_anywhere_the_same_bytes_are_published(tmp_path: Path, store: Store) -> None:
    """SIGKILL before every line that publishes, writes a file or commits: the next life leaves one same model."""
    store.close()
    template = tmp_path / "template"
    template.mkdir()
    (tmp_path / "state.db").rename(template / "state.db")
    leave_unsigned(template / "run")
    expected = hashlib.sha256(sample_bundle(tmp_path / "elsewhere")).hexdigest()
    paths = [str(Path(publishing_process.__file__).parent), *sys.path]
    done = subprocess.run(
        [sys.executable, publishing_process.__file__, str(template)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    lives = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lives) > 30
    assert [life["first"] for life in lives] == [9] * (len(lives) - 1) + [0]
    name = f"{sample_lineage().run_id}.bundle"
    for life in lives:
        assert life["second"] == 0
        assert life["rows"] == [[1, expected]]
        assert life["files"] == {name: expected}
    assert [] in [life["left"] for life in lives]
    assert [f"{name}.new"] in [life["left"] for life in lives]
