"""Publishing feature contracts: numbered, signed, never changed, and the same after a crash or a retry."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from contract_sample import sample_contract, sample_terms
from coordinator_at_test import CoordinatorAtTest
from jointrisk.errors import InvalidInputError, NotFoundError, TooLargeError, UnauthenticatedError
from jointrisk.federation.contract import CONFIRM_EN, FeatureContract, contract_from_payload, contract_to_toml
from jointrisk.federation.signing import Signed, sign_document, verify_document
from jointrisk_coordinator import contracts

_TOML = contract_to_toml(sample_contract(version=0))


@pytest.fixture
def coordinator(tmp_path: Path) -> CoordinatorAtTest:
    """A coordinator with its authority and an empty database."""
    return CoordinatorAtTest(tmp_path / "coordinator")


def _publish(coordinator: CoordinatorAtTest, toml: str) -> int:
    def sign(kind: str, payload: bytes) -> Signed:
        return sign_document(kind, payload, coordinator.authority.identity_key)

    return contracts.publish(coordinator.store, toml, sign=sign, clock=coordinator.clock, audit=coordinator.audit)


def test_versions_are_numbered_signed_and_kept(coordinator: CoordinatorAtTest) -> None:
    """Each publication is the next version, with a signature over bytes that hold the version."""
    assert contracts.current(coordinator.store) is None
    assert _publish(coordinator, _TOML) == 1
    assert _publish(coordinator, _TOML.replace('"sample"', '"second"', 1)) == 2
    newest = contracts.current(coordinator.store)
    assert newest is not None
    payload = verify_document(newest.signed, "contract", coordinator.authority.public_key)
    assert contract_from_payload(payload) == sample_contract(version=2, title="second") == newest.contract
    assert newest.digest == newest.contract.digest()
    assert newest.published_at == coordinator.clock()
    assert [one.version for one in contracts.published(coordinator.store)] == [1, 2]
    assert contracts.get(coordinator.store, 1).contract == sample_contract(version=1)
    assert coordinator.events("contract.") == ["contract.published", "contract.published"]


def test_the_same_terms_once_more_are_no_new_version(coordinator: CoordinatorAtTest) -> None:
    """A repeated publication returns what is there; the version written in a file is not looked at."""
    assert _publish(coordinator, _TOML) == 1
    assert _publish(coordinator, contract_to_toml(sample_contract(version=9))) == 1
    assert coordinator.events("contract.") == ["contract.published"]


def test_terms_of_an_earlier_version_become_a_new_one(coordinator: CoordinatorAtTest) -> None:
    """Going back is a decision like any other: versions only grow."""
    other = _TOML.replace('"sample"', '"other"', 1)
    assert [_publish(coordinator, toml) for toml in (_TOML, other, _TOML)] == [1, 2, 3]


def test_a_draft_is_not_published(coordinator: CoordinatorAtTest) -> None:
    """What a person has not filled in is named by its key, and nothing is stored."""
    toml = _TOML.replace("90 days past due within the performance window", CONFIRM_EN)
    with pytest.raises(InvalidInputError, match=r"to be filled in at: target\.definition"):
        _publish(coordinator, toml)
    assert contracts.current(coordinator.store) is None


def test_a_contract_that_no_message_can_carry_is_refused(coordinator: CoordinatorAtTest) -> None:
    """Members get a contract in one message."""
    terms = sample_terms()
    terms["features"][1]["categories"] = [f"{number:0490}" for number in range(1000)]
    wide = [{**terms["features"][1], "name": f"purpose{number}"} for number in range(10)]
    contract = FeatureContract.model_validate(terms | {"features": [*terms["features"], *wide]})
    with pytest.raises(TooLargeError):
        _publish(coordinator, contract_to_toml(contract))


def test_an_unknown_version_is_not_found(coordinator: CoordinatorAtTest) -> None:
    """Asking for what was never published says so."""
    with pytest.raises(NotFoundError, match="version 3"):
        contracts.get(coordinator.store, 3)


def test_a_changed_byte_breaks_the_signature(coordinator: CoordinatorAtTest) -> None:
    """Whoever changes the stored terms cannot make members believe them."""
    _publish(coordinator, _TOML)
    signed = contracts.get(coordinator.store, 1).signed
    forged = replace(signed, payload=signed.payload.replace(b'"minimum_rows":4', b'"minimum_rows":1'))
    assert forged.payload != signed.payload
    with pytest.raises(UnauthenticatedError):
        verify_document(forged, "contract", coordinator.authority.public_key)


_KILLED = """
import os, signal, sys
from pathlib import Path
from coordinator_at_test import CoordinatorAtTest
from jointrisk.federation.signing import sign_document
from jointrisk_coordinator import contracts

coordinator = CoordinatorAtTest(Path(sys.argv[1]))
moment = sys.argv[2]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def sign(kind, payload):
    if moment == "before signing":
        die()
    return sign_document(kind, payload, coordinator.authority.identity_key)

class Audit:
    def append_in(self, session, event, **fields):
        coordinator.audit.append_in(session, event, **fields)
        if moment == "before the commit":
            die()

contracts.publish(coordinator.store, sys.stdin.read(), sign=sign, clock=coordinator.clock, audit=Audit())
die()
"""


@pytest.mark.parametrize(
    ("moment", "stored"), [("before signing", 0), ("before the commit", 0), ("after the commit", 1)]
)
def test_a_coordinator_killed_while_publishing_publishes_once(tmp_path: Path, moment: str, stored: int) -> None:
    """Kill -9 at any moment: the version is there whole or not at all, and the retry ends with version 1."""
    root = tmp_path / "coordinator"
    CoordinatorAtTest(root)
    path = os.pathsep.join(place for place in sys.path if place)
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(root), moment],
        input=_TOML.encode(),
        env={**os.environ, "PYTHONPATH": path},
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    restarted = CoordinatorAtTest(root)
    assert len(contracts.published(restarted.store)) == stored
    assert _publish(restarted, _TOML) == 1
    assert len(contracts.published(restarted.store)) == 1
    assert restarted.events("contract.") == ["contract.published"]
    restarted.audit.verify().require_sound()
