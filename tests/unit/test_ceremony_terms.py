"""Terms of a ceremony: one byte form, and no contradictions."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from ceremony_sample import generation, generation_terms, holders, moving_terms, names
from jointrisk.errors import InvalidInputError
from jointrisk.oprf import group
from jointrisk.oprf.ceremony import Dealer, Kind, Terms
from jointrisk.oprf.group import IDENTITY


def _reshare() -> Terms:
    return moving_terms(generation(2, 3), names(2), names(3, first=3), 2)


ALL = {
    "generate": lambda: generation_terms(3, 5),
    "refresh": lambda: moving_terms(generation(2, 3), names(2), names(3), 2, Kind.REFRESH),
    "reshare": _reshare,
}


@pytest.mark.parametrize("kind", ALL)
def test_terms_have_one_byte_form(kind: str) -> None:
    """Terms read from their bytes are the same terms; a byte more or less is refused."""
    terms = ALL[kind]()
    assert Terms.decode(terms.encoded) == terms
    for other in (terms.encoded + b"\0", terms.encoded[:-1]):
        with pytest.raises(InvalidInputError):
            Terms.decode(other)


@pytest.mark.parametrize("kind", ALL)
def test_every_byte_of_terms_counts(kind: str) -> None:
    """Every flipped byte is refused, or makes other terms with another digest: no signature holds for both."""
    terms = ALL[kind]()
    for at in range(len(terms.encoded)):
        changed = bytearray(terms.encoded)
        changed[at] ^= 1
        try:
            other = Terms.decode(bytes(changed))
        except InvalidInputError:
            continue
        assert other.digest != terms.digest


def test_who_takes_part() -> None:
    """Parties are the new holders and the old dealers, each once; new indices follow the order."""
    terms = moving_terms(generation(2, 3), names(2, first=2), names(3, first=3), 2)
    assert list(terms.identities) == ["bank-3", "bank-4", "bank-5", "bank-2"]
    assert terms.indices == {"bank-3": 1, "bank-4": 2, "bank-5": 3}
    assert [(dealer.name, dealer.index) for dealer in terms.dealers] == [("bank-2", 2), ("bank-3", 3)]


GENERATE_WRONGLY: dict[str, Callable[[Terms], Terms]] = {
    "short session": lambda terms: replace(terms, session=bytes(15)),
    "no epoch": lambda terms: replace(terms, epoch=0),
    "same generation": lambda terms: replace(terms, old_generation=1),
    "one is enough": lambda terms: replace(terms, threshold=1),
    "more than all": lambda terms: replace(terms, threshold=4),
    "too many": lambda terms: replace(terms, holders=holders(names(10))),
    "a holder twice": lambda terms: replace(terms, holders=terms.holders[:1] * 3),
    "a name twice": lambda terms: replace(
        terms, holders=(*terms.holders, replace(terms.holders[0], identity_key=bytes(32)))
    ),
    "a key twice": lambda terms: replace(terms, holders=(*terms.holders, replace(terms.holders[0], name="twin"))),
    "a name with a space": lambda terms: replace(
        terms, holders=(*terms.holders[:2], replace(terms.holders[2], name="a bank"))
    ),
    "an old key": lambda terms: replace(terms, old_public_key=group.GENERATOR),
    "an old dealer": lambda terms: replace(terms, old_dealers=_reshare().old_dealers),
}


@pytest.mark.parametrize("wrong", GENERATE_WRONGLY)
def test_terms_that_contradict_themselves_are_refused(wrong: str) -> None:
    """No ceremony starts with numbers out of range, or with a party in two roles that exclude each other."""
    with pytest.raises(InvalidInputError):
        GENERATE_WRONGLY[wrong](generation_terms(2, 3))


def _with_dealer(terms: Terms, dealer: Dealer) -> Terms:
    return replace(terms, old_dealers=(dealer, *terms.old_dealers[1:]))


RESHARE_WRONGLY: dict[str, Callable[[Terms], Terms]] = {
    "other index": lambda terms: _with_dealer(terms, replace(terms.old_dealers[0], index=3)),
    "index 0": lambda terms: _with_dealer(terms, replace(terms.old_dealers[0], index=0)),
    "other public key": lambda terms: _with_dealer(terms, replace(terms.old_dealers[0], public_key=group.GENERATOR)),
    "identity as public key": lambda terms: _with_dealer(terms, replace(terms.old_dealers[0], public_key=IDENTITY)),
    "no public key": lambda terms: _with_dealer(terms, replace(terms.old_dealers[0], public_key=None)),
    "one dealer": lambda terms: replace(terms, old_dealers=terms.old_dealers[:1]),
    "a dealer twice": lambda terms: replace(terms, old_dealers=terms.old_dealers[:1] * 2),
    "another group key": lambda terms: replace(terms, old_public_key=group.GENERATOR),
    "no group key": lambda terms: replace(terms, old_public_key=None),
    "no old generation": lambda terms: replace(terms, old_generation=0),
    "refresh among others": lambda terms: replace(terms, kind=Kind.REFRESH),
    "a dealer with another identity": lambda terms: replace(
        terms, holders=(*terms.holders, replace(terms.holders[0], name="bank-1"))
    ),
}


@pytest.mark.parametrize("wrong", RESHARE_WRONGLY)
def test_dealers_that_do_not_hold_the_group_key_are_refused(wrong: str) -> None:
    """The dealers' public keys have to make the group key, so that shares of another generation are never dealt."""
    with pytest.raises(InvalidInputError):
        RESHARE_WRONGLY[wrong](_reshare())
