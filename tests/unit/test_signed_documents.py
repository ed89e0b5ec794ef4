"""Signed documents and fingerprints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jointrisk.errors import CorruptError, InvalidInputError, UnauthenticatedError
from jointrisk.federation.approval import Approval, read_approval, required_approvals, sign_approval
from jointrisk.federation.fingerprint import authentication_string, fingerprint, same_fingerprint
from jointrisk.federation.signing import Signed, sign_document, verify_document
from roster_forge import key_of, public_of

APPROVAL = Approval(
    federation="testing",
    admission_id="0" * 32,
    member_id="east-bank",
    identity_key=public_of("east-bank"),
    previous_identity_key=None,
    approver="west-bank",
)


def test_a_signed_document_gives_back_its_payload() -> None:
    """Who has the signer's key reads exactly what was signed."""
    signed = sign_document("contract", b"payload", key_of("a"))
    assert verify_document(signed, "contract", public_of("a")) == b"payload"


@given(st.binary(max_size=200), st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_changed_byte_is_refused(payload: bytes, place: int, change: int) -> None:
    """A flipped byte in payload or signature makes the document invalid."""
    signed = sign_document("contract", payload, key_of("a"))
    whole = bytearray(payload + signed.signature)
    whole[place % len(whole)] ^= change
    changed = Signed("contract", bytes(whole[: len(payload)]), bytes(whole[len(payload) :]), signed.signer)
    with pytest.raises(UnauthenticatedError):
        verify_document(changed, "contract", public_of("a"))


def test_a_signature_for_one_kind_is_not_valid_for_another() -> None:
    """A contract's signature cannot be passed off as a roster's, whichever kind the document then names."""
    signed = sign_document("contract", b"payload", key_of("a"))
    with pytest.raises(UnauthenticatedError, match="another kind"):
        verify_document(signed, "roster", public_of("a"))
    with pytest.raises(UnauthenticatedError):
        verify_document(Signed("roster", signed.payload, signed.signature, signed.signer), "roster", public_of("a"))


def test_the_signer_field_is_only_a_hint() -> None:
    """A document that brings its own key along is refused: the pinned key decides."""
    signed = sign_document("roster", b"payload", key_of("impostor"))
    with pytest.raises(UnauthenticatedError):
        verify_document(signed, "roster", public_of("a"))


def test_kinds_cannot_run_into_the_payload() -> None:
    """A kind with a separator in it would let two documents share their signed bytes."""
    with pytest.raises(InvalidInputError):
        sign_document("ros\0ter", b"", key_of("a"))


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_malformed_keys_verify_nothing(key: bytes) -> None:
    """A pinned key of another length refuses, and raises nothing else."""
    with pytest.raises(UnauthenticatedError):
        verify_document(sign_document("roster", b"x", key_of("a")), "roster", key)


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(65)])
def test_malformed_signatures_are_none(signature: bytes) -> None:
    """A signature of another length is not valid, and raises nothing else."""
    with pytest.raises(UnauthenticatedError):
        verify_document(Signed("roster", b"x", signature, b""), "roster", public_of("a"))


def test_an_approval_reads_back() -> None:
    """What a member signs is what the coordinator reads."""
    signed = sign_approval(APPROVAL, key_of("west-bank"))
    assert read_approval(signed, public_of("west-bank")) == APPROVAL


@pytest.mark.parametrize(
    "payload",
    [
        APPROVAL.payload() + b" ",
        APPROVAL.payload().replace(b'"approver"', b'"unknown":1,"approver"'),
        APPROVAL.payload().replace(b'"federation":"testing"', b'"federation":"testing","federation":"testing"'),
        APPROVAL.payload().replace(APPROVAL.identity_key.hex().encode(), APPROVAL.identity_key.hex().upper().encode()),
        APPROVAL.payload().replace(b"east-bank", b"coordinator"),
        b"[]",
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_payload_in_another_form_is_refused_even_if_signed(payload: bytes) -> None:
    """Documents have one byte form, so that two readers cannot read two things."""
    with pytest.raises(CorruptError):
        read_approval(sign_document("approval", payload, key_of("west-bank")), public_of("west-bank"))


@pytest.mark.parametrize(("required", "others", "needed"), [(2, 5, 2), (2, 2, 2), (2, 1, 1), (2, 0, 0), (1, 9, 1)])
def test_small_federations_need_fewer_approvals(required: int, others: int, needed: int) -> None:
    """All other members have to agree where there are fewer than the federation's number."""
    assert required_approvals(required, others) == needed


def test_a_fingerprint_is_a_hundred_bits_in_groups() -> None:
    """Five groups of four base-32 characters, the same for the same key."""
    text = fingerprint(public_of("a"))
    assert [len(group) for group in text.split("-")] == [4] * 5
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567-")
    assert text == fingerprint(public_of("a")) != fingerprint(public_of("b"))


def test_people_may_type_a_fingerprint_their_way() -> None:
    """Lower case, other separators, 0 for O and 1 for I are understood."""
    for name in "abcdefgh":
        text = fingerprint(public_of(name))
        typed = text.lower().replace("-", " ").replace("o", "0").replace("i", "1")
        assert same_fingerprint(typed, public_of(name))


def test_part_of_a_fingerprint_is_not_enough() -> None:
    """A prefix, an empty text or another key's fingerprint do not pass."""
    text = fingerprint(public_of("a"))
    for typed in ("", text[:-1], text + "A", fingerprint(public_of("b")), "ä" * 20):
        assert not same_fingerprint(typed, public_of("a"))


def test_the_federations_string_depends_on_everything_in_it() -> None:
    """Another CA, coordinator key, federation, member or key gives another string; order gives none."""
    members = {"a": public_of("a"), "b": public_of("b")}
    text = authentication_string("testing", bytes(32), public_of("c"), members)
    others = [
        authentication_string("testinG", bytes(32), public_of("c"), members),
        authentication_string("testing", bytes([1] * 32), public_of("c"), members),
        authentication_string("testing", bytes(32), public_of("d"), members),
        authentication_string("testing", bytes(32), public_of("c"), members | {"d": public_of("d")}),
        authentication_string("testing", bytes(32), public_of("c"), members | {"a": public_of("d")}),
        authentication_string("testing", bytes(32), public_of("c"), {"a": members["b"], "b": members["a"]}),
    ]
    assert text not in others
    assert text == authentication_string("testing", bytes(32), public_of("c"), dict(reversed(members.items())))
