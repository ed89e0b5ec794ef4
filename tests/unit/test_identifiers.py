"""Every spelling of one identifier gives the same bytes, different ones differ, the rest is refused by a rule."""

import datetime as dt
import pickle
import string

import phonenumbers
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from jointrisk.errors import InvalidInputError
from jointrisk.identifiers import Identifier, Kind, Rule, canonicalise
from jointrisk.identifiers.countries import COUNTRIES
from jointrisk.identifiers.resident import resident_countries

_MESSAGES = {f"{what}: {rule.value}" for what in (*Kind, "kind", "country") for rule in Rule}
_USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_INVISIBLE = ("\u200b", "\u200d", "\u200e", "\u200f", "\u202a", "\u202c", "\u2060", "\ufeff", "\u00ad", "\ufe0f")
_SPACES = (" ", "\t", "\u00a0", "\u2009", "\u202f", "\u3000")
_DASHES = ("-", "\u2010", "\u2011", "\u2013", "\u2014", "\u2212", "\uff0d")


def _resident_check(digits: str) -> str:
    """GB 11643, clause 3.2: ISO 7064 MOD 11-2 by its table of weights, apart from python-stdnum."""
    return "10X98765432"[sum(weight * int(digit) for weight, digit in zip(_RESIDENT_WEIGHTS, digits, strict=True)) % 11]


def _uscc_check(code: str) -> str:
    """GB 32100, annex A, apart from python-stdnum."""
    total = sum(weight * _USCC_ALPHABET.index(sign) for weight, sign in zip(_USCC_WEIGHTS, code, strict=True))
    return _USCC_ALPHABET[-total % 31]


