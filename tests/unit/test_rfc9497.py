"""The values of RFC 9497 Appendix A.1.1 (OPRF) and A.1.2 (VOPRF) for ristretto255-SHA512, transcribed."""

from typing import NamedTuple

import pytest

from jointrisk.oprf import dleq
from jointrisk.oprf.group import LENGTH, Randomness, Scalar, scalar
from jointrisk.oprf.holder import evaluate, evaluate_unproven
from jointrisk.oprf.requester import Batch, blind
from jointrisk.oprf.suite import OPRF, VOPRF, KeyPair, Suite
from jointrisk.oprf.threshold import Quorum

SEED = bytes.fromhex("a3" * 32)
KEY_INFO = bytes.fromhex("74657374206b6579")
BLIND = "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706"
OTHER_BLIND = "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e"


class Vector(NamedTuple):
    """One test vector of the RFC, values in hexadecimal; mode OPRF has no proof."""

    inputs: tuple[str, ...]
    blinds: tuple[str, ...]
    blinded: tuple[str, ...]
    evaluated: tuple[str, ...]
    outputs: tuple[str, ...]
    nonce: str = ""
    proof: str = ""


# Appendix A.1.1.
OPRF_PRIVATE_KEY = "5ebcea5ee37023ccb9fc2d2019f9d7737be85591ae8652ffa9ef0f4d37063b0e"
OPRF_VECTORS = (
    Vector(
        ("00",),
        (BLIND,),
        ("609a0ae68c15a3cf6903766461307e5c8bb2f95e7e6550e1ffa2dc99e412803c",),
        ("7ec6578ae5120958eb2db1745758ff379e77cb64fe77b0b2d8cc917ea0869c7e",),
        (
            (
                "527759c3d9366f277d8c6020418d96bb393ba2afb20ff90df23fb7708264e2f3"
                "ab9135e3bd69955851de4b1f9fe8a0973396719b7912ba9ee8aa7d0b5e24bcf6"
            ),
        ),
    ),
    Vector(
        ("5a" * 17,),
        (BLIND,),
        ("da27ef466870f5f15296299850aa088629945a17d1f5b7f5ff043f76b3c06418",),
        ("b4cbf5a4f1eeda5a63ce7b77c7d23f461db3fcab0dd28e4e17cecb5c90d02c25",),
        (
            (
                "f4a74c9c592497375e796aa837e907b1a045d34306a749db9f34221f7e750cb4"
                "f2a6413a6bf6fa5e19ba6348eb673934a722a7ede2e7621306d18951e7cf2c73"
            ),
        ),
    ),
)

# Appendix A.1.2. The batch of two repeats the inputs of the two before it.
VOPRF_PRIVATE_KEY = "e6f73f344b79b379f1a0dd37e07ff62e38d9f71345ce62ae3a9bc60b04ccd909"
VOPRF_PUBLIC_KEY = "c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e"
VOPRF_VECTORS = (
    Vector(
        ("00",),
        (BLIND,),
        ("863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",),
        ("aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e",),
        (
            (
                "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7d"
                "a4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c"
            ),
        ),
        OTHER_BLIND,
        "ddef93772692e535d1a53903db24367355cc2cc78de93b3be5a8ffcc6985dd06"
        "6d4346421d17bf5117a2a1ff0fcb2a759f58a539dfbe857a40bce4cf49ec600d",
    ),
    Vector(
        ("5a" * 17,),
        (BLIND,),
        ("cc0b2a350101881d8a4cba4c80241d74fb7dcbfde4a61fde2f91443c2bf9ef0c",),
        ("60a59a57208d48aca71e9e850d22674b611f752bed48b36f7a91b372bd7ad468",),
        (
            (
                "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60"
                "356f4610bf816f27afdd84f47719e480906d27ecd994985890e5f539e7ea74b6"
            ),
        ),
        OTHER_BLIND,
        "401a0da6264f8cf45bb2f5264bc31e109155600babb3cd4e5af7d181a2c9dc0a"
        "67154fabf031fd936051dec80b0b6ae29c9503493dde7393b722eafdf5a50b02",
    ),
    Vector(
        ("00", "5a" * 17),
        (BLIND, OTHER_BLIND),
        (
            "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
            "90a0145ea9da29254c3a56be4fe185465ebb3bf2a1801f7124bbbadac751e654",
        ),
        (
            "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e",
            "cc5ac221950a49ceaa73c8db41b82c20372a4c8d63e5dded2db920b7eee36a2a",
        ),
        (
            (
                "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7d"
                "a4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c"
            ),
            (
                "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60"
                "356f4610bf816f27afdd84f47719e480906d27ecd994985890e5f539e7ea74b6"
            ),
        ),
        "419c4f4f5052c53c45f3da494d2b67b220d02118e0857cdbcf037f9ea84bbe0c",
        "cc203910175d786927eeb44ea847328047892ddf8590e723c37205cb74600b0a"
        "5ab5337c8eb4ceae0494c2cf89529dcf94572ed267473d567aeed6ab873dee08",
    ),
)
EVERY = [(OPRF, vector) for vector in OPRF_VECTORS] + [(VOPRF, vector) for vector in VOPRF_VECTORS]


