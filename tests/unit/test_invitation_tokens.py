"""Invitation tokens."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jointrisk.errors import InvalidInputError
from jointrisk.federation.invitation import (
    InvitationToken,
    decode_token,
    encode_token,
    sign_join,
    verify_join,
)
from roster_forge import key_of, public_of

names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}", fullmatch=True).filter(lambda name: name != "coordinator")
addresses = st.builds(
    lambda host, port: f"{host}:{port}",
    st.one_of(st.just("[2001:db8::1]"), st.from_regex(r"[a-z0-9.-]{1,60}", fullmatch=True)),
    st.integers(1, 65535),
)
tokens = st.builds(
    InvitationToken,
    address=addresses,
    ca_fingerprint=st.binary(min_size=32, max_size=32),
    invitation_id=st.binary(min_size=16, max_size=16).map(bytes.hex),
    secret=st.binary(min_size=32, max_size=32),
    expires_at=st.integers(0, 2**33).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    member_id=names,
)
TOKEN = InvitationToken(
    address="coordinator.example:7444",
    ca_fingerprint=bytes(range(32)),
    invitation_id="0123456789abcdef" * 2,
    secret=bytes(range(100, 132)),
    expires_at=datetime(2026, 3, 4, tzinfo=UTC),
    member_id="east-bank",
)


@given(tokens)
def test_a_token_reads_back(token: InvitationToken) -> None:
    """One printable word holds everything."""
    text = encode_token(token)
    assert text.startswith("jtr1.")
    assert text.isascii()
    assert decode_token(text) == token


def test_a_token_survives_mail_programs() -> None:
    """Line breaks and blanks from copying are ignored."""
    text = encode_token(TOKEN)
    assert decode_token(f"  {text[:70]}\n{text[70:140]}\r\n {text[140:]}\n") == TOKEN


@given(st.data())
def test_any_one_mistyped_character_is_found(data: st.DataObject) -> None:
    """It is called mistyped before anything is sent."""
    text = encode_token(TOKEN)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("Abc09-_.=ä").filter(lambda letter: letter != text[place]))
    # the unused bits of the last character may be anything in base64, and mean nothing
    changed = text[:place] + other + text[place + 1 :]
    if place == len(text) - 1 and other.isalnum():
        return
    with pytest.raises(InvalidInputError, match="mistyped or cut"):
        decode_token(changed)


@given(st.integers(0, 1000), st.binary(max_size=1200))
def test_cut_and_random_texts_are_found(cut: int, noise: bytes) -> None:
    """Nothing but a whole token gets through, and nothing but our error comes out."""
    text = encode_token(TOKEN)
    with pytest.raises(InvalidInputError):
        decode_token(text[: cut % len(text)])
    with pytest.raises(InvalidInputError):
        decode_token("jtr1." + noise.decode("latin-1"))


def test_what_is_no_token_at_all_is_told_as_such() -> None:
    """A token without its prefix, and a text of any length."""
    text = encode_token(TOKEN)
    with pytest.raises(InvalidInputError, match="begin with"):
        decode_token(text.removeprefix("jtr1."))
    with pytest.raises(InvalidInputError, match="at most"):
        decode_token(text + "A" * 100_000)


def test_errors_and_representations_hold_no_secret() -> None:
    """A token that is printed by accident, or refused, does not leak."""
    text = encode_token(TOKEN)
    assert repr(TOKEN.secret) not in repr(TOKEN)
    assert TOKEN.secret.hex() not in repr(TOKEN)
    with pytest.raises(InvalidInputError) as refused:
        decode_token(text[:-3])
    assert text[30:60] not in str(refused.value) + refused.value.remedy


@pytest.mark.parametrize("address", ["", "host", "host:0", "host:65536", "host:07444", "ho st:1", "::1:7444"])
def test_addresses_have_a_port(address: str) -> None:
    """A token for an address that cannot be reached is not made."""
    with pytest.raises(InvalidInputError, match="join address"):
        encode_token(InvitationToken(**{**TOKEN.__dict__, "address": address}))


@pytest.mark.parametrize("name", ["", "-a", "A", "a" * 41, "a_b", "coordinator", "a\n", "ä"])
def test_names_are_short_and_plain(name: str) -> None:
    """A name that would be unsafe in a certificate, a path or a log is refused."""
    with pytest.raises(InvalidInputError, match="member"):
        encode_token(InvitationToken(**{**TOKEN.__dict__, "member_id": name}))


def test_the_proof_binds_key_invitation_and_request() -> None:
    """It is valid for this invitation and this certificate request only."""
    proof = sign_join(key_of("a"), TOKEN.invitation_id, b"request")
    assert verify_join(proof, public_of("a"), TOKEN.invitation_id, b"request")
    assert not verify_join(proof, public_of("b"), TOKEN.invitation_id, b"request")
    assert not verify_join(proof, public_of("a"), "f" * 32, b"request")
    assert not verify_join(proof, public_of("a"), TOKEN.invitation_id, b"other request")
