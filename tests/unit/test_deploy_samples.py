"""What is under deploy/ is what the programs read."""

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from jointrisk.learning.strategy_settings import strategy_settings
from jointrisk.learning.tasks import task_settings
from jointrisk.learning.tasks.settings import DefaultModelSettings
from jointrisk.masterkey import SYSTEMD_CREDENTIAL
from jointrisk.settings import Settings, load_toml
from jointrisk_coordinator.runs.settings import RunSettings
from jointrisk_coordinator.settings import CoordinatorSettings
from jointrisk_node.settings import NodeSettings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SAMPLES = DEPLOY / "samples"
MODELS: dict[str, type[Settings]] = {
    "coordinator": CoordinatorSettings,
    "node": NodeSettings,
    "run": RunSettings,
}
# Keys whose sample is an example because the default is empty, or there is none.
EXAMPLES = {"federation.name", "listen.public_host", "store.url", "data.source", "data.passfile"}


def sample_files() -> list[Path]:
    """Return every sample."""
    return sorted(SAMPLES.glob("*.toml"))


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a table of tables as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        inner = isinstance(value, dict) and value
        found |= flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found


@pytest.mark.parametrize("path", sample_files(), ids=lambda path: path.name)
def test_sample_is_accepted(path: Path) -> None:
    """Every sample is parsed by the model that the program uses; an unknown key would be refused."""
    load_toml(path, MODELS[path.name.partition(".")[0]])


@pytest.mark.parametrize("role", MODELS)
def test_full_sample_has_every_key_at_its_default(role: str) -> None:
    """A key that is added to the settings, or a default that changes, has to come into the full sample."""
    path = SAMPLES / f"{role}.full.toml"
    text = path.read_text()
    sample = flat(load_toml(path, MODELS[role]).model_dump(mode="json"))
    without = {key for key, value in sample.items() if value is None}
    assert set(flat(tomllib.loads(text))) == set(sample) - without
    assert all(re.search(rf"^#.*\b{key.rpartition('.')[2]}\b", text, re.MULTILINE) for key in without)
    defaults = flat(_defaults(role).model_dump(mode="json"))
    assert {key: value for key, value in sample.items() if key not in EXAMPLES} == {
        key: value for key, value in defaults.items() if key not in EXAMPLES
    }


def _defaults(role: str) -> Settings:
    if role == "coordinator":
        return CoordinatorSettings.model_validate({"federation": {"name": "any"}})
    if role == "run":
        return RunSettings(task_settings=DefaultModelSettings().model_dump())
    return NodeSettings()


def test_full_run_sample_names_settings_that_its_task_and_strategy_have() -> None:
    """The two tables whose keys depend on another key are checked as the coordinator checks them."""
    run = load_toml(SAMPLES / "run.full.toml", RunSettings)
    assert task_settings(run.task, run.task_settings) == DefaultModelSettings()
    strategy_settings(run.strategy, run.strategy_settings)


@pytest.mark.parametrize("role", ["coordinator", "node"])
def test_unit_hands_over_the_credential_that_the_daemon_looks_for(role: str) -> None:
    """The unit's credential has the daemon's name, its state directory is private, and it runs this role."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "systemd" / f"jointrisk-{role}.service")
    service = unit["Service"]
    assert service["LoadCredential"].partition(":")[0] == SYSTEMD_CREDENTIAL
    assert service["StateDirectoryMode"] == "0700"
    assert f" {role} --home %S/{service['StateDirectory']} run" in service["ExecStart"]
