"""What askers and holders sign about evaluations: exact bytes, and everything in them."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from jointrisk.errors import InvalidInputError
from jointrisk.evaluation import (
    EvaluationAnswer,
    EvaluationRequest,
    Purpose,
    check_consent_reference,
    consent_commitment,
    sign_answer,
    sign_request,
    verify_answer,
    verify_request,
)
from jointrisk.federation.signing import Signed
from jointrisk.rpc.evaluations import request_from_message, request_to_message
from jointrisk.rpc.v1 import evaluation_pb2 as pb
from roster_forge import key_of, public_of

HEAD = Signed("listing-head", b"{}", bytes(64), bytes(32))
REQUEST = EvaluationRequest(
    federation="testing",
    asker="cat",
    epoch=1,
    generation=2,
    request_id=bytes(range(16)),
    purpose=Purpose.INVESTIGATION,
    quorum=("ant", "bee"),
    consent=bytes(range(32)),
    elements=b"e" * 64,
    head=HEAD,
)
ANSWER = EvaluationAnswer(REQUEST.digest(), "ant", b"d" * 64, b"p" * 64)


def test_signed_bytes_are_those_of_the_protocol_page() -> None:
    """Written here a second time, from docs/protocol.md."""
    head = sha256(b"\0\0\0\x0clisting-head" + b"\0\0\0\x02{}" + bytes(64)).digest()
    expected = (
        b"\0\0\0\x1fjointrisk/v1/evaluation-request"
        b"\x07testing\x03cat"
        + (1).to_bytes(8, "big")
        + (2).to_bytes(8, "big")
        + bytes(range(16))
        + b"\x03"
        + b"\x02\x03ant\x03bee"
        + bytes(range(32))
        + sha256(b"e" * 64).digest()
        + b"\x01"
        + head
    )
    assert REQUEST.signed_bytes() == expected
    assert REQUEST.digest() == sha256(expected).digest()
    assert replace(REQUEST, head=None).signed_bytes() == expected[:-33] + b"\0"
    assert ANSWER.signed_bytes() == (
        b"\0\0\0\x1ejointrisk/v1/evaluation-answer"
        + REQUEST.digest()
        + b"\x03ant"
        + sha256(b"d" * 64).digest()
        + b"p" * 64
    )


CHANGES: list[dict[str, Any]] = [
    {"federation": "other"},
    {"asker": "ant"},
    {"epoch": 2},
    {"generation": 3},
    {"request_id": bytes(16)},
    {"purpose": Purpose.PUBLISHING},
    {"quorum": ("ant", "cat")},
    {"consent": bytes(32)},
    {"elements": b"f" * 64},
    {"head": None},
    {"head": replace(HEAD, payload=b"[]")},
    {"head": replace(HEAD, signature=b"x" * 64)},
]


@pytest.mark.parametrize("change", CHANGES, ids=[next(iter(change)) for change in CHANGES])
def test_a_signature_covers_every_field(change: dict[str, Any]) -> None:
    """Whatever is changed on the way, the signature does not fit any more."""
    signature = sign_request(REQUEST, key_of("cat"))
    assert verify_request(REQUEST, signature, public_of("cat"))
    assert not verify_request(replace(REQUEST, **change), signature, public_of("cat"))


@pytest.mark.parametrize(
    "change", [{"request": bytes(32)}, {"holder": "bee"}, {"elements": b"x" * 64}, {"proof": b"x" * 64}]
)
def test_a_signed_answer_convicts_only_for_what_was_said(change: dict[str, Any]) -> None:
    """An answer to another request, or of another holder, is not signed by the same signature."""
    signature = sign_answer(ANSWER, key_of("ant"))
    assert verify_answer(ANSWER, signature, public_of("ant"))
    assert not verify_answer(ANSWER, signature, public_of("bee"))
    assert not verify_answer(replace(ANSWER, **change), signature, public_of("ant"))


@pytest.mark.parametrize("head", [HEAD, None], ids=["head", "no head"])
@pytest.mark.parametrize("purpose", list(Purpose))
def test_requests_cross_the_wire_unchanged(purpose: Purpose, head: Signed | None) -> None:
    """What the holder reads is what the asker signed; federation and asker are what the holder knows itself."""
    sent = replace(REQUEST, purpose=purpose, head=head)
    message = pb.EvaluateRequest.FromString(request_to_message(sent, bytes(64)).SerializeToString())
    assert request_from_message(message, federation="testing", asker="cat") == sent
    assert request_from_message(message, federation="testing", asker="bee").digest() != sent.digest()


def test_a_purpose_of_another_version_is_refused() -> None:
    """A request without a purpose is no request."""
    with pytest.raises(InvalidInputError, match="purpose"):
        request_from_message(pb.EvaluateRequest(), federation="testing", asker="cat")


def test_nothing_secret_shows_in_a_repr() -> None:
    """Elements stay out of logs by accident."""
    assert "eeee" not in repr(REQUEST)
    assert "dddd" not in repr(ANSWER)


def test_a_commitment_hides_the_reference_and_binds_it() -> None:
    """Another nonce or another reference gives another commitment; the nonce has its length."""
    nonce = bytes(range(16))
    commitment = consent_commitment(nonce, "app-1")
    assert commitment == sha256(b"jointrisk/v1/consent" + nonce + b"app-1").digest()
    assert commitment not in {consent_commitment(nonce, "app-2"), consent_commitment(bytes(16), "app-1")}
    with pytest.raises(InvalidInputError, match="nonce of 16 bytes, got 15"):
        consent_commitment(bytes(15), "app-1")


@pytest.mark.parametrize("reference", ["app-2026-001234", "4711", "2f1c0b9e-6d1c-4b8e-9c1a-0a1b2c3d4e5f", "A/b:c_d.e"])
def test_references_of_a_lenders_systems_are_taken(reference: str) -> None:
    """What applications and consents are called."""
    assert check_consent_reference(reference) == reference


@pytest.mark.parametrize(
    "reference",
    ["", "a" * 65, "a b", "name@example.com", "é", "11010519491231002X", "13812345678", "490154203237518", "a\n"],
)
def test_identifiers_and_other_texts_are_refused_and_not_repeated(reference: str) -> None:
    """A resident's number, a phone number or an IMEI does not get into an audit log as a reference."""
    with pytest.raises(InvalidInputError) as refused:
        check_consent_reference(reference)
    assert not reference.strip() or len(reference) < 2 or reference not in refused.value.message
