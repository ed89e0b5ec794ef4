"""Shamir's sharing and Feldman's commitments."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixed_randomness import fixed_randomness
from jointrisk.errors import InvalidInputError
from jointrisk.oprf import group
from jointrisk.oprf.group import IDENTITY, ORDER, Scalar
from jointrisk.oprf.sharing import (
    MAX_INDEX,
    Polynomial,
    commit,
    evaluate_commitments,
    invert_all,
    lagrange,
)
from oprf_sample import flipped

INDICES = st.integers(min_value=1, max_value=MAX_INDEX)
QUORUMS = st.lists(INDICES, min_size=1, max_size=6, unique=True)
NUMBERS = st.integers(min_value=1, max_value=ORDER - 1)


def number(one: Scalar) -> int:
    """Return a scalar as a number."""
    return int.from_bytes(one, "little")


def polynomial(threshold: int, label: str = "p") -> Polynomial:
    """Return a polynomial that is the same every time."""
    randomness = fixed_randomness(label)
    return Polynomial.random(group.random_scalar(randomness), threshold, randomness)


def secret_of(shares: dict[int, Scalar]) -> int:
    """Interpolate at 0 with Python's integers, apart from the code under test."""
    total = 0
    for i, share in shares.items():
        term = number(share)
        for j in shares:
            if j != i:
                term = term * j * pow(j - i, -1, ORDER) % ORDER
        total += term
    return total % ORDER


@given(QUORUMS, st.text(max_size=5))
def test_any_threshold_of_shares_gives_the_secret(indices: list[int], label: str) -> None:
    """Whichever holders come together, they hold the same secret."""
    made = polynomial(len(indices), label)
    assert secret_of({j: made.share(j) for j in indices}) == number(made.coefficients[0])


@given(QUORUMS, st.text(max_size=5))
def test_lagrange_coefficients_weigh_the_shares(indices: list[int], label: str) -> None:
    """The weighted sum of shares is the secret, and one coefficient belongs to each holder."""
    made = polynomial(len(indices), label)
    coefficients = lagrange(indices)
    assert list(coefficients) == indices
    weighted = [number(coefficients[j]) * number(made.share(j)) for j in indices]
    assert sum(weighted) % ORDER == number(made.coefficients[0])


@given(st.lists(INDICES, min_size=1, max_size=5, unique=True), NUMBERS, st.text(max_size=5))
def test_fewer_shares_are_consistent_with_every_secret(indices: list[int], secret: int, label: str) -> None:
    """For any other secret there is a polynomial with the very same shares, so that they say nothing about it."""
    made = polynomial(len(indices) + 1, label)
    # Add secret * z(x), where z is 1 at 0 and 0 at each of the indices: the shares stay, the secret moves.
    difference = secret - number(made.coefficients[0])
    vanishing = [1]
    for j in indices:
        scale = pow(-j, -1, ORDER)
        shifted = [0, *(one * scale for one in vanishing)]
        vanishing = [(a + b) % ORDER for a, b in zip([*vanishing, 0], shifted, strict=True)]
    moved = [number(a) + difference * z for a, z in zip(made.coefficients, vanishing, strict=True)]
    other = Polynomial(tuple(group.scalar_of(one) for one in moved))
    assert number(other.coefficients[0]) == secret
    assert [other.share(j) for j in indices] == [made.share(j) for j in indices]


def test_fewer_shares_do_not_give_the_secret() -> None:
    """One holder less than the threshold interpolates something else, in every choice of them."""
    made = polynomial(3)
    for few in combinations(range(1, 6), 2):
        assert secret_of({j: made.share(j) for j in few}) != number(made.coefficients[0])


@given(st.integers(min_value=1, max_value=6), INDICES, st.text(max_size=5))
def test_commitments_give_the_public_keys_of_shares(threshold: int, index: int, label: str) -> None:
    """Everybody can compute a share's public key, and its holder can check the share with it."""
    made = polynomial(threshold, label)
    assert evaluate_commitments(commit(made), index) == group.multiply_base(made.share(index))


def test_the_first_commitment_is_the_secrets_public_key() -> None:
    """The whole key's public key is read off the commitments."""
    made = polynomial(3)
    assert commit(made)[0] == group.multiply_base(made.coefficients[0])


