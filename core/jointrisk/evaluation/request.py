"""What is asked: everything that a holder judges, in one signature."""

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.errors import InvalidInputError
from jointrisk.federation.signing import Signed, verify_signature

REQUEST_ID_LENGTH = 16
"""Bytes of a request id."""

CONSENT_LENGTH = 32
"""Bytes of a commitment to a consent reference."""

_DOMAIN = b"jointrisk/v1/evaluation-request"
_LONGEST_QUORUM = 255
_LARGEST = 2**64 - 1


class Purpose(StrEnum):
    """What identifiers are evaluated for. The holder cannot check it; it is signed, counted and audited."""

    ADMISSION = "admission"
    """An application for credit."""
    PORTFOLIO = "portfolio"
    """Loans on the asker's book."""
    INVESTIGATION = "investigation"
    """Fraud, collections, a customer's own request."""
    PUBLISHING = "publishing"
    """Listings of the asker."""


_CODES = {Purpose.ADMISSION: 1, Purpose.PORTFOLIO: 2, Purpose.INVESTIGATION: 3, Purpose.PUBLISHING: 4}


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """A request to one quorum; every holder in it gets the same.

    Attributes:
        federation: the federation's name.
        asker: the member that asks.
        epoch: of the group key.
        generation: of the shares.
        request_id: 16 random bytes.
        purpose: what the identifiers are evaluated for.
        quorum: the members that are asked, sorted.
        consent: the commitment to the consent reference, 32 bytes (`jointrisk.evaluation.consent`).
        elements: the blinded elements, 32 bytes each, one after the other.
        head: the newest head that the asker has verified; None before the first.
    """

    federation: str
    asker: str
    epoch: int
    generation: int
    request_id: bytes
    purpose: Purpose
    quorum: tuple[str, ...]
    consent: bytes
    elements: bytes = field(repr=False)
    head: Signed | None

    def signed_bytes(self) -> bytes:
        """Return what the asker signs (docs/protocol.md, section 5.1).

        Raises:
            InvalidInputError: a field has another length or is out of range.
        """
        return b"".join(
            (
                _block(_DOMAIN),
                _name(self.federation),
                _name(self.asker),
                _number(self.epoch),
                _number(self.generation),
                _exactly(self.request_id, REQUEST_ID_LENGTH, "a request id"),
                bytes((_CODES[self.purpose],)),
                _names(self.quorum),
                _exactly(self.consent, CONSENT_LENGTH, "a commitment to a consent reference"),
                sha256(self.elements).digest(),
                _head(self.head),
            )
        )

    def digest(self) -> bytes:
        """Return SHA-256 over the signed bytes: what a request id is bound to, and what an answer is about.

        Raises:
            InvalidInputError: as `signed_bytes`.
        """
        return sha256(self.signed_bytes()).digest()


def sign_request(request: EvaluationRequest, key: Ed25519PrivateKey) -> bytes:
    """Return the asker's signature, 64 bytes.

    Raises:
        InvalidInputError: a field has another length or is out of range.
    """
    return key.sign(request.signed_bytes())


def verify_request(request: EvaluationRequest, signature: bytes, public_key: bytes) -> bool:
    """Tell whether a request is signed with the asker's pinned identity key.

    Raises:
        InvalidInputError: a field has another length or is out of range.
    """
    return verify_signature(request.signed_bytes(), signature, public_key)


def _block(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _number(value: int) -> bytes:
    if not 0 <= value <= _LARGEST:
        raise InvalidInputError("expected an epoch and a generation of at most 8 bytes, got another number")
    return value.to_bytes(8, "big")


def _name(text: str) -> bytes:
    written = text.encode("utf-8", "replace")
    if not 1 <= len(written) <= _LONGEST_QUORUM:
        raise InvalidInputError("expected names of 1 to 255 bytes, got another length")
    return bytes((len(written),)) + written


def _names(names: tuple[str, ...]) -> bytes:
    if len(names) > _LONGEST_QUORUM:
        raise InvalidInputError(f"expected a quorum of at most {_LONGEST_QUORUM} holders, got {len(names)}")
    return bytes((len(names),)) + b"".join(map(_name, names))


def _exactly(data: bytes, length: int, what: str) -> bytes:
    if len(data) != length:
        raise InvalidInputError(f"expected {what} of {length} bytes, got {len(data)}")
    return data


def _head(head: Signed | None) -> bytes:
    if head is None:
        return b"\0"
    return b"\1" + sha256(_block(head.kind.encode("utf-8", "replace")) + _block(head.payload) + head.signature).digest()
