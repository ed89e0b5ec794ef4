"""A canonical identifier, and the bytes that go into the threshold OPRF."""

from dataclasses import dataclass, field
from enum import StrEnum

from jointrisk.errors import InvalidInputError

CANONICALISATION = 1
"""Version of the rules of this package. A change that gives any value other bytes is a new version."""

_DOMAIN = b"jointrisk/v1"
_LARGEST_EPOCH = 2**64 - 1


class Kind(StrEnum):
    """What an identifier identifies by. The value is what the OPRF's input holds."""

    RESIDENT_ID = "resident_id"
    """The number that a country gives to each resident."""
    PASSPORT = "passport"
    USCC = "uscc"
    """Unified social credit code of a Chinese organisation, GB 32100."""
    PHONE = "phone"
    EMAIL = "email"
    DEVICE_ID = "device_id"
    """IMEI, MEID, advertising id, Android id."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """An identifier in canonical form. Only ``canonicalise`` makes one; equal ones mean the same person or thing.

    Attributes:
        kind: what it is.
        country: ISO 3166-1 alpha-2 code of the country that issued it; empty for the kinds that are unique worldwide
            (phone, e-mail, device id), so that lenders of different countries agree.
        canonical: the identifier itself. It is left out of ``repr``.
    """

    kind: Kind
    country: str
    canonical: str = field(repr=False)

    def oprf_input(self, epoch: int) -> bytes:
        """Return the input x of the OPRF (docs/protocol.md).

        Six parts, each after its length as I2OSP(length, 2): "jointrisk/v1", I2OSP(canonicalisation version, 2),
        I2OSP(epoch, 8), kind, country, canonical identifier, texts in UTF-8.

        Args:
            epoch: the epoch of the group key, 0 to 2^64 - 1.

        Raises:
            InvalidInputError: the epoch is out of range.
        """
        if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch <= _LARGEST_EPOCH:
            raise InvalidInputError("epoch: expected an integer from 0 to 2^64 - 1")
        texts = (text.encode("utf-8") for text in (self.kind.value, self.country, self.canonical))
        parts = (_DOMAIN, CANONICALISATION.to_bytes(2, "big"), epoch.to_bytes(8, "big"), *texts)
        return b"".join(len(part).to_bytes(2, "big") + part for part in parts)
