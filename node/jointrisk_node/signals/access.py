"""Which of the lender's own systems may ask for signals, and how it proves that it is the one.

By a bearer token: 32 random bytes, made here, shown once, kept as their SHA-256. They are drawn, not chosen, so a plain
hash is enough: nobody tries 2^256. Or by a client certificate, pinned by the SHA-256 of its DER.
"""

import base64
import binascii
import hmac
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import CorruptError, InvalidInputError, RefusedError, TooLargeError, UnauthenticatedError
from jointrisk.federation.names import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_GRANTS: Final = 100
TOKEN_LENGTH: Final = 32
TOKEN_PREFIX: Final = "jrt_"  # noqa: S105 - what tokens begin with, so that scanners of secrets find them

_LONGEST_TOKEN = 100
_BEARER = "bearer "


class Role(StrEnum):
    """What a system may do."""

    QUERY = "query"
    """Ask about single persons."""
    SCREEN = "screen"
    """Ask about a book."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A system that is let in.

    Attributes:
        name: what the lender calls it; audited with everything that it asks.
        roles: what it may do.
        proof: SHA-256 of the token's bytes, or of the certificate (DER).
        is_certificate: which of the two.
        added_at: since when.
        expires_at: until when; None for no end.
    """

    name: str
    roles: frozenset[Role]
    proof: bytes = field(repr=False)
    is_certificate: bool
    added_at: datetime
    expires_at: datetime | None

    def has_expired(self, now: datetime) -> bool:
        """Tell whether it is over."""
        return self.expires_at is not None and now >= self.expires_at


@dataclass(frozen=True, slots=True)
class Shown:
    """What a caller shows of itself. None of it is in the `repr`.

    Attributes:
        authorization: the call's metadata of that name; empty for none.
        certificate: SHA-256 of the client certificate that TLS has verified (DER); None for none.
    """

    authorization: str = field(default="", repr=False)
    certificate: bytes | None = field(default=None, repr=False)


class Grants(Protocol):
    """Where grants are kept: `jointrisk_node.signals.ledger.AccessLedger`. Methods block."""

    def all(self) -> list[Grant]:
        """Return every grant."""

    def add(self, grant: Grant, at: datetime) -> None:
        """Keep a grant."""

    def remove(self, name: str) -> None:
        """Forget a grant."""


class AccessDesk:
    """Lets systems in, and tells who is calling. Safe from any thread; `caller` does not block.

    Args:
        grants: where they are kept.
        randomness: draws tokens; `os.urandom` outside tests.
        clock: the time.
    """

    def __init__(self, grants: Grants, randomness: Callable[[int], bytes], clock: Clock = utc_now) -> None:
        self._grants = grants
        self._randomness = randomness
        self._clock = clock
        self._lock = threading.Lock()
        self._current: Sequence[Grant] = tuple(grants.all())

    def all(self) -> Sequence[Grant]:
        """Return every grant, by name."""
        return self._current

    def add(
        self, name: str, roles: "Iterable[str]", *, expires_at: datetime | None = None, certificate: bytes = b""
    ) -> tuple[Grant, str]:
        """Let a system in.

        Args:
            name: what to call it.
            roles: at least one of `Role`.
            expires_at: until when.
            certificate: its client certificate, PEM; empty for a token, which is made.

        Returns:
            The grant, and the token, which nobody can show again; empty with a certificate.

        Raises:
            InvalidInputError: the name, a role, the time or the certificate breaks its rule.
            ConflictError: there is a system of this name or with this certificate.
            TooLargeError: there are too many.
        """
        with self._lock:
            if len(self._current) >= MOST_GRANTS:
                raise TooLargeError(f"expected at most {MOST_GRANTS} systems", remedy="Revoke those that are not used.")
            now = self._clock()
            if expires_at is not None and expires_at <= now:
                raise InvalidInputError("expires: expected a time to come, got one that has passed")
            drawn = b"" if certificate else self._randomness(TOKEN_LENGTH)
            proof = _fingerprint_of(certificate) if certificate else sha256(drawn).digest()
            grant = Grant(
                check_name(name, "system"), _roles(roles), proof, bool(certificate), added_at=now, expires_at=expires_at
            )
            self._grants.add(grant, now)
            self._current = tuple(self._grants.all())
            return grant, token_text(drawn) if drawn else ""

    def revoke(self, name: str) -> None:
        """Take a system's access away, at once.

        Raises:
            NotFoundError: there is none of this name.
        """
        with self._lock:
            self._grants.remove(name)
            self._current = tuple(self._grants.all())

    def caller(self, shown: Shown, role: Role) -> str:
        """Return the name of who is calling.

        Raises:
            UnauthenticatedError: it shows nothing, or what nobody was given, or what is over.
            RefusedError: it may not do this.
        """
        grant = self._shown_by(shown)
        if grant is None:
            raise UnauthenticatedError(
                "expected a token or a client certificate that has access, got none",
                remedy="Send `authorization: Bearer TOKEN`; `jointrisk node access add` makes one.",
            )
        if grant.has_expired(self._clock()):
            raise UnauthenticatedError(
                f"the access of {grant.name} has expired", remedy="Revoke it, and add it again for a longer time."
            )
        if role not in grant.roles:
            raise RefusedError(
                f"{grant.name} has no role {role}", remedy="Revoke its access, and add it with the role."
            )
        return grant.name

    def _shown_by(self, shown: Shown) -> Grant | None:
        proofs = [(False, sha256(_token_bytes(shown.authorization)).digest())] if shown.authorization else []
        if shown.certificate is not None:
            proofs.append((True, shown.certificate))
        found = None
        for kind, proof in proofs:
            # All are compared, each in constant time.
            for grant in self._current:
                if hmac.compare_digest(grant.proof, proof) and grant.is_certificate is kind:
                    found = found or grant
        return found


def token_text(drawn: bytes) -> str:
    """Return the text of a token."""
    return TOKEN_PREFIX + base64.urlsafe_b64encode(drawn).decode("ascii").rstrip("=")


def _token_bytes(authorization: str) -> bytes:
    """Return the bytes of a bearer token.

    Raises:
        UnauthenticatedError: there is none in its form.
    """
    if len(authorization) <= _LONGEST_TOKEN and authorization[: len(_BEARER)].lower() == _BEARER:
        text = authorization[len(_BEARER) :].strip()
        try:
            drawn = base64.urlsafe_b64decode(text.removeprefix(TOKEN_PREFIX) + "=")
        except (binascii.Error, ValueError):
            drawn = b""
        if text.startswith(TOKEN_PREFIX) and len(drawn) == TOKEN_LENGTH:
            return drawn
    raise UnauthenticatedError(
        "authorization: expected `Bearer` and a token of this node", remedy="`jointrisk node access add` makes one."
    )


def _roles(names: "Iterable[str]") -> frozenset[Role]:
    try:
        roles = frozenset(Role(name) for name in names)
    except ValueError:
        roles = frozenset()
    if not roles:
        raise InvalidInputError(f"expected one or more roles of {', '.join(Role)}")
    return roles


def _fingerprint_of(pem: bytes) -> bytes:
    from jointrisk.federation.certificates import certificate_fingerprint, certificate_from_pem

    try:
        return certificate_fingerprint(certificate_from_pem(pem))
    except CorruptError as error:
        raise InvalidInputError(error.message) from None
