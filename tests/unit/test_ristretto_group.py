"""ristretto255 through ctypes: values of RFC 9496, and what is refused."""

import os
import sys
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixed_randomness import fixed_randomness
from jointrisk.errors import InvalidInputError
from jointrisk.oprf import group
from jointrisk.oprf.group import GENERATOR, IDENTITY, ORDER, Element, Scalar

ZERO = group.scalar_of(0)
ONE = group.scalar_of(1)

# RFC 9496 Appendix A.1: the generator's multiples by 1 to 15.
MULTIPLES = [
    "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
    "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
    "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
    "da80862773358b466ffadfe0b3293ab3d9fd53c5ea6c955358f568322daf6a57",
    "e882b131016b52c1d3337080187cf768423efccbb517bb495ab812c4160ff44e",
    "f64746d3c92b13050ed8d80236a7f0007c3b3f962f5ba793d19a601ebb1df403",
    "44f53520926ec81fbd5a387845beb7df85a96a24ece18738bdcfa6a7822a176d",
    "903293d8f2287ebe10e2374dc1a53e0bc887e592699f02d077d5263cdd55601c",
    "02622ace8f7303a31cafc63f8fc48fdc16e1c8c8d234b2f0d6685282a9076031",
    "20706fd788b2720a1ed2a5dad4952b01f413bcf0e7564de8cdc816689e2db95f",
    "bce83f8ba5dd2fa572864c24ba1810f9522bc6004afe95877ac73241cafdab42",
    "e4549ee16b9aa03099ca208c67adafcafa4c3f3e4e5303de6026e3ca8ff84460",
    "aa52e000df2e16f55fb1032fc33bc42742dad6bd5a8fc0be0167436c5948501f",
    "46376b80f409b29dc2b5f6f0c52591990896e5716f41477cd30085ab7f10301e",
    "e0c418f7c8d9c4cdd7395b93ea124f3ad99021bb681dfc3302a9d99a2e53e64e",
]

# RFC 9496 Appendix A.2: not canonical, negative, no square, negative xy, y = 0.
BAD = [
    "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
    "c34c4e1826e5d403b78e246e88aa051c36ccf0aafebffe137d148a2bf9104562",
    "c940e5a4404157cfb1628b108db051a8d439e1a421394ec4ebccb9ec92a8ac78",
    "47cfc5497c53dc8e61c91d17fd626ffb1c49e2bca94eed052281b510b1117a24",
    "f1c6165d33367351b0da8f6e4511010c68174a03b6581212c71c0e1d026c3c72",
    "87260f7a2f12495118360f02c26a470f450dadf34a413d21042b43b9d93e1309",
    "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
    "4eac077a713c57b4f4397629a4145982c661f48044dd3f96427d40b147d9742f",
    "de6a7b00deadc788eb6b6c8d20c0ae96c2f2019078fa604fee5b87d6e989ad7b",
    "bcab477be20861e01e4a0e295284146a510150d9817763caf1a6f4b422d67042",
    "2a292df7e32cababbd9de088d1d1abec9fc0440f637ed2fba145094dc14bea08",
    "f4a9e534fc0d216c44b218fa0c42d99635a0127ee2e53c712f70609649fdff22",
    "8268436f8c4126196cf64b3c7ddbda90746a378625f9813dd9b8457077256731",
    "2810e5cbc2cc4d4eece54f61c6f69758e289aa7ab440b3cbeaa21995c2f4232b",
    "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
    "a45fdc55c76448c049a1ab33f17023edfb2be3581e9c7aade8a6125215e04220",
    "d483fe813c6ba647ebbfd3ec41adca1c6130c2beeee9d9bf065c8d151c5f396e",
    "8a2e1d30050198c65a54483123960ccc38aef6848e1ec8f5f780e8523769ba32",
    "32888462f8b486c68ad7dd9610be5192bbeaf3b443951ac1a8118419d9fa097b",
    "227142501b9d4355ccba290404bde41575b037693cef1f438c47f8fbf35d1165",
    "5c37cc491da847cfeb9281d407efc41e15144c876e0170b499a96a22ed31e01e",
    "445425117cb8c90edcbc7c1cc0e74f747f2c1efa5630a967c64f287792a48a4b",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]

NUMBERS = st.integers(min_value=0, max_value=ORDER - 1)
WRONG_LENGTHS = [b"", bytes(31), bytes(33), bytes(64)]


def number(one: Scalar) -> int:
    """Return a scalar as a number."""
    return int.from_bytes(one, "little")


