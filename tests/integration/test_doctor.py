"""``node doctor``: each thing that goes wrong in practice is named, with its mend."""

import json
from pathlib import Path
from typing import Any

import pytest

from demo_data import CONTRACT, write_lenders
from local_federation import Daemon, LocalFederation, wait_until

pytestmark = pytest.mark.federation


def doctor(node: Daemon) -> dict[str, Any]:
    """Return the findings by name; the command may fail."""
    return {one["check"]: one for one in json.loads(node.command("doctor", "--json", check=False))}


def test_doctor_names_what_is_wrong_and_its_mend(federation: LocalFederation, tmp_path: Path) -> None:
    """In order; coordinator down; data that breaks the contract; a setting that does not exist; not joined yet."""
    lender = write_lenders(tmp_path)[2]
    federation.coordinator.command("contract", "publish", str(CONTRACT))
    node = federation.add_node("bank", source=str(lender.train))
    federation.wait_online("bank")
    wait_until(lambda: node.json("status")["contract_version"] == 1, "the contract to arrive")

    well = doctor(node)
    assert [name for name, one in well.items() if not one["ok"]] == []
    assert {"settings", "membership", "roster", "dns", "port", "tls", "data", "daemon"} <= well.keys()
    assert "TLSv1.3" in well["tls"]["detail"]
    node.command("doctor")

    federation.coordinator.stop()
    wait_until(lambda: not doctor(node)["daemon"]["ok"], "the daemon to notice")
    down = doctor(node)
    assert not down["port"]["ok"]
    assert "firewall" in down["port"]["remedy"]
    assert "tls" not in down, "what depends on the port is left out"

    settings = node.home / "node.toml"
    text = settings.read_text()
    settings.write_text(text.replace("SELECT * FROM loans", "SELECT * REPLACE (age - 500 AS age) FROM loans"))
    assert not doctor(node)["data"]["ok"]
    settings.write_text(text + "\n[polcy]\n")
    assert "polcy" in doctor(node)["settings"]["detail"]

    fresh = federation.add_node("late", join=False)
    assert "join" in doctor(fresh)["membership"]["remedy"]
