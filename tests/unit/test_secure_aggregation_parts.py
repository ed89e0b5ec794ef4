"""The parts of secure aggregation by themselves: sharing, masks, parameters, the bytes of messages and records."""

import hashlib
from itertools import combinations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from jointrisk.errors import InvalidInputError
from jointrisk.learning.secure_aggregation import (
    Answer,
    Answered,
    Contributions,
    Count,
    Kind,
    Layout,
    Parameters,
    Real,
    Rule,
    RuleError,
    Terms,
    agreement,
    encoding,
    masks,
    messages,
)
from jointrisk.learning.secure_aggregation.masks import SumContext
from jointrisk.learning.secure_aggregation.participant_state import ParticipantState
from jointrisk.learning.secure_aggregation.sharing import PRIME, Interpolation, is_share, split
from simulation.secagg_sample import (
    REQUEST,
    STATEMENT,
    TRAINED,
    Member,
    names,
    policy,
    randomness,
    seeded,
    series_terms,
    terms,
)

CONTEXT = SumContext(bytes(32), b"k" * 32, b"c" * 32, 4, 7, REQUEST)


def test_the_field_is_of_the_smallest_prime_above_all_secrets() -> None:
    """2^256 + 297 is a probable prime to forty bases, and no smaller number above 2^256 is one."""
    bases = [seeded(1).randrange(2, PRIME) for _ in range(40)]
    assert all(_passes(PRIME, base) for base in bases)
    assert not any(_passes(number, 2) and _passes(number, 3) for number in range((1 << 256) + 1, PRIME, 2))


def _passes(number: int, base: int) -> bool:
    """Miller and Rabin's test."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    power = pow(base, odd, number)
    return power in {1, number - 1} or any((power := power * power % number) == number - 1 for _ in range(twos - 1))


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, hashlib.sha256(b"secret").digest()])
def test_any_threshold_of_shares_makes_the_secret(secret: bytes) -> None:
    """Every set of t shares, and no set of fewer."""
    shares = dict(enumerate(split(secret, 3, 5, randomness(1)), 1))
    assert all(map(is_share, shares.values()))
    for places in combinations(shares, 3):
        assert Interpolation(places).secret(shares) == secret
    for fewer in combinations(shares, 2):
        assert Interpolation(fewer).secret(shares) != secret


def test_fewer_shares_fit_every_secret() -> None:
    """With t - 1 shares, any secret has a polynomial through them: they tell nothing."""
    shares = dict(enumerate(split(bytes(32), 2, 3, randomness(1)), 1))
    wanted = 12345
    first = int.from_bytes(shares[1], "big")
    other = (wanted + 2 * (first - wanted)) % PRIME
    made = Interpolation((1, 2)).secret({1: shares[1], 2: other.to_bytes(33, "big")})
    assert made == wanted.to_bytes(32, "big")


def test_shares_outside_of_the_field_and_secrets_of_other_lengths_are_refused() -> None:
    """The prime itself is no element, and neither are 32 bytes; what is no secret is None."""
    assert not is_share(PRIME.to_bytes(33, "big"))
    assert not is_share(bytes(32))
    assert Interpolation((1,)).secret({1: (1 << 256).to_bytes(33, "big")}) is None
    with pytest.raises(InvalidInputError):
        split(bytes(31), 2, 3, randomness(1))


@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
@pytest.mark.parametrize("count", [0, 1, 65_536, 200_003])
def test_a_mask_is_the_stream_of_the_cipher(dtype: str, count: int) -> None:
    """Words are AES-256-CTR's bytes from counter zero, little-endian, also past the pieces in which they are added."""
    key = hashlib.sha256(b"key").digest()
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    words = np.arange(count).astype(dtype)
    expected = words + np.frombuffer(stream.update(bytes(words.nbytes)), dtype=dtype)
    masks.add(words, key)
    assert (words == expected).all()
    masks.add(words, key, subtract=True)
    assert (words == np.arange(count).astype(dtype)).all()


