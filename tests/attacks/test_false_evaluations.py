"""Attacks on evaluations: a holder that lies in one bit, or proves something else than was asked."""

import os
from collections.abc import Iterator

import pytest

from fixed_randomness import fixed_randomness
from jointrisk.errors import InvalidInputError, JointriskError
from jointrisk.oprf import dleq, group
from jointrisk.oprf.dleq import Proof
from jointrisk.oprf.group import IDENTITY, ORDER, Element, Scalar
from jointrisk.oprf.holder import Evaluation, evaluate
from jointrisk.oprf.requester import blind
from jointrisk.oprf.threshold import BadShareError, Quorum
from oprf_sample import SharedKey, flipped

KEY = SharedKey(2, 3)
INDICES = (1, 3)
BATCH = blind([b"one", b"two"], fixed_randomness("attacked"))
ANSWERS = KEY.answers(INDICES, BATCH)
QUORUM = KEY.quorum(INDICES)
LIAR = 3


def refused(answer: Evaluation) -> bool:
    """Tell whether the liar's answer is refused, with the liar named."""
    try:
        QUORUM.check(LIAR, BATCH, answer)
    except BadShareError as error:
        return error.holder == LIAR
    return False


def replaced(elements: tuple[Element, ...], place: int, other: bytes) -> tuple[Element, ...]:
    """Return the elements with another one in a place."""
    return (*elements[:place], Element(other), *elements[place + 1 :])


def test_the_true_answers_are_accepted() -> None:
    """What is attacked here holds as it is."""
    for index, answer in ANSWERS.items():
        QUORUM.check(index, BATCH, answer)
    assert not refused(ANSWERS[LIAR])


def test_every_flipped_bit_of_a_proof_is_refused() -> None:
    """When it is read, or when it is verified: each of the 512 bits."""
    answer = ANSWERS[LIAR]
    verified = 0
    for changed in flipped(answer.proof.to_bytes()):
        try:
            proof = Proof.from_bytes(changed)
        except InvalidInputError:
            continue
        assert refused(Evaluation(answer.elements, proof))
        verified += 1
    assert verified > 450  # most are scalars, so that the verification has to find them


def test_a_proof_has_one_spelling() -> None:
    """Scalars with the order added on top are the same numbers, and are refused when they are read."""
    data = ANSWERS[LIAR].proof.to_bytes()
    for begin in (0, 32):
        greater = int.from_bytes(data[begin : begin + 32], "little") + ORDER
        changed = data[:begin] + greater.to_bytes(32, "little") + data[begin + 32 :]
        with pytest.raises(InvalidInputError, match="order"):
            Proof.from_bytes(changed)
        with pytest.raises(InvalidInputError, match="order"):
            Proof(Scalar(changed[:32]), Scalar(changed[32:]))


@pytest.mark.parametrize("length", [0, 32, 63, 65, 128])
def test_a_proof_has_one_length(length: int) -> None:
    """Others are refused before they are looked at."""
    with pytest.raises(InvalidInputError, match="64"):
        Proof.from_bytes(bytes(length))


@pytest.mark.parametrize("place", [0, 1])
def test_every_flipped_bit_of_an_evaluated_element_is_refused(place: int) -> None:
    """Each of the 256 bits of each, the last one too, which libsodium 1.0.18 does not look at."""
    answer = ANSWERS[LIAR]
    for changed in flipped(answer.elements[place]):
        assert refused(Evaluation(replaced(answer.elements, place, changed), answer.proof))


@pytest.mark.parametrize("place", [0, 1])
def test_every_flipped_bit_of_a_blinded_element_is_refused(place: int) -> None:
    """An answer to a request that was changed on the way does not pass."""
    answer = ANSWERS[LIAR]
    for changed in flipped(BATCH.elements[place]):
        asked = replaced(BATCH.elements, place, changed)
        assert not dleq.verify(QUORUM.keys[LIAR], asked, answer.elements, answer.proof)


