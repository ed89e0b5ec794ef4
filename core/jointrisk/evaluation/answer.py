"""What is answered, in the holder's signature: whoever asked can show it when the proof does not hold."""

from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.federation.signing import verify_signature

_DOMAIN = b"jointrisk/v1/evaluation-answer"


@dataclass(frozen=True, slots=True)
class EvaluationAnswer:
    """A holder's answer to a request.

    Attributes:
        request: the request's digest, 32 bytes.
        holder: the member that answers.
        elements: the evaluated elements, 32 bytes each, one after the other.
        proof: challenge and response, 64 bytes.
    """

    request: bytes
    holder: str
    elements: bytes = field(repr=False)
    proof: bytes

    def signed_bytes(self) -> bytes:
        """Return what the holder signs (docs/protocol.md, section 5.3)."""
        holder = self.holder.encode("utf-8", "replace")
        elements = sha256(self.elements).digest()
        domain = len(_DOMAIN).to_bytes(4, "big") + _DOMAIN
        return b"".join((domain, self.request, bytes((len(holder),)), holder, elements, self.proof))


def sign_answer(answer: EvaluationAnswer, key: Ed25519PrivateKey) -> bytes:
    """Return the holder's signature, 64 bytes."""
    return key.sign(answer.signed_bytes())


def verify_answer(answer: EvaluationAnswer, signature: bytes, public_key: bytes) -> bool:
    """Tell whether an answer is signed with the holder's pinned identity key."""
    return verify_signature(answer.signed_bytes(), signature, public_key)
