"""X.509 of a federation: P-256 keys, certificate requests, the CA, leafs, and whose a certificate is.

The CA signs the coordinator's and the members' leaf certificates and nothing else. Who a leaf belongs to
stands in its one URI SAN, ``jointrisk://FEDERATION/member/NAME`` or ``jointrisk://FEDERATION/coordinator``; the
DNS SAN is what clients compare (``grpc.ssl_target_name_override``), so that addresses can change. ECDSA
throughout: gRPC never became ready with Ed25519 certificates (docs/adr/0005).
"""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from jointrisk.errors import CorruptError, InvalidInputError, UnauthenticatedError
from jointrisk.federation.names import (
    COORDINATOR,
    COORDINATOR_SERVER_NAME,
    NAME_PATTERN,
    check_name,
    member_server_name,
)

MAX_REQUEST_BYTES = 4096
"""A PKCS #10 request for a P-256 key has some 250 bytes."""

_URI = re.compile(rf"jointrisk://(?P<federation>{NAME_PATTERN})/(?:member/(?P<member>{NAME_PATTERN})|coordinator)")
_BACKDATED_AT_MOST = timedelta(minutes=5)
_BACKDATED_PART = 10


@dataclass(frozen=True)
class Identity:
    """Whose a certificate is.

    Attributes:
        federation: the federation that its CA belongs to.
        member_id: the member's name; ``"coordinator"``, which no member is called, for the coordinator.
        serial: the serial number, lower-case hex.
        expires_at: aware, UTC.
    """

    federation: str
    member_id: str
    serial: str
    expires_at: datetime


@dataclass(frozen=True)
class KeyPair:
    """A private key and its certificate chain, both PEM."""

    key: bytes = field(repr=False)
    chain: bytes


@dataclass(frozen=True)
class Issuer:
    """The CA: its certificate and the key that belongs to it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


def new_transport_key() -> ec.EllipticCurvePrivateKey:
    """Return a fresh P-256 key, for TLS only."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key as PEM (PKCS #8, not encrypted): for TLS, or to seal before it is written anywhere."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_from_pem(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read what :func:`key_to_pem` wrote.

    Raises:
        CorruptError: it is not a P-256 key.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except ValueError as error:
        raise CorruptError("expected a P-256 private key, got something else") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CorruptError("expected a P-256 private key, got another kind of key")
    return key


def certificate_request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a PKCS #10 request (DER) that proves possession of ``key``. The CA gives the name."""
    return x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, SHA256()).public_bytes(Encoding.DER)


def requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key that a PKCS #10 request (DER) asks a certificate for. Its names are ignored.

    Raises:
        InvalidInputError: it is too long, malformed, for another kind of key, or not signed with that key.
    """
    if len(request) > MAX_REQUEST_BYTES:
        raise InvalidInputError(f"certificate request: expected at most {MAX_REQUEST_BYTES} bytes, got {len(request)}")
    try:
        parsed = x509.load_der_x509_csr(request)
        key, signed = parsed.public_key(), parsed.is_signature_valid
    except Exception as error:  # the parser's errors are many, and the bytes come from anybody
        raise InvalidInputError("certificate request: expected PKCS #10 in DER") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInputError("certificate request: expected a P-256 key")
    if not signed:
        raise InvalidInputError("certificate request: it is not signed with the key that it holds")
    return key


def issue_authority(
    federation: str, key: ec.EllipticCurvePrivateKey, *, now: datetime, lifetime: timedelta
) -> x509.Certificate:
    """Return a self-signed CA certificate that can sign leafs and no further CA.

    Args:
        federation: whose CA it is.
        key: the CA's key.
        now: the present time.
        lifetime: how long it is valid.
    """
    check_name(federation, "federation")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"jointrisk CA of {federation}")])
    ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = _certificate(name, name, key.public_key(), now, lifetime)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(key_cert_sign=True), critical=True)
    return builder.add_extension(ski, critical=False).sign(key, SHA256())


def issue_leaf(
    issuer: Issuer,
    public_key: ec.EllipticCurvePublicKey,
    *,
    federation: str,
    member_id: str,
    now: datetime,
    lifetime: timedelta,
) -> x509.Certificate:
    """Return a certificate for a member or the coordinator, good as client and as server.

    Args:
        issuer: the CA.
        public_key: the transport key.
        federation: the federation's name.
        member_id: the member's name, or ``"coordinator"``.
        now: the present time.
        lifetime: how long it is valid, cut to the CA's own end.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, member_id)])
    lifetime = min(lifetime, issuer.certificate.not_valid_after_utc - now)
    aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    builder = _certificate(subject, issuer.certificate.subject, public_key, now, lifetime)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    builder = builder.add_extension(aki, critical=False)
    builder = builder.add_extension(_names(federation, member_id), critical=False)
    return builder.sign(issuer.key, SHA256())


def member_of(certificate_pem: bytes) -> Identity:
    """Return whose a certificate is, from its URI SAN alone. Whether to trust it is what TLS decided before.

    Raises:
        UnauthenticatedError: it cannot be read, or has not exactly one URI SAN of the expected form.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise UnauthenticatedError("the certificate names no member") from error
    match = _URI.fullmatch(uris[0]) if len(uris) == 1 else None
    if match is None or match["member"] == COORDINATOR:
        raise UnauthenticatedError("the certificate names no member")
    return Identity(
        federation=match["federation"],
        member_id=match["member"] or COORDINATOR,
        serial=serial_of(certificate),
        expires_at=certificate.not_valid_after_utc,
    )


def certificate_to_pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM)


def certificate_to_der(certificate: x509.Certificate) -> bytes:
    """Return a certificate as DER."""
    return certificate.public_bytes(Encoding.DER)


def certificate_from_der(der: bytes) -> x509.Certificate:
    """Read a certificate.

    Raises:
        CorruptError: it is not one.
    """
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise CorruptError("expected an X.509 certificate in DER, got something else") from error


def certificate_from_pem(pem: bytes) -> x509.Certificate:
    """Read the first certificate of a PEM text.

    Raises:
        CorruptError: there is none.
    """
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise CorruptError("expected an X.509 certificate in PEM, got something else") from error


def serial_of(certificate: x509.Certificate) -> str:
    """Return the serial number as rosters and tables write it: lower-case hex."""
    return f"{certificate.serial_number:x}"


def certificate_fingerprint(certificate: x509.Certificate) -> bytes:
    """Return the SHA-256 of the certificate's DER, 32 bytes."""
    return hashlib.sha256(certificate_to_der(certificate)).digest()


def issued_by(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    """Tell whether the CA signed this leaf. Dates and names are left to TLS."""
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def renewal_time(certificate: x509.Certificate) -> datetime:
    """Return when a certificate is to be renewed: after two thirds of its lifetime."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begin + (end - begin) * 2 / 3


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    # Clocks of members differ; a certificate that begins in a member's future would lock it out.
    begin = now - min(_BACKDATED_AT_MOST, lifetime / _BACKDATED_PART)
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    return builder.not_valid_before(begin).not_valid_after(now + lifetime)


def _names(federation: str, member_id: str) -> x509.SubjectAlternativeName:
    if member_id == COORDINATOR:
        uri, host = f"jointrisk://{federation}/coordinator", COORDINATOR_SERVER_NAME
    else:
        check_name(member_id, "member")
        uri, host = f"jointrisk://{federation}/member/{member_id}", member_server_name(member_id)
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), x509.DNSName(host)])


def _key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