def test_small_multiples_are_those_of_the_rfc() -> None:
    """Both multiplications and the addition agree with RFC 9496 Appendix A.1."""
    total = IDENTITY
    for factor, text in enumerate(MULTIPLES, start=1):
        total = group.add(total, GENERATOR)
        expected = bytes.fromhex(text)
        assert group.multiply_base(group.scalar_of(factor)) == expected == total
        assert group.multiply(group.scalar_of(factor), GENERATOR) == expected
        assert group.element(expected) == expected


@pytest.mark.parametrize("text", [*BAD, *(f"{text[:-2]}{int(text[-2:], 16) | 0x80:02x}" for text in MULTIPLES)])
def test_bad_encodings_are_refused_everywhere(text: str) -> None:
    """No function takes an encoding of RFC 9496 Appendix A.2 for an element, nor a good one with its last bit set."""
    bad = Element(bytes.fromhex(text))
    calls: list[Callable[[], bytes]] = [
        lambda: group.element(bad),
        lambda: group.multiply(ONE, bad),
        lambda: group.add(bad, GENERATOR),
        lambda: group.add(GENERATOR, bad),
        lambda: group.subtract(bad, GENERATOR),
        lambda: group.subtract(GENERATOR, bad),
    ]
    for call in calls:
        with pytest.raises(InvalidInputError):
            call()


def test_the_identity_is_no_element_from_outside() -> None:
    """The library takes it for a valid one; we do not, and no multiple of it is made."""
    with pytest.raises(InvalidInputError):
        group.element(IDENTITY)
    with pytest.raises(InvalidInputError):
        group.multiply(ONE, IDENTITY)


def test_sums_may_be_the_identity() -> None:
    """An element less itself is the identity, and adding the identity changes nothing."""
    assert group.subtract(GENERATOR, GENERATOR) == IDENTITY
    assert group.add(GENERATOR, IDENTITY) == GENERATOR


def test_a_product_with_zero_is_refused() -> None:
    """Neither multiplication returns the identity."""
    with pytest.raises(InvalidInputError):
        group.multiply(ZERO, GENERATOR)
    with pytest.raises(InvalidInputError):
        group.multiply_base(ZERO)


@pytest.mark.parametrize("value", [ORDER, ORDER + 1, 2 * ORDER, 2**253, 2**255, 2**256 - 1])
def test_scalars_from_the_order_on_are_refused(value: int) -> None:
    """The library reduces them silently; a second spelling of a scalar would make proofs malleable."""
    data = value.to_bytes(32, "little")
    for read in (group.scalar, group.nonzero_scalar):
        with pytest.raises(InvalidInputError):
            read(data)


def test_the_greatest_scalar_and_zero_are_scalars() -> None:
    """The range is from 0 to one below the order; a key may not be 0."""
    for value in (0, 1, ORDER - 1):
        assert number(group.scalar(value.to_bytes(32, "little"))) == value
    assert group.nonzero_scalar(ONE) == ONE
    with pytest.raises(InvalidInputError):
        group.nonzero_scalar(ZERO)


@pytest.mark.parametrize("data", WRONG_LENGTHS)
def test_wrong_lengths_never_reach_the_library(data: bytes) -> None:
    """It reads 32 bytes from wherever it is pointed to, so that shorter ones would show other memory."""
    scalar, element = Scalar(data), Element(data)
    calls: list[Callable[[], bytes]] = [
        lambda: group.element(data),
        lambda: group.scalar(data),
        lambda: group.nonzero_scalar(data),
        lambda: group.scalar_add(scalar, ONE),
        lambda: group.scalar_add(ONE, scalar),
        lambda: group.scalar_subtract(scalar, ONE),
        lambda: group.scalar_subtract(ONE, scalar),
        lambda: group.scalar_multiply(scalar, ONE),
        lambda: group.scalar_multiply(ONE, scalar),
        lambda: group.scalar_invert(scalar),
        lambda: group.add(element, GENERATOR),
        lambda: group.add(GENERATOR, element),
        lambda: group.subtract(element, GENERATOR),
        lambda: group.subtract(GENERATOR, element),
        lambda: group.multiply(scalar, GENERATOR),
        lambda: group.multiply(ONE, element),
        lambda: group.multiply_base(scalar),
        lambda: group.reduce(data[:63]),
        lambda: group.from_uniform(data[:63]),
    ]
    for call in calls:
        with pytest.raises(InvalidInputError, match="bytes"):
            call()


