"""The committed vectors of the shared key: they are what the code makes, and they are right."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import make_threshold_vectors
from jointrisk.oprf import dleq, group
from jointrisk.oprf.dleq import Proof
from jointrisk.oprf.group import ORDER, Element
from jointrisk.oprf.suite import VOPRF

DOCUMENT: dict[str, Any] = json.loads(make_threshold_vectors.PATH.read_text())
GROUPS = DOCUMENT["groups"]
RUNS = [(one, run) for one in GROUPS for run in one["runs"]]
TOOL = Path(make_threshold_vectors.__file__)


def number(text: str) -> int:
    """Read a scalar."""
    return int.from_bytes(bytes.fromhex(text), "little")


def elements(texts: list[str]) -> list[Element]:
    """Read elements."""
    return [group.element(bytes.fromhex(text)) for text in texts]


def base(value: int) -> str:
    """Return the generator's multiple in hexadecimal."""
    return group.multiply_base(group.scalar_of(value)).hex()


def test_the_vectors_are_what_the_code_makes() -> None:
    """``--check`` finds nothing: who changes the bytes of the protocol has to change this file."""
    subprocess.run([sys.executable, TOOL, "--check"], check=True)


def test_a_changed_file_fails_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One other digit is noticed, and a file that is not there."""
    other = tmp_path / "vectors.json"
    monkeypatch.setattr(make_threshold_vectors, "PATH", other)
    monkeypatch.setattr(sys, "argv", ["make_threshold_vectors", "--check"])
    with pytest.raises(SystemExit):
        make_threshold_vectors.main()
    monkeypatch.setattr(sys, "argv", ["make_threshold_vectors"])
    make_threshold_vectors.main()
    monkeypatch.setattr(sys, "argv", ["make_threshold_vectors", "--check"])
    make_threshold_vectors.main()
    other.write_text(other.read_text().replace('"index": 3', '"index": 4', 1))
    with pytest.raises(SystemExit):
        make_threshold_vectors.main()


@pytest.mark.parametrize("made", GROUPS)
def test_shares_are_the_polynomials_values(made: dict[str, Any]) -> None:
    """Shares, their public keys and the commitments follow from the coefficients, by Python's integers."""
    coefficients = [number(text) for text in made["coefficients"]]
    assert len(coefficients) == made["threshold"]
    assert made["commitments"] == [base(one) for one in coefficients]
    for text, share in made["shares"].items():
        value = sum(one * int(text) ** power for power, one in enumerate(coefficients)) % ORDER
        assert number(share) == value
        assert made["public_keys"][text] == base(value)
    assert len(made["shares"]) == made["holders"]


@pytest.mark.parametrize(("made", "run"), RUNS)
def test_answers_are_weighted_and_proven(made: dict[str, Any], run: dict[str, Any]) -> None:
    """Each answer is the blinded elements times coefficient and share, and its proof holds against the weighted key."""
    blinded = elements(run["blinded"])
    for answer in run["answers"]:
        weight = 1
        for j in run["quorum"]:
            if j != answer["index"]:
                weight = weight * j * pow(j - answer["index"], -1, ORDER) % ORDER
        assert number(answer["coefficient"]) == weight
        key = weight * number(made["shares"][str(answer["index"])]) % ORDER
        assert answer["verification_key"] == base(key)
        evaluated = [group.multiply(group.scalar_of(key), one) for one in blinded]
        assert answer["evaluated"] == [one.hex() for one in evaluated]
        proof = Proof.from_bytes(bytes.fromhex(answer["proof"]))
        assert dleq.verify(group.element(bytes.fromhex(answer["verification_key"])), blinded, evaluated, proof)


@pytest.mark.parametrize(("made", "run"), RUNS)
def test_proofs_answer_their_challenge_with_the_nonce(made: dict[str, Any], run: dict[str, Any]) -> None:
    """The response is nonce less challenge times key, so that an implementation can find where it differs."""
    for answer in run["answers"]:
        key = number(answer["coefficient"]) * number(made["shares"][str(answer["index"])])
        challenge, response = number(answer["proof"][:64]), number(answer["proof"][64:])
        assert (number(answer["nonce"]) - challenge * key - response) % ORDER == 0


@pytest.mark.parametrize(("made", "run"), RUNS)
def test_outputs_are_those_of_the_whole_key(made: dict[str, Any], run: dict[str, Any]) -> None:
    """Blinded elements are blinded inputs; outputs are RFC 9497's for the key in one hand, the same in each run."""
    key = group.scalar_of(number(made["coefficients"][0]))
    for text, blind, blinded, output in zip(run["inputs"], run["blinds"], run["blinded"], run["outputs"], strict=True):
        data = bytes.fromhex(text)
        hashed = VOPRF.hash_to_group(data)
        assert group.multiply(group.scalar_of(number(blind)), hashed).hex() == blinded
        assert VOPRF.finalize(data, group.multiply(key, hashed)).hex() == output
    assert run["outputs"] == made["runs"][0]["outputs"]


def test_the_runs_are_different_ones() -> None:
    """No two runs share a blind or a nonce."""
    blinds = [text for _, run in RUNS for text in run["blinds"]]
    nonces = [answer["nonce"] for _, run in RUNS for answer in run["answers"]]
    assert len(set(blinds)) == len(blinds)
    assert len(set(nonces)) == len(nonces)
