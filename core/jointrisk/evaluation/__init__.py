"""What an asker signs when it asks holders to evaluate, and what a holder signs when it answers.

Pure: bytes in, bytes out. docs/protocol.md, section 5, is the normative text. A certificate alone authorises nothing:
a holder answers what the asker's pinned identity key has signed, and an asker keeps a signed answer as evidence of what
a holder said.

Modules: `request` (what is asked), `answer` (what is answered), `consent` (the asker's reference, and what holders see
of it).
"""

from jointrisk.evaluation.answer import EvaluationAnswer, sign_answer, verify_answer
from jointrisk.evaluation.consent import NONCE_LENGTH, check_consent_reference, consent_commitment
from jointrisk.evaluation.request import (
    CONSENT_LENGTH,
    REQUEST_ID_LENGTH,
    EvaluationRequest,
    Purpose,
    sign_request,
    verify_request,
)

__all__ = [
    "CONSENT_LENGTH",
    "NONCE_LENGTH",
    "REQUEST_ID_LENGTH",
    "EvaluationAnswer",
    "EvaluationRequest",
    "Purpose",
    "check_consent_reference",
    "consent_commitment",
    "sign_answer",
    "sign_request",
    "verify_answer",
    "verify_request",
]
