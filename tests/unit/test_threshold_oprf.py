"""Evaluation with a shared key: blinding, holders' answers, and what the asker makes of them."""

import os
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixed_randomness import fixed_randomness
from jointrisk.errors import ConflictError, InvalidInputError, TooLargeError
from jointrisk.oprf import bulk, group
from jointrisk.oprf.bulk import MAX_BATCH
from jointrisk.oprf.dleq import Proof
from jointrisk.oprf.group import GENERATOR, IDENTITY, ORDER
from jointrisk.oprf.holder import Evaluation, evaluate_share, evaluate_unproven
from jointrisk.oprf.requester import blind
from jointrisk.oprf.suite import MAX_INPUT, VOPRF
from jointrisk.oprf.threshold import BadShareError, Quorum
from oprf_sample import SharedKey

INPUTS = st.lists(st.binary(max_size=40), min_size=1, max_size=3)


def plain(key: SharedKey, inputs: list[bytes]) -> list[bytes]:
    """Return the outputs as one who knew the whole key would compute them: no blinds, no shares."""
    whole = key.polynomial.coefficients[0]
    return [VOPRF.finalize(one, group.multiply(whole, VOPRF.hash_to_group(one))) for one in inputs]


@pytest.mark.parametrize(("threshold", "holders"), [(1, 1), (1, 3), (2, 3), (3, 5), (5, 9)])
def test_every_quorum_gives_the_outputs_of_the_whole_key(threshold: int, holders: int) -> None:
    """Whichever holders are asked, the outputs are those of RFC 9497 with the key that nobody holds."""
    key = SharedKey(threshold, holders)
    batch = blind([b"one", b"two"], fixed_randomness("blinds"))
    expected = plain(key, [b"one", b"two"])
    for indices in list(combinations(key.indices, threshold))[:12]:
        assert key.quorum(indices).combine(batch, key.answers(indices, batch)) == expected


@given(INPUTS, st.sampled_from([(2, 3), (3, 4)]), st.randoms(use_true_random=False), st.text(max_size=4))
@settings(max_examples=25)
def test_any_threshold_of_holders_agrees(inputs: list[bytes], shape: tuple[int, int], draw: object, label: str) -> None:
    """Any inputs, any key, any holders in any order, any blinds: one output."""
    assert hasattr(draw, "sample")
    key = SharedKey(*shape, label)
    indices = draw.sample(list(key.indices), shape[0])
    batch = blind(inputs, fixed_randomness(f"blinds {label}"))
    assert key.quorum(indices).combine(batch, key.answers(indices, batch)) == plain(key, inputs)


def test_outputs_do_not_depend_on_the_blinds() -> None:
    """Two requests for one input look different and give the same."""
    key = SharedKey(2, 3)
    batches = [blind([b"one"], fixed_randomness(label)) for label in "ab"]
    assert batches[0].elements != batches[1].elements
    outputs = [key.quorum((1, 2)).combine(batch, key.answers((1, 2), batch)) for batch in batches]
    assert outputs[0] == outputs[1]


def test_each_input_has_a_blind_of_its_own() -> None:
    """The same input twice in a batch cannot be told from two inputs."""
    batch = blind([b"same"] * 3, os.urandom)
    assert len(set(batch.elements)) == 3
    assert len(set(batch.blinds)) == 3


@given(st.sets(st.integers(min_value=1, max_value=5), min_size=1, max_size=2), st.integers(min_value=1, max_value=1000))
@settings(max_examples=20)
def test_fewer_holders_answers_fit_every_key(few: set[int], guess: int) -> None:
    """With answers of fewer holders than needed every output is possible: a missing answer exists for each key."""
    key = SharedKey(3, 5)
    batch = blind([b"one"], fixed_randomness("few"))
    quorum = [*few, *[j for j in key.indices if j not in few][: 3 - len(few)]]
    shown = key.answers(quorum, batch)
    known = [shown[j].elements[0] for j in few]
    # For any other key the rest of the sum would be this element, as good as the one that it is.
    other = group.multiply(group.scalar_of(guess), batch.elements[0])
    for one in known:
        other = group.subtract(other, one)
    assert other == IDENTITY or group.element(other) == other
    total = other
    for one in known:
        total = group.add(total, one)
    expected = VOPRF.finalize(b"one", group.multiply(group.scalar_of(guess), VOPRF.hash_to_group(b"one")))
    assert batch.finalize([total]) == [expected]