def _luhn_check(digits: str) -> str:
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(digits))
    return str(-sum(number // 10 + number % 10 for number in doubled) % 10)


def _digits(length: int) -> st.SearchStrategy[str]:
    return st.text(string.digits, min_size=length, max_size=length)


def _resident_numbers(first: int = 1900, last: int = 2024) -> st.SearchStrategy[str]:
    places = st.sampled_from(["110105", "440308", "650102", "810000", "911124"])
    dates = st.dates(dt.date(first, 1, 1), dt.date(last, 12, 31)).map(lambda date: date.strftime("%Y%m%d"))
    orders = st.integers(0, 995).map(lambda order: f"{order:03}")
    return st.tuples(places, dates, orders).map("".join).map(lambda digits: digits + _resident_check(digits))


_USCCS = st.tuples(
    st.sampled_from(["91", "92", "11", "52", "N2", "A1", "Y1"]),
    _digits(6),
    st.text(_USCC_ALPHABET, min_size=9, max_size=9),
).map(lambda parts: "".join(parts) + _uscc_check("".join(parts)))
_IMEIS = _digits(14).filter(lambda digits: len(set(digits)) > 1).map(lambda digits: digits + _luhn_check(digits))
_MOBILES = st.tuples(st.sampled_from(["137", "138", "139", "150", "186", "199"]), _digits(8)).map("".join)
_CHECKED = st.one_of(
    st.tuples(st.just(Kind.RESIDENT_ID), _resident_numbers()),
    st.tuples(st.just(Kind.USCC), _USCCS),
    st.tuples(st.just(Kind.DEVICE_ID), _IMEIS),
)
_NUMBERED = st.one_of(
    _CHECKED,
    st.tuples(st.just(Kind.DEVICE_ID), st.uuids().map(lambda uuid: uuid.hex.upper())),
    st.tuples(st.just(Kind.PASSPORT), _digits(8).map("E{}".format)),
    st.tuples(st.just(Kind.PHONE), _MOBILES.map("+86{}".format)),
)


@st.composite
def _spelled(draw: st.DrawFn, text: str, separators: tuple[str, ...] = (*_SPACES, *_DASHES)) -> str:
    """Draw a spelling: wide or lower-case characters, foreign digits, what is invisible or separates in between."""
    between = st.lists(st.sampled_from((*separators, *_INVISIBLE)), max_size=2).map("".join)
    pieces = [draw(st.sampled_from(_variants(sign))) + draw(between) for sign in text]
    return draw(st.sampled_from(["", "\n", "\r\n", *_SPACES, *_INVISIBLE])) + "".join(pieces)


def _variants(sign: str) -> list[str]:
    spelled = {sign, sign.lower(), chr(ord(sign) + 0xFEE0), chr(ord(sign.lower()) + 0xFEE0)}
    if sign.isdigit():
        spelled |= {chr(0x0660 + int(sign)), chr(0x06F0 + int(sign)), chr(0x0966 + int(sign))}
    return sorted(spelled)


def _rule_of(kind: str, country: str, value: str) -> Rule:
    """Return the rule by which a value is refused."""
    with pytest.raises(InvalidInputError) as caught:
        canonicalise(kind, country, value)
    return Rule(caught.value.message.removeprefix(f"{kind}: "))


@given(_NUMBERED, st.data())
def test_spellings_of_a_number_agree(numbered: tuple[Kind, str], data: st.DataObject) -> None:
    """Wide forms, foreign digits, lower case, blanks, dashes and invisible characters change nothing."""
    kind, number = numbered
    identifier = canonicalise(kind, "CN", data.draw(_spelled(number)))
    assert (identifier.kind, identifier.canonical) == (kind, number)


def test_every_blank_dash_and_invisible_character_is_dropped() -> None:
    """The tables of spelling, character by character, in a number and at the end of an address."""
    invisible = "ad 34f 61c 115f 1160 17b4 180b 180c 180d 180e 180f 200b 200c 200d 200e 200f 202a 202b 202c 202d 202e"
    invisible += " 2060 2061 2062 2063 2064 2066 2067 2068 2069 206f 3164 fe00 fe0f feff ffa0 e0001 e007f e0100 e01ef"
    blanks = "9 20 a0 1680 2000 2001 2002 2003 2004 2005 2006 2007 2008 2009 200a 202f 205f 2800 3000"
    dashes = "2d 2d7 2010 2011 2012 2013 2014 2015 2043 2212 2500 30fc fe58 fe63 ff0d ff70"
    for code in f"{invisible} {blanks} {dashes}".split():
        assert canonicalise("passport", "CN", f"E1234{chr(int(code, 16))}5678").canonical == "E12345678", code
    for code in f"{invisible} {blanks} a d 2028".split():
        assert canonicalise("email", "CN", f"a@example.com{chr(int(code, 16))}").canonical == "a@example.com", code


@given(_resident_numbers(1900, 1999).filter(lambda number: not number.startswith("9")))
def test_fifteen_digits_are_the_eighteen_of_the_same_resident(number: str) -> None:
    """The form of 1989 lacks the century and the check digit."""
    assert canonicalise("resident_id", "CN", number[:6] + number[8:17]).canonical == number


@pytest.mark.parametrize("letter", ["X", "x", "\uff38", "\uff58", "\u2169", "\u2179", "\u00d7", "\u0425", "\u03a7"])
def test_the_check_letter_in_other_scripts(letter: str) -> None:
    """GB 11643 means Roman ten: input methods give that, a times sign, or a letter that looks alike."""
    assert canonicalise("resident_id", "CN", "11010519491231002" + letter).canonical == "11010519491231002X"


@given(_MOBILES, st.sampled_from(["{}", "+86{}", "0086{}", "86 {}", "(+86) {}", "+86 (0){}", "0{}", "\uff0b86{}"]))
def test_national_and_international_phones_agree(mobile: str, form: str) -> None:
    """With and without the country code, after + or 00, with the trunk zero."""
    assert canonicalise("phone", "CN", form.format(mobile)).canonical == "+86" + mobile


@given(_MOBILES)
def test_a_phone_is_the_same_for_lenders_of_other_countries(mobile: str) -> None:
    """The lender's country is the default for dialling only, and no part of the identifier."""
    abroad = [canonicalise("phone", country, "+86" + mobile) for country in ("US", "DE", "BR", "AQ")]
    assert set(abroad) == {canonicalise("phone", "CN", mobile)}
    assert canonicalise("phone", "US", "011 86 " + mobile) == abroad[0]


@pytest.mark.parametrize("country", sorted(phonenumbers.SUPPORTED_REGIONS & COUNTRIES))
@pytest.mark.parametrize("type_", [PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE])
def test_forms_of_every_numbering_plan_agree(country: str, type_: int) -> None:
    """National, international and E.164 form of a number of each country, and the canonical form itself."""
    number = phonenumbers.example_number_for_type(country, type_)
    if number is None:
        pytest.skip("the numbering plan has none")
    formats = (PhoneNumberFormat.NATIONAL, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.RFC3966)
    forms = [phonenumbers.format_number(number, form).removeprefix("tel:") for form in formats]
    expected = f"+{number.country_code}{phonenumbers.national_significant_number(number)}"
    assert {canonicalise("phone", country, form).canonical for form in [*forms, expected]} == {expected}


_LOCALS = st.text(string.ascii_lowercase + string.digits + "._+-", min_size=1, max_size=20).filter(
    lambda local: all(local.split("."))
)


@given(_LOCALS, st.sampled_from([("example.com", "example.com"), ("b\u00fccher.example", "xn--bcher-kva.example")]))
def test_spellings_of_an_address_agree(local: str, domain: tuple[str, str]) -> None:
    """Case, wide forms, outer blanks, zero-width spaces, the root dot, and the two forms of a domain."""
    expected = f"{local}@{domain[1]}"
    wide = "".join(chr(ord(sign) + 0xFEE0) for sign in local.upper())
    spelled = [f"{local}@{domain[0]}", f"{local.upper()}@{domain[0].upper()}", f"{wide}\uff20{domain[0]}\u3002"]
    spelled += [f"\u00a0{local}\u200b@{domain[1]}.\r\n", f"\u202a{local}@{domain[1].upper()}\u202c", expected]
    assert {canonicalise("email", "CN", value).canonical for value in spelled} == {expected}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9@example.com", "CAFE\u0301@example.com"),
        ("\u03bf\u03b4\u03cc\u03c2@example.gr", "\u039f\u0394\u038c\u03a3@example.gr"),
        ("stra\u00dfe@example.com", "STRASSE@example.com"),
        ("\u212aelvin@example.com", "kelvin@example.com"),
    ],
)
def test_case_of_other_scripts_agrees(one: str, other: str) -> None:
    """Composed and decomposed accents, final sigma, sharp s, the Kelvin sign."""
    assert canonicalise("email", "CN", one) == canonicalise("email", "CN", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.b@example.com", "ab@example.com"),
        ("a+loan@example.com", "a@example.com"),
        ("a@stra\u00dfe.example", "a@strasse.example"),
        ("\u0430nna@example.com", "anna@example.com"),
        ("a@\u0131.example", "a@i.example"),
    ],
)
def test_addresses_that_differ(one: str, other: str) -> None:
    """Dots, tags, sharp s in a domain, a Cyrillic letter, the dotless i of a domain: other mailboxes, other bytes."""
    assert canonicalise("email", "CN", one) != canonicalise("email", "CN", other)


