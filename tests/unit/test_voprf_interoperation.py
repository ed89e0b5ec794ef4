"""The PyPI package ``voprf`` (Rust, RFC 9497 mode 1 for ristretto255) understands us, and we understand it.

It takes and gives the RFC's encodings. Its answers are one string: the proof, then the elements.
"""

import os

import pytest
from voprf import ristretto as theirs

from jointrisk.oprf.dleq import Proof
from jointrisk.oprf.group import LENGTH, element
from jointrisk.oprf.holder import Evaluation, evaluate
from jointrisk.oprf.requester import blind
from jointrisk.oprf.suite import VOPRF
from jointrisk.oprf.threshold import Quorum
from oprf_sample import SharedKey, flipped

SEED = bytes(range(32))
INFO = b"interoperation"
INPUTS = [b"a", b"Z" * 300, bytes(17)]
KEYS = VOPRF.derive_key_pair(SEED, INFO)
PROOF = 2 * LENGTH


def from_theirs(data: bytes) -> Evaluation:
    """Read an answer as the package writes it."""
    elements = [element(data[begin : begin + LENGTH]) for begin in range(PROOF, len(data), LENGTH)]
    return Evaluation(tuple(elements), Proof.from_bytes(data[:PROOF]))


def to_theirs(answer: Evaluation) -> bytes:
    """Write an answer as the package reads it."""
    return answer.proof.to_bytes() + b"".join(answer.elements)


def test_both_derive_the_same_keys() -> None:
    """One seed, one public key."""
    assert theirs.Evaluator.from_seed(SEED, INFO).public_key.serialize() == KEYS.public


def test_we_ask_and_they_answer() -> None:
    """Their evaluator takes our elements, we accept its proof, and the outputs are those it computes by itself."""
    evaluator = theirs.Evaluator.from_seed(SEED, INFO)
    batch = blind(INPUTS, os.urandom)
    blinded = [theirs.BlindedInput.deserialize(one) for one in batch.elements]
    answer = from_theirs(evaluator.evaluate_batch(blinded).serialize())
    outputs = Quorum.of({1: KEYS.public}, KEYS.public).combine(batch, {1: answer})
    assert outputs == [evaluator.evaluate_known_input(one) for one in INPUTS]


def test_they_ask_and_we_answer() -> None:
    """Our answer to their elements passes their verification and gives the outputs of their evaluator."""
    clients, blinded = zip(*(theirs.Client.blind(one) for one in INPUTS), strict=True)
    answer = evaluate(KEYS.private, [one.serialize() for one in blinded], os.urandom)
    read = theirs.VerifiableBatchOutput.deserialize(to_theirs(answer))
    outputs = theirs.Client.finalize_batch(clients, read, theirs.PublicKey.deserialize(KEYS.public))
    evaluator = theirs.Evaluator.from_seed(SEED, INFO)
    assert outputs == [evaluator.evaluate_known_input(one) for one in INPUTS]


def test_they_take_a_single_answer_of_ours() -> None:
    """An answer to one element is the same with and without their batch functions."""
    client, blinded = theirs.Client.blind(b"one")
    answer = evaluate(KEYS.private, [blinded.serialize()], os.urandom)
    read = theirs.VerifiableOutput.deserialize(to_theirs(answer))
    output = client.finalize(read, theirs.PublicKey.deserialize(KEYS.public))
    assert output == theirs.Evaluator.from_seed(SEED, INFO).evaluate_known_input(b"one")


def test_they_verify_each_holder_of_a_shared_key() -> None:
    """A holder's weighted answer is a plain VOPRF answer under its weighted public key, for others too."""
    key = SharedKey(2, 3)
    client, blinded = theirs.Client.blind(b"one")
    batch = blind([b"unused"], os.urandom)
    asked = type(batch)((element(blinded.serialize()),), batch.inputs, batch.blinds)
    for j, answer in key.answers((1, 3), asked).items():
        read = theirs.VerifiableOutput.deserialize(to_theirs(answer))
        public = theirs.PublicKey.deserialize(key.quorum((1, 3)).keys[j])
        assert len(client.finalize(read, public)) == 64


def test_they_refuse_what_we_refuse() -> None:
    """Their verifier takes none of our proofs with a bit turned over: what we call false is false elsewhere."""
    client, blinded = theirs.Client.blind(b"one")
    answer = evaluate(KEYS.private, [blinded.serialize()], os.urandom)
    public = theirs.PublicKey.deserialize(KEYS.public)
    client.finalize(theirs.VerifiableOutput.deserialize(to_theirs(answer)), public)
    for changed in flipped(answer.proof.to_bytes()):
        with pytest.raises(ValueError, match="invalid proof"):
            client.finalize(theirs.VerifiableOutput.deserialize(changed + answer.elements[0]), public)
