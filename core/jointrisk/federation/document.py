"""What documents that are signed as canonical JSON have in common: their field types, their one byte form."""

import json
from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)

from jointrisk.canonical import canonical_json
from jointrisk.clock import rfc3339
from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.federation.names import COORDINATOR, NAME_PATTERN
from jointrisk.federation.signing import PUBLIC_KEY_LENGTH, SIGNATURE_LENGTH

_LARGEST = 2**53 - 1  # every JSON reader keeps integers up to here exact


def _from_hex(value: object) -> object:
    return bytes.fromhex(value) if isinstance(value, str) else value


def _not_reserved(name: str) -> str:
    if name == COORDINATOR:
        raise ValueError("reserved")
    return name


def _to_second(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


_hexadecimal = (BeforeValidator(_from_hex), PlainSerializer(bytes.hex, return_type=str))

Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$"), AfterValidator(_not_reserved)]
"""A federation's or a member's name."""

HexId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""16 random bytes as hex."""

Serial = Annotated[str, Field(pattern=r"^[0-9a-f]{1,40}$")]
"""A certificate's serial number, hex."""

Count = Annotated[int, Field(ge=0, le=_LARGEST)]

IdentityKey = Annotated[bytes, Field(min_length=PUBLIC_KEY_LENGTH, max_length=PUBLIC_KEY_LENGTH), *_hexadecimal]
"""An Ed25519 public key, hex in JSON."""

Digest = Annotated[bytes, Field(min_length=32, max_length=32), *_hexadecimal]
"""A SHA-256, hex in JSON."""

Signature = Annotated[bytes, Field(min_length=SIGNATURE_LENGTH, max_length=SIGNATURE_LENGTH), *_hexadecimal]
"""An Ed25519 signature, hex in JSON."""

Moment = Annotated[AwareDatetime, AfterValidator(_to_second), PlainSerializer(rfc3339, return_type=str)]
"""A point in time, to the second, in UTC; RFC 3339 in JSON."""


class Document(BaseModel):
    """Base of every signed document and its parts: immutable, unknown fields refused, one byte form."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def payload(self) -> bytes:
        """Return the canonical JSON: what is signed and sent."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read a payload whose signature has been verified.

        Raises:
            CorruptError: it is not of this kind, or not in its one byte form.
        """
        what = cls.__name__.lower()
        try:
            document = cls.model_validate(json.loads(payload))
            same = document.payload() == payload
        except (ValueError, RecursionError, InvalidInputError, ValidationError) as error:
            raise CorruptError(f"expected a {what}, got something else that is signed") from error
        if not same:
            raise CorruptError(f"the {what} is not canonical JSON")
        return document