def drawing(*scalars: str) -> Randomness:
    """Return randomness from which exactly these scalars are drawn."""
    rest = iter(scalars)
    return lambda length: bytes.fromhex(next(rest)) + bytes(length - LENGTH)


def unhex(values: tuple[str, ...]) -> list[bytes]:
    """Return the bytes of hexadecimal values."""
    return [bytes.fromhex(value) for value in values]


def blinded(suite: Suite, vector: Vector) -> Batch:
    """Return the vector's inputs, blinded with its blinds."""
    return blind(unhex(vector.inputs), drawing(*vector.blinds), suite)


def keys(suite: Suite) -> KeyPair:
    """Return the keys of the RFC's seed."""
    return suite.derive_key_pair(SEED, KEY_INFO)


def test_keys_follow_from_the_seed() -> None:
    """DeriveKeyPair gives the private key of each mode, and the public key."""
    assert keys(OPRF).private.hex() == OPRF_PRIVATE_KEY
    assert keys(VOPRF).private.hex() == VOPRF_PRIVATE_KEY
    assert keys(VOPRF).public.hex() == VOPRF_PUBLIC_KEY


def test_context_strings_name_the_mode() -> None:
    """The group's separation tag is the RFC's, in both modes."""
    assert b"HashToGroup-" + OPRF.context == b"HashToGroup-OPRFV1-\x00-ristretto255-SHA512"
    assert b"HashToGroup-" + VOPRF.context == b"HashToGroup-OPRFV1-\x01-ristretto255-SHA512"


@pytest.mark.parametrize(("suite", "vector"), EVERY)
def test_blinded_elements(suite: Suite, vector: Vector) -> None:
    """Blind gives the RFC's elements."""
    assert blinded(suite, vector).elements == tuple(unhex(vector.blinded))


@pytest.mark.parametrize(("suite", "vector"), EVERY)
def test_evaluated_elements(suite: Suite, vector: Vector) -> None:
    """BlindEvaluate gives the RFC's elements."""
    assert evaluate_unproven(keys(suite).private, unhex(vector.blinded)) == tuple(unhex(vector.evaluated))


@pytest.mark.parametrize(("suite", "vector"), EVERY)
def test_outputs(suite: Suite, vector: Vector) -> None:
    """Finalize gives the RFC's outputs."""
    batch = blinded(suite, vector)
    assert batch.finalize(evaluate_unproven(keys(suite).private, batch.elements)) == unhex(vector.outputs)


@pytest.mark.parametrize("vector", VOPRF_VECTORS)
def test_proofs(vector: Vector) -> None:
    """With the RFC's nonce the proof is the RFC's, for one element and for two."""
    evaluation = evaluate(keys(VOPRF).private, unhex(vector.blinded), drawing(vector.nonce))
    assert evaluation.proof.to_bytes().hex() == vector.proof
    assert evaluation.elements == tuple(unhex(vector.evaluated))


@pytest.mark.parametrize("vector", VOPRF_VECTORS)
def test_outputs_after_verification(vector: Vector) -> None:
    """A key in one hand is a quorum of one: the answer is verified and gives the RFC's outputs."""
    batch = blinded(VOPRF, vector)
    answer = evaluate(keys(VOPRF).private, batch.elements, drawing(vector.nonce))
    public = keys(VOPRF).public
    assert Quorum.of({1: public}, public).combine(batch, {1: answer}) == unhex(vector.outputs)


@pytest.mark.parametrize("vector", VOPRF_VECTORS)
def test_a_proof_of_one_mode_is_none_in_the_other(vector: Vector) -> None:
    """The modes' contexts keep them apart."""
    answer = evaluate(keys(VOPRF).private, unhex(vector.blinded), drawing(vector.nonce))
    before = blinded(VOPRF, vector).elements
    assert dleq.verify(keys(VOPRF).public, before, answer.elements, answer.proof)
    assert not dleq.verify(keys(VOPRF).public, before, answer.elements, answer.proof, OPRF)


def test_transcribed_scalars_are_canonical() -> None:
    """The randomness above draws exactly the RFC's scalars: none of them is changed by reduction."""
    for text in (BLIND, OTHER_BLIND, VOPRF_VECTORS[-1].nonce):
        assert scalar(bytes.fromhex(text)) == Scalar(bytes.fromhex(text))
