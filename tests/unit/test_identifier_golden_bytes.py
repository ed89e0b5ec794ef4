"""Canonicalisation version 1 to the byte: what a new version of a library or of our rules must not change unnoticed.

A failure here means that members would no longer find each other's listings. A change that is wanted is a new
``CANONICALISATION`` and a new epoch, not a new value in this table.
"""

import pytest

from jointrisk.identifiers import CANONICALISATION, Kind, canonicalise
from jointrisk.identifiers.resident import resident_countries

_HEAD = b"\x00\x0cjointrisk/v1\x00\x02\x00\x01\x00\x08\x00\x00\x00\x00\x00\x00\x00\x07"
"""Protocol, version 1, epoch 7."""

_GOLDEN: list[tuple[str, str, str, bytes]] = [
    (
        "resident_id",
        "CN",
        "\uff11\uff11\uff10\uff11\uff10\uff15 491231 002",
        b"\x00\x0bresident_id\x00\x02CN\x00\x1211010519491231002X",
    ),
    ("resident_id", "CN", "110105-19491231-002x", b"\x00\x0bresident_id\x00\x02CN\x00\x1211010519491231002X"),
    ("resident_id", "CN", "911124198108030024", b"\x00\x0bresident_id\x00\x02CN\x00\x12911124198108030024"),
    ("resident_id", "CN", "810000199408230021", b"\x00\x0bresident_id\x00\x02CN\x00\x12810000199408230021"),
    ("resident_id", "BR", "123.456.789-09", b"\x00\x0bresident_id\x00\x02BR\x00\x0b12345678909"),
    ("resident_id", "CL", "5.126.663-3", b"\x00\x0bresident_id\x00\x02CL\x00\t051266633"),
    ("resident_id", "ES", "54362315-k", b"\x00\x0bresident_id\x00\x02ES\x00\t54362315K"),
    ("resident_id", "ES", "X-2482300-W", b"\x00\x0bresident_id\x00\x02ES\x00\tX2482300W"),
    ("resident_id", "IT", "rccmnl83s18d969h", b"\x00\x0bresident_id\x00\x02IT\x00\x10RCCMNL83S18D969H"),
    ("resident_id", "PL", "44051401359", b"\x00\x0bresident_id\x00\x02PL\x00\x0b44051401359"),
    ("resident_id", "TH", "1-2345-45678-78-1", b"\x00\x0bresident_id\x00\x02TH\x00\r1234545678781"),
    ("resident_id", "TR", "17291716060", b"\x00\x0bresident_id\x00\x02TR\x00\x0b17291716060"),
    ("passport", "CN", "e 1234 5678", b"\x00\x08passport\x00\x02CN\x00\tE12345678"),
    ("passport", "HK", "k12345678", b"\x00\x08passport\x00\x02CN\x00\tK12345678"),
    ("passport", "GB", "925665416", b"\x00\x08passport\x00\x02GB\x00\t925665416"),
    ("passport", "DE", "C01X00T47<<", b"\x00\x08passport\x00\x02DE\x00\tC01X00T47"),
    ("uscc", "CN", "91110000-600037341l", b"\x00\x04uscc\x00\x02CN\x00\x1291110000600037341L"),
    ("phone", "CN", "138 1234 5678", b"\x00\x05phone\x00\x00\x00\x0e+8613812345678"),
    ("phone", "CN", "(010) 6552-9988", b"\x00\x05phone\x00\x00\x00\r+861065529988"),
    ("phone", "HK", "9123 4567", b"\x00\x05phone\x00\x00\x00\x0c+85291234567"),
    ("phone", "US", "(650) 253-0000", b"\x00\x05phone\x00\x00\x00\x0c+16502530000"),
    ("phone", "GB", "07400 123456", b"\x00\x05phone\x00\x00\x00\r+447400123456"),
    ("phone", "IT", "06 1234 5678", b"\x00\x05phone\x00\x00\x00\r+390612345678"),
    ("phone", "AR", "011 15-2345-6789", b"\x00\x05phone\x00\x00\x00\x0e+5491123456789"),
    ("phone", "MX", "55 1234 5678", b"\x00\x05phone\x00\x00\x00\r+525512345678"),
    ("phone", "BR", "0 21 11 99123-4567", b"\x00\x05phone\x00\x00\x00\x0e+5511991234567"),
    ("phone", "IN", "081234 56789", b"\x00\x05phone\x00\x00\x00\r+918123456789"),
    ("phone", "ID", "0812-345-678", b"\x00\x05phone\x00\x00\x00\x0c+62812345678"),
    ("phone", "NG", "0802 123 4567", b"\x00\x05phone\x00\x00\x00\x0e+2348021234567"),
    ("phone", "PH", "0905 123 4567", b"\x00\x05phone\x00\x00\x00\r+639051234567"),
    ("phone", "DE", "+49 (0)30 123456", b"\x00\x05phone\x00\x00\x00\x0b+4930123456"),
    ("email", "CN", "Anna.Schmidt+Loan@Example.COM", b"\x00\x05email\x00\x00\x00\x1danna.schmidt+loan@example.com"),
    ("email", "DE", "anna@b\xfccher.example", b"\x00\x05email\x00\x00\x00\x1aanna@xn--bcher-kva.example"),
    ("email", "DE", "stra\xdfe@fa\xdf.example", b"\x00\x05email\x00\x00\x00\x1astrasse@xn--fa-hia.example"),
    (
        "email",
        "CN",
        "\u674e\u660e@\u4f8b\u5b50\u3002\u6d4b\u8bd5",
        b"\x00\x05email\x00\x00\x00\x1e\xe6\x9d\x8e\xe6\x98\x8e@xn--fsqu00a.xn--0zwm56d",
    ),
    (
        "email",
        "GR",
        "\u039f\u0394\u038c\u03a3@example.gr",
        b"\x00\x05email\x00\x00\x00\x13\xce\xbf\xce\xb4\xcf\x8c\xcf\x83@example.gr",
    ),
    ("email", "CN", "\uff21\uff42\uff43\uff20example.com", b"\x00\x05email\x00\x00\x00\x0fabc@example.com"),
    ("device_id", "CN", "49-015420-323751-8", b"\x00\tdevice_id\x00\x00\x00\x0f490154203237518"),
    ("device_id", "CN", "a0000000002329", b"\x00\tdevice_id\x00\x00\x00\x0eA0000000002329"),
    (
        "device_id",
        "CN",
        "{6d92078a-8246-4ba4-ae5b-76104861e7dc}",
        b"\x00\tdevice_id\x00\x00\x00 6D92078A82464BA4AE5B76104861E7DC",
    ),
    ("device_id", "CN", "9774d56d682e549d", b"\x00\tdevice_id\x00\x00\x00\x109774D56D682E549D"),
]


@pytest.mark.parametrize(("kind", "country", "value", "tail"), _GOLDEN)
def test_version_1_writes_these_bytes(kind: str, country: str, value: str, tail: bytes) -> None:
    """Head, then kind, country and canonical identifier after their lengths."""
    assert CANONICALISATION == 1
    assert canonicalise(kind, country, value).oprf_input(7) == _HEAD + tail


def test_the_table_has_every_kind_and_every_country_of_residents() -> None:
    """What is supported is pinned."""
    assert {kind for kind, *_ in _GOLDEN} == set(Kind)
    assert {country for kind, country, *_ in _GOLDEN if kind == "resident_id"} == set(resident_countries())