@given(_NUMBERED, _NUMBERED)
def test_different_identifiers_have_different_bytes(one: tuple[Kind, str], other: tuple[Kind, str]) -> None:
    """Two identifiers share their input only when kind and number are the same."""
    inputs = {canonicalise(kind, "CN", number).oprf_input(1) for kind, number in (one, other)}
    assert len(inputs) == len({one, other})


@given(_NUMBERED, st.integers(0, 2**64 - 1))
def test_the_input_reads_back(numbered: tuple[Kind, str], epoch: int) -> None:
    """Parts after their lengths can be taken apart again, so no two identifiers or epochs run into each other."""
    identifier = canonicalise(numbered[0], "CN", numbered[1])
    rest, parts = identifier.oprf_input(epoch), []
    while rest:
        length = int.from_bytes(rest[:2], "big")
        assert len(rest) >= 2 + length
        parts.append(rest[2 : 2 + length])
        rest = rest[2 + length :]
    texts = [identifier.kind.encode(), identifier.country.encode(), identifier.canonical.encode()]
    assert parts == [b"jointrisk/v1", b"\x00\x01", epoch.to_bytes(8, "big"), *texts]


@pytest.mark.parametrize(
    ("value", "ways"),
    [
        ("110105491231001", [("resident_id", "CN"), ("device_id", "CN")]),
        ("50041501028", [("resident_id", "PL"), ("resident_id", "TR")]),
        ("911110000", [("passport", "CN"), ("passport", "DE"), ("phone", "ES")]),
    ],
)
def test_one_text_as_several_kinds_gives_several_inputs(value: str, ways: list[tuple[str, str]]) -> None:
    """What is valid in two ways is two identifiers: kinds and issuing countries never collide."""
    assert len({canonicalise(kind, country, value).oprf_input(1) for kind, country in ways}) == len(ways)