def test_every_flipped_bit_of_a_public_key_is_refused() -> None:
    """Of the key that a proof is verified with, and of the keys that a quorum is made of."""
    answer = ANSWERS[LIAR]
    for changed in flipped(QUORUM.keys[LIAR]):
        assert not dleq.verify(Element(changed), BATCH.elements, answer.elements, answer.proof)
    keys = KEY.public_keys(INDICES)
    for changed in flipped(keys[LIAR]):
        with pytest.raises(JointriskError):
            Quorum.of(keys | {LIAR: Element(changed)}, KEY.public)
    for changed in flipped(KEY.public):
        with pytest.raises(JointriskError):
            Quorum.of(keys, Element(changed))


def lies() -> Iterator[Evaluation]:
    """Yield answers of a liar that knows its share and the request, and proves what it can."""
    answer = ANSWERS[LIAR]
    one, two = answer.elements
    yield Evaluation((two, one), answer.proof)
    yield Evaluation((one, one), answer.proof)
    yield Evaluation(BATCH.elements, answer.proof)
    yield Evaluation((IDENTITY, IDENTITY), answer.proof)
    yield Evaluation((IDENTITY, two), answer.proof)
    # One right and one wrong element, whose errors cancel in a sum without weights.
    shift = group.multiply_base(group.scalar_of(5))
    yield Evaluation((group.add(one, shift), group.subtract(two, shift)), answer.proof)
    # A fresh proof, valid for another key.
    yield evaluate(group.scalar_of(7), BATCH.elements, os.urandom)
    yield KEY.answer(LIAR, (2, LIAR), BATCH)
    # A fresh proof with the right key over other elements.
    share = group.scalar_multiply(KEY.polynomial.share(LIAR), group.scalar_of(1))
    yield evaluate(share, BATCH.elements, os.urandom)
    yield Evaluation(answer.elements, evaluate(share, BATCH.elements[:1], os.urandom).proof)
    # Proofs of nothing.
    zero, unit = group.scalar_of(0), group.scalar_of(1)
    for challenge, response in ((zero, zero), (zero, unit), (unit, zero), (unit, unit)):
        yield Evaluation(answer.elements, Proof(challenge, response))
        yield Evaluation((IDENTITY, IDENTITY), Proof(challenge, response))


@pytest.mark.parametrize("lie", list(lies()))
def test_a_lie_is_refused_and_names_the_liar(lie: Evaluation) -> None:
    """None of them passes, alone or beside an honest answer."""
    assert refused(lie)
    with pytest.raises(BadShareError) as caught:
        QUORUM.combine(BATCH, {1: ANSWERS[1], LIAR: lie})
    assert caught.value.holder == LIAR


def test_an_error_hidden_by_a_right_majority_is_found() -> None:
    """One wrong element among a thousand right ones fails the proof."""
    batch = blind([b"%d" % i for i in range(1000)], fixed_randomness("many"))
    answer = KEY.answer(LIAR, INDICES, batch)
    assert dleq.verify(QUORUM.keys[LIAR], batch.elements, answer.elements, answer.proof)
    wrong = replaced(answer.elements, 613, group.add(answer.elements[613], group.GENERATOR))
    assert not dleq.verify(QUORUM.keys[LIAR], batch.elements, wrong, answer.proof)


def test_answers_of_two_holders_cannot_be_swapped() -> None:
    """Each proof is against its own holder's key."""
    with pytest.raises(BadShareError):
        QUORUM.combine(BATCH, {1: ANSWERS[LIAR], LIAR: ANSWERS[1]})


def test_a_reused_nonce_would_give_the_key_away() -> None:
    """Why nonces are fresh: two proofs with one nonce are two equations for the key."""
    key, nonce = group.scalar_of(123456789), fixed_randomness("stuck")(64)
    proofs = [evaluate(key, [element], lambda _: nonce).proof for element in BATCH.elements]
    challenges = group.scalar_subtract(proofs[0].challenge, proofs[1].challenge)
    responses = group.scalar_subtract(proofs[1].response, proofs[0].response)
    assert group.scalar_multiply(responses, group.scalar_invert(challenges)) == key


def test_fresh_proofs_of_one_answer_differ() -> None:
    """With true randomness no two proofs share their nonce, so not their challenge."""
    proofs = [evaluate(group.scalar_of(5), BATCH.elements, os.urandom).proof for _ in range(8)]
    assert len({proof.challenge for proof in proofs}) == 8