def test_every_flipped_bit_of_a_commitment_is_noticed() -> None:
    """It is no element any more, or the share does not fit it: for each bit of each commitment."""
    made = polynomial(2)
    commitments = commit(made)
    share = group.multiply_base(made.share(3))
    for place, commitment in enumerate(commitments):
        for changed in flipped(commitment):
            try:
                read = group.element(changed)
            except InvalidInputError:
                continue
            others = [*commitments[:place], read, *commitments[place + 1 :]]
            assert evaluate_commitments(others, 3) != share


def test_every_flipped_bit_of_a_share_is_noticed() -> None:
    """It is no scalar any more, or does not fit the commitments."""
    made = polynomial(3)
    expected = evaluate_commitments(commit(made), 2)
    assert group.multiply_base(made.share(2)) == expected
    for changed in flipped(made.share(2)):
        try:
            assert group.multiply_base(group.scalar(changed)) != expected
        except InvalidInputError:
            continue


@pytest.mark.parametrize("zeroed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)])
def test_sums_of_commitments_may_have_the_identity_in_them(zeroed: tuple[int, ...]) -> None:
    """A last dealer can cancel a coefficient of the others; the public key is still the right one."""
    made = polynomial(3)
    numbers = [0 if i in zeroed else number(one) for i, one in enumerate(made.coefficients)]
    commitments = [group.multiply_base(group.scalar_of(one)) if one else IDENTITY for one in numbers]
    value = sum(one * 7**power for power, one in enumerate(numbers)) % ORDER
    expected = group.multiply_base(group.scalar_of(value)) if value else IDENTITY
    assert evaluate_commitments(commitments, 7) == expected


def test_commitments_that_cancel_on_the_way_still_evaluate() -> None:
    """A sum that passes through the identity inside, for one index, gives that index its right key."""
    commitments = [group.multiply_base(group.scalar_of(one)) for one in (5, -3, 1)]
    assert evaluate_commitments(commitments, 3) == group.multiply_base(group.scalar_of(5))
    assert evaluate_commitments(commitments[1:], 3) == IDENTITY


@pytest.mark.parametrize("index", [0, -1, MAX_INDEX + 1, ORDER, ORDER + 1])
def test_indices_out_of_range_are_refused(index: int) -> None:
    """The value at 0 is the secret, and the order's multiples are 0 again."""
    made = polynomial(2)
    commitments = commit(made)
    for call in (made.share, lambda j: evaluate_commitments(commitments, j), lambda j: lagrange([1, j])):
        with pytest.raises(InvalidInputError, match="index"):
            call(index)


@pytest.mark.parametrize("indices", [[], [1, 1], [3, 2, 3]])
def test_a_quorum_needs_distinct_holders(indices: list[int]) -> None:
    """One holder twice would count as two."""
    with pytest.raises(InvalidInputError, match="distinct"):
        lagrange(indices)


@pytest.mark.parametrize("threshold", [0, -1, MAX_INDEX + 1])
def test_thresholds_out_of_range_are_refused(threshold: int) -> None:
    """A polynomial without coefficients shares nothing."""
    with pytest.raises(InvalidInputError, match="threshold"):
        Polynomial.random(group.scalar_of(1), threshold, fixed_randomness("x"))


def test_no_commitments_are_refused() -> None:
    """There is nothing to evaluate."""
    with pytest.raises(InvalidInputError, match="none"):
        evaluate_commitments([], 1)


def test_a_polynomial_does_not_print_its_secret() -> None:
    """Neither text nor representation hold a coefficient."""
    made = polynomial(2)
    for secret in made.coefficients:
        assert secret.hex() not in f"{made} {made!r}"
        assert repr(bytes(secret)) not in f"{made} {made!r}"


@given(st.lists(NUMBERS, max_size=9))
def test_inverses_come_in_order(values: list[int]) -> None:
    """Each scalar times its inverse is one, for no scalar too."""
    scalars = [group.scalar_of(one) for one in values]
    inverses = invert_all(scalars)
    assert [number(one) for one in inverses] == [pow(one, -1, ORDER) for one in values]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_zero_among_scalars_has_no_inverse(place: int) -> None:
    """One zero spoils the whole, and is refused, wherever it stands."""
    scalars = [group.scalar_of(7)] * 3
    scalars[place] = group.scalar_of(0)
    with pytest.raises(InvalidInputError, match="zero"):
        invert_all(scalars)