@given(NUMBERS, NUMBERS)
def test_scalars_compute_as_numbers_do(one: int, other: int) -> None:
    """Sum, difference and product are those modulo the order."""
    a, b = group.scalar_of(one), group.scalar_of(other)
    assert number(group.scalar_add(a, b)) == (one + other) % ORDER
    assert number(group.scalar_subtract(a, b)) == (one - other) % ORDER
    assert number(group.scalar_multiply(a, b)) == one * other % ORDER


@given(NUMBERS.filter(bool))
def test_a_scalar_times_its_inverse_is_one(value: int) -> None:
    """Every scalar but zero has an inverse."""
    scalar = group.scalar_of(value)
    assert group.scalar_multiply(scalar, group.scalar_invert(scalar)) == ONE


def test_zero_has_no_inverse() -> None:
    """It is refused, not inverted to zero."""
    with pytest.raises(InvalidInputError):
        group.scalar_invert(ZERO)


@given(st.binary(min_size=64, max_size=64))
def test_uniform_bytes_are_reduced_by_the_order(data: bytes) -> None:
    """64 bytes are a number in little-endian order."""
    assert number(group.reduce(data)) == int.from_bytes(data, "little") % ORDER


@given(st.integers(min_value=-(2**300), max_value=2**300))
def test_public_numbers_become_scalars_by_reduction(value: int) -> None:
    """Negative ones too: Lagrange coefficients are made of them."""
    assert number(group.scalar_of(value)) == value % ORDER


@given(NUMBERS.filter(bool), NUMBERS.filter(bool))
def test_multiplication_is_a_homomorphism(one: int, other: int) -> None:
    """Factors can be applied in any order, and added before or after."""
    a, b = group.scalar_of(one), group.scalar_of(other)
    assert group.multiply(a, group.multiply_base(b)) == group.multiply(b, group.multiply_base(a))
    difference = group.subtract(group.multiply_base(a), group.multiply_base(b))
    expected = IDENTITY if one == other else group.multiply_base(group.scalar_subtract(a, b))
    assert difference == expected


@given(st.binary(min_size=64, max_size=64))
def test_uniform_bytes_become_valid_elements(data: bytes) -> None:
    """What the map gives can be sent and read."""
    mapped = group.from_uniform(data)
    assert mapped == IDENTITY or group.element(mapped) == mapped


def test_random_scalars_skip_zero() -> None:
    """A draw that reduces to zero is drawn again, from fresh bytes."""
    draws = iter([bytes(64), ORDER.to_bytes(64, "little"), ONE + bytes(32)])
    assert group.random_scalar(lambda _: next(draws)) == ONE


def test_randomness_that_is_stuck_is_refused() -> None:
    """A broken source of randomness gives an error, not an endless loop and not a key of zero."""
    with pytest.raises(InvalidInputError, match="random"):
        group.random_scalar(bytes)


@pytest.mark.parametrize("length", [0, 32, 63, 65])
def test_randomness_of_another_length_is_refused(length: int) -> None:
    """Short randomness never becomes a scalar."""
    with pytest.raises(InvalidInputError):
        group.random_scalar(lambda _: os.urandom(length))


def test_scalars_are_what_the_randomness_says() -> None:
    """The same randomness gives the same scalar, other randomness another."""
    assert group.random_scalar(fixed_randomness("a")) == group.random_scalar(fixed_randomness("a"))
    assert group.random_scalar(fixed_randomness("a")) != group.random_scalar(fixed_randomness("b"))


def test_in_one_piece_no_other_thread_comes_in_between() -> None:
    """Elsewhere a call lets others run while it computes: bulk work on all cores. The values are the same."""
    factor, expected = group.scalar_of(5), Element(bytes.fromhex(MULTIPLES[4]))
    interval, ended, steps = sys.getswitchinterval(), threading.Event(), [0]

    def count() -> None:
        while not ended.is_set():
            steps[0] += 1
            time.sleep(0)  # lets go of the lock

    sys.setswitchinterval(60)  # nobody is made to let go of the lock
    counting = threading.Thread(target=count)
    try:
        with group.in_one_piece():
            counting.start()
            while not steps[0]:
                time.sleep(0.001)
            before = steps[0]
            assert {group.multiply(factor, GENERATOR) for _ in range(1_000)} == {expected}
            assert steps[0] == before
        for _ in range(1_000):
            assert group.multiply(factor, GENERATOR) == expected
            if steps[0] > before:
                break
        assert steps[0] > before
    finally:
        ended.set()
        sys.setswitchinterval(interval)
        counting.join()