@given(_CHECKED, st.data())
def test_one_wrong_character_is_refused(checked: tuple[Kind, str], data: st.DataObject) -> None:
    """The check digits of GB 11643, GB 32100 and Luhn find every single wrong character."""
    kind, number = checked
    place = data.draw(st.integers(0, len(number) - 1))
    wrong = data.draw(st.sampled_from(_USCC_ALPHABET if kind is Kind.USCC else string.digits))
    assume(wrong != number[place])
    refused = _rule_of(kind, "CN", number[:place] + wrong + number[place + 1 :])
    assert refused in {Rule.CHECKSUM, Rule.FORM, Rule.PLACEHOLDER}


_NEARLY = st.text(string.digits + "Xx+-@. ()eE\u0660\uff11\u200b\u00b9", max_size=24)


@given(st.one_of(st.text(), _NEARLY), st.sampled_from(list(Kind)), st.sampled_from(["CN", "US", *resident_countries()]))
def test_any_text_is_taken_or_refused_without_being_told(value: str, kind: Kind, country: str) -> None:
    """Nothing but InvalidInputError comes out, with a message of the fixed set and no chained error that says more.

    What is taken is a fixed point: its canonical form is its own spelling.
    """
    outcome = _outcome(kind, country, value)
    if isinstance(outcome, Identifier):
        assert canonicalise(kind, country, outcome.canonical) == outcome
    else:
        assert outcome.message in _MESSAGES
        assert (outcome.__context__, outcome.__cause__) == (None, None)


@given(st.text(), st.text())
def test_any_kind_and_country_are_known_or_refused(kind: str, country: str) -> None:
    """Columns that were swapped put an identifier where the kind or the country stands: it is not repeated."""
    for outcome in (_outcome(kind, "CN", "E12345678"), _outcome("passport", country, "E12345678")):
        assert isinstance(outcome, Identifier) or outcome.message in _MESSAGES


def _outcome(kind: str, country: str, value: str) -> Identifier | InvalidInputError:
    try:
        return canonicalise(kind, country, value)
    except InvalidInputError as error:
        return error


@pytest.mark.parametrize("value", [13812345678, 1.3812345678e10, None, True, b"13812345678", float("nan"), ["1"]])
def test_only_text_is_read(value: object) -> None:
    """A column that was read as numbers has lost digits before it came here."""
    with pytest.raises(InvalidInputError, match="expected text"):
        canonicalise("phone", "CN", value)  # type: ignore[arg-type]


@pytest.mark.parametrize("argument", [None, 1, ["CN"], b"CN"])
def test_kinds_and_countries_are_text(argument: object) -> None:
    """Another type is refused like an unknown name."""
    with pytest.raises(InvalidInputError, match="one of the known kinds"):
        canonicalise(argument, "CN", "E12345678")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="3166"):
        canonicalise("passport", argument, "E12345678")  # type: ignore[arg-type]


@pytest.mark.parametrize("epoch", [-1, 2**64, True, 1.0, "1", None])
def test_an_epoch_is_a_number_of_eight_bytes(epoch: object) -> None:
    """Anything else is refused, not wrapped."""
    with pytest.raises(InvalidInputError, match="epoch"):
        canonicalise("passport", "CN", "E12345678").oprf_input(epoch)  # type: ignore[arg-type]


def test_the_identifier_is_not_shown() -> None:
    """Neither repr, nor str, nor a container that is printed shows it; equality and hash do mean it."""
    identifier = canonicalise("passport", "CN", "E12345678")
    for shown in (repr(identifier), str(identifier), f"{identifier}", str([identifier])):
        assert "12345678" not in shown
    assert {identifier, canonicalise(Kind.PASSPORT, " cn", "e 1234 5678")} == {identifier}
    assert pickle.loads(pickle.dumps(identifier)) == identifier  # noqa: S301 - workers get identifiers this way


def test_an_identifier_cannot_be_changed() -> None:
    """It is frozen: what was canonical stays so."""
    identifier = canonicalise("passport", "CN", "E12345678")
    with pytest.raises(AttributeError):
        identifier.canonical = "E87654321"  # type: ignore[misc]
    assert isinstance(identifier, Identifier)
