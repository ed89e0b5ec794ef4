"""Which rule refuses which value: each case stands for a mistake that lenders' files have."""

import pytest

from jointrisk.errors import InvalidInputError
from jointrisk.identifiers import Rule, canonicalise

_CASES: list[tuple[str, str, str, Rule]] = [
    # not a country, not a kind of this country
    ("passport", "UK", "E12345678", Rule.COUNTRY),
    ("passport", "CHN", "E12345678", Rule.COUNTRY),
    ("passport", "", "E12345678", Rule.COUNTRY),
    ("email", "ZZ", "a@example.com", Rule.COUNTRY),
    ("resident_id", "US", "536904399", Rule.KIND_OF_COUNTRY),
    ("uscc", "DE", "91110000600037341L", Rule.KIND_OF_COUNTRY),
    # blank, long, two lines
    ("passport", "CN", "", Rule.EMPTY),
    ("passport", "CN", " \u200b\u3000\n", Rule.EMPTY),
    ("passport", "CN", "--", Rule.EMPTY),
    ("email", "CN", "\ufeff", Rule.EMPTY),
    ("phone", "CN", "1" * 321, Rule.LENGTH),
    ("email", "CN", "a" * 65 + "@example.com", Rule.LENGTH),
    ("email", "CN", "a" * 64 + "@" + "b" * 63 + "." + "c" * 63 + "." + "d" * 58 + ".com", Rule.LENGTH),
    ("passport", "CN", "E1234\n5678", Rule.ONE_LINE),
    ("email", "CN", "a@example.com\u2028b@example.com", Rule.ONE_LINE),
    # numbers that a spreadsheet or a data frame has written
    ("phone", "CN", "1.3812345678e10", Rule.NUMBER),
    ("phone", "CN", "1.38123E+10", Rule.NUMBER),
    ("phone", "CN", "1,38123E+10", Rule.NUMBER),
    ("phone", "CN", "13812345678.0", Rule.NUMBER),
    ("resident_id", "CN", "1.10105E+17", Rule.NUMBER),
    ("resident_id", "CN", "110105194912310000.0", Rule.NUMBER),
    ("device_id", "CN", "4.90154E+14", Rule.NUMBER),
    ("device_id", "CN", "49E+13", Rule.NUMBER),
    # characters: a footnote mark, letters that look alike, control characters, half of a surrogate pair, NUL
    ("passport", "CN", "E1234567\u00b9", Rule.CHARACTERS),
    ("passport", "CN", "\u041512345678", Rule.CHARACTERS),
    ("passport", "CN", "E1234\x005678", Rule.CHARACTERS),
    ("passport", "CN", "E12345678\ud800", Rule.CHARACTERS),
    ("passport", "CN", "'E12345678", Rule.CHARACTERS),
    ("resident_id", "CN", '="11010519491231002X"', Rule.CHARACTERS),
    # placeholders
    ("resident_id", "CN", "111111111111111", Rule.PLACEHOLDER),
    ("resident_id", "BR", "111.111.111-11", Rule.PLACEHOLDER),
    ("passport", "CN", "000000000", Rule.PLACEHOLDER),
    ("device_id", "CN", "00000000-0000-0000-0000-000000000000", Rule.PLACEHOLDER),
    ("device_id", "CN", "000000000000000", Rule.PLACEHOLDER),
    ("device_id", "CN", "9774d56d682e549c", Rule.PLACEHOLDER),
    # resident IDs
    ("resident_id", "CN", "110105194912310021", Rule.CHECKSUM),
    ("resident_id", "CN", "1101051949123100X2", Rule.FORM),
    ("resident_id", "CN", "1101051949123100", Rule.FORM),
    ("resident_id", "CN", "000105194912310024", Rule.REGION),
    ("resident_id", "CN", "990105194912310023", Rule.REGION),
    ("resident_id", "CN", "110105194902300020", Rule.DATE),
    ("resident_id", "CN", "110105179912310024", Rule.DATE),
    ("resident_id", "CN", "110105490230002", Rule.DATE),
    ("resident_id", "CN", "110105991231997", Rule.CENTENARIAN),
    ("resident_id", "BR", "123.456.789-08", Rule.CHECKSUM),
    ("resident_id", "CL", "12531909-3", Rule.CHECKSUM),
    ("resident_id", "ES", "54362315Z", Rule.CHECKSUM),
    ("resident_id", "IT", "00743110157", Rule.FORM),
    ("resident_id", "PL", "44051401358", Rule.CHECKSUM),
    ("resident_id", "TH", "9234545678781", Rule.FORM),
    ("resident_id", "TR", "17291716061", Rule.CHECKSUM),
    # passports and firms
    ("passport", "CN", "E123", Rule.FORM),
    ("passport", "CN", "E123456789", Rule.FORM),
    ("passport", "CN", "UNKNOWN", Rule.FORM),
    ("uscc", "CN", "91110000600037341M", Rule.CHECKSUM),
    ("uscc", "CN", "9111000060003734IL", Rule.FORM),
    ("uscc", "CN", "110108012660422", Rule.FORM),
    # phones
    ("phone", "CN", "010-65529988 ext. 12", Rule.PHONE_EXTENSION),
    ("phone", "CN", "010-65529988x12", Rule.PHONE_EXTENSION),
    ("phone", "CN", "010-65529988#12", Rule.PHONE_EXTENSION),
    ("phone", "CN", "010-65529988,12", Rule.PHONE_EXTENSION),
    ("phone", "US", "1-800-FLOWERS", Rule.PHONE_EXTENSION),
    ("phone", "CN", "110", Rule.PHONE_SHORT),
    ("phone", "CN", "10086", Rule.PHONE_SHORT),
    ("phone", "CN", "+86+13812345678", Rule.FORM),
    ("phone", "CN", "65529988", Rule.PHONE_UNASSIGNED),
    ("phone", "CN", "13812345678/13987654321", Rule.LENGTH),
    ("phone", "US", "0049 30 123456", Rule.PHONE_UNASSIGNED),
    ("phone", "CN", "400-812-3123", Rule.PHONE_SHARED),
    ("phone", "US", "800 234 5678", Rule.PHONE_SHARED),
    ("phone", "AQ", "123456", Rule.PHONE_COUNTRY),
    ("phone", "CN", "+999 1234567", Rule.PHONE_COUNTRY),
    # e-mail
    ("email", "CN", "example.com", Rule.EMAIL_FORM),
    ("email", "CN", "@example.com", Rule.EMAIL_FORM),
    ("email", "CN", "a@b@example.com", Rule.EMAIL_FORM),
    ("email", "CN", "Anna <a@example.com>", Rule.EMAIL_LOCAL),
    ("email", "CN", '"a b"@example.com', Rule.EMAIL_LOCAL),
    ("email", "CN", "mailto:a@example.com", Rule.EMAIL_LOCAL),
    ("email", "CN", "a..b@example.com", Rule.EMAIL_LOCAL),
    ("email", "CN", ".a@example.com", Rule.EMAIL_LOCAL),
    ("email", "CN", "a\u00a8@example.com", Rule.EMAIL_LOCAL),
    ("email", "CN", "a@example", Rule.EMAIL_DOMAIN),
    ("email", "CN", "a@192.168.0.1", Rule.EMAIL_DOMAIN),
    ("email", "CN", "a@[192.168.0.1]", Rule.EMAIL_DOMAIN),
    ("email", "CN", "a@ex_ample.com", Rule.EMAIL_DOMAIN),
    ("email", "CN", "a@-example.com", Rule.EMAIL_DOMAIN),
    ("email", "CN", "a@example..com", Rule.EMAIL_DOMAIN),
    ("email", "CN", "a@" + "b" * 64 + ".com", Rule.EMAIL_DOMAIN),
    ("email", "CN", "a@xn--a.com", Rule.EMAIL_DOMAIN),
    ("email", "TR", "\u0130nfo@example.com", Rule.EMAIL_DOTTED_I),
    ("email", "TR", "\u0131nfo@example.com", Rule.EMAIL_DOTTED_I),
    ("email", "TR", "i\u0307nfo@example.com", Rule.EMAIL_DOTTED_I),
    ("email", "TR", "I\u0307nfo@example.com", Rule.EMAIL_DOTTED_I),
    ("email", "TR", "a@\u0130x.com", Rule.EMAIL_DOTTED_I),
    # devices
    ("device_id", "CN", "490154203237517", Rule.CHECKSUM),
    ("device_id", "CN", "49015420323751", Rule.FORM),
    ("device_id", "CN", "00:1b:44:11:3a:b7", Rule.FORM),
    ("device_id", "CN", "6D92078A-8246-4BA4-AE5B-76104861E7DG", Rule.FORM),
]


@pytest.mark.parametrize(("kind", "country", "value", "rule"), _CASES)
def test_refused_by_its_rule(kind: str, country: str, value: str, rule: Rule) -> None:
    """The message is the kind (or the argument that is wrong) and the rule; the remedy says what to do."""
    with pytest.raises(InvalidInputError) as caught:
        canonicalise(kind, country, value)
    assert caught.value.message == f"{'country' if rule is Rule.COUNTRY else kind}: {rule.value}"
    assert caught.value.remedy
    assert caught.value.__context__ is None


def test_every_rule_is_tried() -> None:
    """The table has a case of each rule; KIND and TEXT are tried in test_identifiers.py."""
    assert {rule for *_, rule in _CASES} == set(Rule) - {Rule.KIND, Rule.TEXT}