def test_masks_are_bound_to_everything() -> None:
    """Any difference in what the sum is, or between whom, is another key."""
    agreed = bytes(32)
    keys = {masks.pair_key(agreed, CONTEXT, "one", "two"), masks.own_key(agreed, CONTEXT, "one")}
    assert masks.pair_key(agreed, CONTEXT, "two", "one") in keys
    for changed in (
        SumContext(b"t" * 32, CONTEXT.keys, CONTEXT.cohort, 4, 7, REQUEST),
        SumContext(CONTEXT.terms, b"x" * 32, CONTEXT.cohort, 4, 7, REQUEST),
        SumContext(CONTEXT.terms, CONTEXT.keys, b"x" * 32, 4, 7, REQUEST),
        SumContext(CONTEXT.terms, CONTEXT.keys, CONTEXT.cohort, 5, 7, REQUEST),
        SumContext(CONTEXT.terms, CONTEXT.keys, CONTEXT.cohort, 4, 8, REQUEST),
        SumContext(CONTEXT.terms, CONTEXT.keys, CONTEXT.cohort, 4, 7, bytes(32)),
    ):
        keys |= {masks.pair_key(agreed, changed, "one", "two"), masks.own_key(agreed, changed, "one")}
    keys |= {masks.pair_key(agreed, CONTEXT, "one", "three"), masks.own_key(agreed, CONTEXT, "two")}
    assert len(keys) == 16


def test_chosen_parameters_keep_the_rules_and_let_the_most_drop() -> None:
    """For every n and f that has any: the smallest t and the smallest minimum that keep both inequalities."""
    for parties in range(3, 101):
        for colluders in range(parties):
            if colluders > parties - 2:
                continue
            try:
                chosen = Parameters.choose(parties, colluders)
            except RuleError:
                assert 2 * parties <= parties + colluders
                continue
            assert 2 * chosen.threshold > parties + colluders >= 2 * (chosen.threshold - 1)
            assert chosen.minimum == max(3, parties - chosen.threshold + colluders + 1)
            assert chosen.needed - colluders >= 2
            if (parties, colluders) != (3, 0):
                assert chosen.droppable == parties - chosen.threshold


@pytest.mark.parametrize(
    ("numbers", "rule"),
    [
        ((2, 0, 2, 2), Rule.PARTIES),
        ((101, 0, 60, 60), Rule.PARTIES),
        ((5, -1, 3, 3), Rule.COLLUDERS),
        ((5, 1, 3, 4), Rule.THRESHOLD),
        ((5, 0, 6, 3), Rule.THRESHOLD),
        ((5, 1, 4, 2), Rule.MINIMUM),
        ((5, 0, 3, 2), Rule.MINIMUM),
        ((5, 0, 3, 6), Rule.MINIMUM),
    ],
)
def test_parameters_that_do_not_protect_are_refused(numbers: tuple[int, int, int, int], rule: Rule) -> None:
    """The rule is named."""
    with pytest.raises(RuleError) as refusal:
        Parameters(*numbers).check()
    assert refusal.value.rule is rule


@pytest.mark.parametrize("of", [terms(names(5), 1), series_terms(names(3))], ids=["round", "series"])
def test_terms_have_one_byte_form(of: Terms) -> None:
    """They are read back, and neither fewer nor more bytes, nor another format or mode, are terms."""
    assert Terms.decode(of.encoded) == of
    for other in (of.encoded[:-1], of.encoded + b"\0", b"\2" + of.encoded[1:], b"\1\3" + of.encoded[2:], b""):
        with pytest.raises(InvalidInputError):
            Terms.decode(other)


def test_the_bytes_do_not_change() -> None:
    """What this version writes, other versions read: digests of the bytes of terms, keys and masks."""
    of = terms(names(3))
    advert = Member(names(3)[0], policy(names(3))).ask(of, messages.request_frame(Kind.KEYS, of, of.encoded))
    found = {
        "terms": of.digest.hex()[:16],
        "keys": hashlib.sha256(advert).hexdigest()[:16],
        "pair": masks.pair_key(bytes(32), CONTEXT, "one", "two").hex()[:16],
        "own": masks.own_key(bytes(32), CONTEXT, "one").hex()[:16],
        "seed": agreement.seed_commitment(bytes(32), bytes(32), "one").hex()[:16],
        "share": agreement.share_commitment(bytes(33), 1, bytes(32), "one", "two").hex()[:16],
    }
    assert found == {
        "terms": "7903d71cb0a35b99",
        "keys": "72dbe2233f176b94",
        "pair": "8638255d4b3b411a",
        "own": "e35e9a7d985793f8",
        "seed": "f3c75dc02f59b80d",
        "share": "309753bde16d253b",
    }


@pytest.mark.parametrize(
    "layout",
    [
        Layout((), 1, weighted=False),
        Layout((Real(1, 0, 1, (1 << 16) - 1),), 1, weighted=False),
        Layout((Real(1, 0, 1, (1 << 32) + 1),), 1, weighted=False),
        Layout((Real(1, 1, 1),), 1, weighted=False),
        Layout((Real(1, 0, float("inf")),), 1, weighted=False),
        Layout((Real(1, float("nan"), 1),), 1, weighted=False),
        Layout((Real(1, 0, 1),), 0, weighted=False),
        Layout((Count(1, 0),), 1, weighted=False),
        Layout((Count(1, 5),), 1, weighted=True),
    ],
)
def test_layouts_that_nobody_should_agree_to_are_refused(layout: Layout) -> None:
    """Too few levels, no range, no weight, means of counts."""
    with pytest.raises(InvalidInputError):
        layout.check()