def test_too_few_holders_are_noticed() -> None:
    """Their weighted keys do not make up the group's key; nobody is asked."""
    key = SharedKey(3, 5)
    for indices in [*combinations(key.indices, 1), *combinations(key.indices, 2)]:
        with pytest.raises(ConflictError, match="one generation"):
            key.quorum(indices)


def test_mixed_generations_are_noticed() -> None:
    """Shares of a refreshed key do not go with old ones, in any mixture, though the whole key is the same."""
    old = SharedKey(3, 5)
    fresh = SharedKey(3, 5, "refreshed")
    fresh.polynomial = type(fresh.polynomial)((old.polynomial.coefficients[0], *fresh.polynomial.coefficients[1:]))
    fresh.commitments = (old.commitments[0], *fresh.commitments[1:])
    assert fresh.quorum((1, 2, 3)) != old.quorum((1, 2, 3))
    for indices in combinations(old.indices, 3):
        for stale in (indices[:1], indices[:2], indices[1:]):
            keys = fresh.public_keys(indices) | old.public_keys(stale)
            with pytest.raises(ConflictError, match="generation"):
                Quorum.of(keys, old.public)


def test_a_holder_with_a_share_of_another_generation_is_named() -> None:
    """The asker knows the new keys and the holder answers with its old share: a bad answer, never a wrong output."""
    old, fresh = SharedKey(2, 3), SharedKey(2, 3, "next")
    batch = blind([b"one"], os.urandom)
    answers = {1: fresh.answer(1, (1, 2), batch), 2: old.answer(2, (1, 2), batch)}
    with pytest.raises(BadShareError) as caught:
        fresh.quorum((1, 2)).combine(batch, answers)
    assert caught.value.holder == 2


def test_a_holder_that_weighs_for_another_quorum_is_named() -> None:
    """The proof is against the key weighted for the quorum that was asked."""
    key = SharedKey(2, 3)
    batch = blind([b"one"], os.urandom)
    answers = {1: key.answer(1, (1, 2), batch), 2: key.answer(2, (2, 3), batch)}
    with pytest.raises(BadShareError) as caught:
        key.quorum((1, 2)).combine(batch, answers)
    assert caught.value.holder == 2


def test_the_answers_to_another_batch_are_refused() -> None:
    """A replayed answer does not fit."""
    key = SharedKey(2, 3)
    batch, other = blind([b"one"], os.urandom), blind([b"one"], os.urandom)
    answers = key.answers((1, 2), batch) | {1: key.answer(1, (1, 2), other)}
    with pytest.raises(BadShareError) as caught:
        key.quorum((1, 2)).combine(batch, answers)
    assert caught.value.holder == 1


@pytest.mark.parametrize("size", [0, 1, 3])
def test_an_answer_with_another_number_of_elements_is_bad(size: int) -> None:
    """A holder may neither leave elements out nor add some, whatever it proves."""
    key = SharedKey(2, 3)
    batch = blind([b"one", b"two"], os.urandom)
    longer = blind([b"one", b"two", b"three"], os.urandom)
    answers = key.answers((1, 2), batch)
    proven = key.answer(2, (1, 2), longer)
    answers[2] = Evaluation(proven.elements[:size], proven.proof)
    with pytest.raises(BadShareError) as caught:
        key.quorum((1, 2)).combine(batch, answers)
    assert caught.value.holder == 2


@pytest.mark.parametrize("indices", [(1,), (1, 2, 3), (1, 3)])
def test_the_answers_must_be_the_quorums(indices: tuple[int, ...]) -> None:
    """One too few, one too many, or another holder's: nothing is added up."""
    key = SharedKey(2, 3)
    batch = blind([b"one"], os.urandom)
    one = key.answer(1, (1, 2), batch)
    with pytest.raises(InvalidInputError, match="quorum"):
        key.quorum((1, 2)).combine(batch, dict.fromkeys(indices, one))
    with pytest.raises(InvalidInputError, match="quorum"):
        key.quorum((1, 2)).check(3, batch, one)


def test_a_holder_outside_the_quorum_does_not_answer() -> None:
    """It has no coefficient for it."""
    key = SharedKey(2, 3)
    batch = blind([b"one"], os.urandom)
    with pytest.raises(InvalidInputError, match="this holder"):
        evaluate_share(key.polynomial.share(3), 3, (1, 2), batch.elements, os.urandom)


