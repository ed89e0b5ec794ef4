"""Sealing and signatures for key ceremonies."""

import pytest

from ceremony_sample import SUITE, identity
from jointrisk.errors import InvalidInputError
from jointrisk.federation.signing import public_bytes

EPHEMERAL, RECIPIENT, CONTEXT, SHARE = b"e" * 32, b"r" * 32, b"context", b"s" * 32

SMALL_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]
"""Points of small order on Curve25519: a secret agreed with them is known to everybody (RFC 7748 section 6.1)."""


def _sealed() -> bytes:
    return SUITE.seal(EPHEMERAL, SUITE.public_key(RECIPIENT), CONTEXT, SHARE)


def test_what_is_sealed_opens_with_its_key_and_context_alone() -> None:
    """A share opens for its recipient in its context, and nowhere else."""
    assert len(_sealed()) == 80
    assert SUITE.open(RECIPIENT, _sealed(), CONTEXT) == SHARE
    assert SUITE.open(EPHEMERAL, _sealed(), CONTEXT) is None
    assert SUITE.open(RECIPIENT, _sealed(), b"another") is None


def test_every_byte_of_a_sealed_share_is_authentic() -> None:
    """No flipped byte opens."""
    for at in range(80):
        changed = bytearray(_sealed())
        changed[at] ^= 1
        assert SUITE.open(RECIPIENT, bytes(changed), CONTEXT) is None


def test_sealing_again_gives_the_same_bytes() -> None:
    """A restarted dealer repeats itself."""
    assert _sealed() == _sealed()


@pytest.mark.parametrize("point", SMALL_ORDER, ids=bytes.hex)
def test_points_of_small_order_are_refused(point: bytes) -> None:
    """Nothing is sealed to a key whose agreed secret everybody knows, and nothing that was opens."""
    assert not SUITE.is_usable(point)
    with pytest.raises(InvalidInputError):
        SUITE.seal(EPHEMERAL, point, CONTEXT, SHARE)
    assert SUITE.open(RECIPIENT, point + _sealed()[32:], CONTEXT) is None


def test_usable_keys_are_those_of_32_bytes_and_large_order() -> None:
    """A key that somebody made is usable; a shorter one is not."""
    assert SUITE.is_usable(SUITE.public_key(RECIPIENT))
    assert not SUITE.is_usable(SUITE.public_key(RECIPIENT)[:-1])


def test_signatures() -> None:
    """A signature holds for its key and message."""
    key = public_bytes(identity("bank-1"))
    signature = identity("bank-1").sign(b"said")
    assert SUITE.verifies(key, b"said", signature)
    assert not SUITE.verifies(key, b"sad", signature)
    assert not SUITE.verifies(public_bytes(identity("bank-2")), b"said", signature)
    assert not SUITE.verifies(key[:-1], b"said", signature)
