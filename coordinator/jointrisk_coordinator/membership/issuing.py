"""Members' certificates: issued for a request, known by serial, refused before their time when that is needed."""

from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec

from jointrisk.errors import RefusedError
from jointrisk.federation.certificates import certificate_from_der, certificate_to_der, renewal_time, serial_of
from jointrisk.store import AuditLog, Session
from jointrisk_coordinator.authority import Authority
from jointrisk_coordinator.membership.ledger import MembershipRules
from jointrisk_coordinator.membership.tables import (
    IssuedCertificate,
    drop_expired_certificates,
    live_certificates,
    refuse_certificates,
)

_LIVE_AT_MOST = 50
"""Certificates that one member can have at a time; a node that renews as it should has two."""


class CertificateDesk:
    """Issues members' certificates and keeps the list of them.

    Args:
        authority: the CA.
        rules: hold their lifetime.
        audit: is told of every certificate.
    """

    def __init__(self, authority: Authority, rules: MembershipRules, audit: AuditLog) -> None:
        self._authority = authority
        self._rules = rules
        self._audit = audit

    def issue(
        self, session: Session, member_id: str, key: ec.EllipticCurvePublicKey, now: datetime
    ) -> IssuedCertificate:
        """Issue a certificate for a member's transport key.

        Raises:
            RefusedError: the member has too many certificates that are still valid.
        """
        drop_expired_certificates(session, now)
        if list(live_certificates(session).values()).count(member_id) >= _LIVE_AT_MOST:
            raise RefusedError(
                f"{member_id} has {_LIVE_AT_MOST} certificates that are still valid",
                remedy="A node renews one certificate at two thirds of its lifetime: find out what asks so often.",
            )
        lifetime = self._rules.certificate_lifetime
        certificate = self._authority.issue(member_id, key, now=now, lifetime=lifetime)
        row = IssuedCertificate(
            serial=serial_of(certificate),
            member_id=member_id,
            der=certificate_to_der(certificate),
            issued_at=now,
            expires_at=certificate.not_valid_after_utc,
            refused=False,
        )
        session.add(row)
        self._audit.append_in(session, "membership.certificate_issued", member_id=member_id, serial=row.serial)
        return row

    def refuse_all(self, session: Session, member_id: str) -> None:
        """Refuse every certificate that a member has had so far."""
        refuse_certificates(session, member_id)
        self._audit.append_in(session, "membership.certificates_refused", member_id=member_id)

    def fresh(self, session: Session, serial: str | None, now: datetime) -> IssuedCertificate | None:
        """Return a certificate that is neither refused nor due for renewal, or None."""
        row = session.get(IssuedCertificate, serial) if serial else None
        if row is None or row.refused or now >= renewal_time(certificate_from_der(row.der)):
            return None
        return row