def test_layouts_of_another_kind_are_refused() -> None:
    """A block that is neither reals nor counts."""
    written = bytearray(Layout((Count(1, 5),), 1, weighted=False).encoded())
    written[11] = 3
    with pytest.raises(InvalidInputError):
        Layout.read(encoding.Reader(bytes(written), "a layout"))


def test_names_and_places_have_one_form() -> None:
    """Capitals, empty names, places that do not ascend, are zero or past the last, flags that are neither."""
    for text in ("", "Bank", "-bank", "b" * 41):
        with pytest.raises(InvalidInputError):
            encoding.name(text)
    for data in (b"\2\2\1", b"\2\1\1", b"\1\0", b"\1\6", b"\2\1"):
        with pytest.raises(InvalidInputError):
            encoding.Reader(data, "places").places(5)
    with pytest.raises(InvalidInputError):
        encoding.Reader(b"\2", "a flag").flag()


def test_a_state_is_read_back_whole() -> None:
    """At each step; and not when something is missing from its end, or too much is there."""
    of = terms(names(3))
    member = Member(names(3)[0], policy(names(3)))
    member.ask(of, messages.request_frame(Kind.KEYS, of, of.encoded))
    state = member.states[of.digest]
    assert ParticipantState.decode(state).encode() == state
    for other in (state[:-1], state + b"\0", b""):
        with pytest.raises(InvalidInputError):
            ParticipantState.decode(other)


def test_secrets_do_not_show() -> None:
    """Not in the text that stands for a state or an answer in a log."""
    of = terms(names(3))
    member = Member(names(3)[0], policy(names(3)))
    member.ask(of, messages.request_frame(Kind.KEYS, of, of.encoded))
    state = ParticipantState.decode(member.states[of.digest])
    assert state.secrets is not None
    assert repr(state.secrets.seed) not in repr(state)
    assert repr(state.secrets.mask_key) not in repr(state)
    assert "reply" not in repr(Answer.decode(member.answers[0]))


def test_answers_are_kept_by_session_attempt_and_number() -> None:
    """The same request has the same reply, another is refused, and another attempt knows nothing of it."""
    of, later = terms(names(3)), terms(names(3), attempt=2)
    answered = Answered(of)
    assert answered.repeated(3, REQUEST) is None
    answered.add(3, REQUEST, b"reply")
    kept = [Answer.decode(one.encode()) for one in answered.answers]
    again = Answered(of, kept)
    assert again.repeated(3, REQUEST) == b"reply"
    assert again.last == 3
    with pytest.raises(RuleError) as refusal:
        again.repeated(3, STATEMENT)
    assert refusal.value.rule is Rule.ONE_ANSWER
    assert Answered(later, kept).repeated(3, REQUEST) is None


def test_contributions_are_read_back_whole() -> None:
    """Attempts and claims survive the store; a run that ended loses its attempts, and no claim."""
    of, known = terms(names(3)), Contributions()
    known.begin(of)
    known.finish(of, STATEMENT, names(3))
    again = Contributions(known.encode())
    assert again.encode() == known.encode()
    with pytest.raises(RuleError):
        again.begin(terms(names(3), attempt=2))
    with pytest.raises(RuleError):
        again.claim(STATEMENT, names(2))
    again.claim(STATEMENT, reversed(names(3)))
    again.forget_run("run")
    with pytest.raises(RuleError):
        again.begin(terms(names(3), attempt=2))
    again.forget_run("run-1")
    again.begin(of)
    with pytest.raises(RuleError):
        again.claim(STATEMENT, names(2))
    with pytest.raises(InvalidInputError):
        Contributions(known.encode()[:-1])


def test_requests_are_read_strictly() -> None:
    """Another format, an unknown kind, a reply in place of a request, bytes that end early."""
    of = terms(names(3))
    right = messages.request_frame(Kind.SIGN, of, b"")
    assert messages.read_request(right, of) == (Kind.SIGN, b"")
    for other in (b"\2" + right[1:], b"\1\x09" + right[2:], messages.reply_frame(Kind.SIGN, of, b""), right[:33]):
        with pytest.raises(InvalidInputError):
            messages.read_request(other, of)
    with pytest.raises(InvalidInputError):
        messages.SumRequest.decode(messages.SumRequest(1, REQUEST, TRAINED).encoded + b"\0")