@pytest.mark.parametrize(
    "bad",
    [
        IDENTITY,
        b"",
        bytes(31),
        GENERATOR + b"\0",
        ORDER.to_bytes(32, "little"),
        b"\xff" * 32,
        GENERATOR[:-1] + bytes([GENERATOR[-1] | 0x80]),
    ],
)
@pytest.mark.parametrize("place", [0, 7, 39])
def test_one_bad_element_fails_the_whole_batch(bad: bytes, place: int) -> None:
    """A holder answers nothing then, wherever the element stands, with and without threads."""
    key = SharedKey(2, 3)
    elements: list[bytes] = list(blind([b"%d" % i for i in range(40)], os.urandom).elements)
    elements[place] = bad
    with pytest.raises(InvalidInputError):
        evaluate_share(key.polynomial.share(1), 1, (1, 2), elements, os.urandom)
    with pytest.raises(InvalidInputError):
        evaluate_share(key.polynomial.share(1), 1, (1, 2), [bad], os.urandom)


def test_batches_have_limits() -> None:
    """Nothing, and one more than allowed, are refused by asker and holder before any work."""
    key = group.scalar_of(1)
    for refused, count in ((InvalidInputError, 0), (TooLargeError, MAX_BATCH + 1)):
        with pytest.raises(refused):
            blind([b""] * count, bytes)
        with pytest.raises(refused):
            evaluate_unproven(key, [GENERATOR] * count)


def test_inputs_have_a_limit() -> None:
    """RFC 9497 allows 65,535 bytes."""
    assert len(blind([bytes(MAX_INPUT)], os.urandom).elements) == 1
    with pytest.raises(InvalidInputError, match="65535"):
        blind([bytes(MAX_INPUT + 1)], os.urandom)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 31, 100])
def test_the_order_of_a_batch_is_kept(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs belong to their inputs, however many threads work on how many chunks."""
    key = SharedKey(2, 3)
    inputs = [b"%d" % i for i in range(count)]
    batch = blind(inputs, os.urandom)
    outputs = key.quorum((2, 3)).combine(batch, key.answers((2, 3), batch))
    assert outputs == plain(key, inputs)
    for cores in (1, 3):
        monkeypatch.setattr(bulk, "_cores", lambda cores=cores: cores)
        assert key.quorum((2, 3)).combine(batch, key.answers((2, 3), batch)) == outputs


def test_blinds_that_are_inverted_early_give_the_same_outputs() -> None:
    """An asker inverts them while it waits for answers."""
    batch = blind([b"one", b"two", b"three"], os.urandom)
    evaluated = evaluate_unproven(group.scalar_of(7), batch.elements)
    assert batch.finalize(evaluated, batch.unblinds()) == batch.finalize(evaluated)


def test_finalize_wants_one_element_for_each_input() -> None:
    """Fewer or more are refused."""
    batch = blind([b"one", b"two"], os.urandom)
    for count in (0, 1, 3):
        with pytest.raises(InvalidInputError, match="2 evaluated"):
            batch.finalize([GENERATOR] * count)


def test_secrets_are_not_printed() -> None:
    """Neither a batch nor a key pair shows what is secret in it."""
    batch = blind([b"13800138000"], os.urandom)
    assert "13800138000" not in repr(batch)
    assert batch.blinds[0].hex() not in repr(batch)
    assert repr(bytes(batch.blinds[0])) not in repr(batch)
    keys = VOPRF.derive_key_pair(bytes(32), b"")
    assert keys.private.hex() not in repr(keys)
    assert repr(bytes(keys.private)) not in f"{keys!r} {keys}"


def test_an_error_about_an_answer_does_not_hold_it() -> None:
    """The message names the holder by index, and nothing that was asked or answered."""
    key = SharedKey(2, 3)
    batch = blind([b"one"], os.urandom)
    answers = key.answers((1, 2), batch)
    answers[1] = Evaluation(answers[1].elements, Proof(group.scalar_of(1), group.scalar_of(2)))
    with pytest.raises(BadShareError) as caught:
        key.quorum((1, 2)).combine(batch, answers)
    assert caught.value.holder == 1
    assert "holder 1" in caught.value.message
    assert len(caught.value.message) < 100


def test_seeds_and_infos_have_their_lengths() -> None:
    """DeriveKeyPair takes 32 bytes of seed and at most 65,535 of information."""
    for seed, info in ((bytes(31), b""), (bytes(33), b""), (bytes(32), bytes(MAX_INPUT + 1))):
        with pytest.raises(InvalidInputError):
            VOPRF.derive_key_pair(seed, info)
