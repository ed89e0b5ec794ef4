"""Certificates: what the CA issues, and whose a certificate is."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from jointrisk.errors import CorruptError, InvalidInputError, UnauthenticatedError
from jointrisk.federation.certificates import (
    Issuer,
    KeyPair,
    certificate_from_der,
    certificate_from_pem,
    certificate_request,
    certificate_to_pem,
    issue_authority,
    issue_leaf,
    issued_by,
    key_from_pem,
    key_to_pem,
    member_of,
    new_transport_key,
    renewal_time,
    requested_key,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = new_transport_key()
DAYS = timedelta(days=1)


def authority(lifetime: timedelta = 3650 * DAYS) -> Issuer:
    """Return a CA."""
    return Issuer(issue_authority("testing", KEY, now=NOW, lifetime=lifetime), KEY)


def leaf(member_id: str = "east-bank", lifetime: timedelta = 30 * DAYS) -> x509.Certificate:
    """Return a leaf for a fresh key."""
    key = requested_key(certificate_request(new_transport_key()))
    return issue_leaf(authority(), key, federation="testing", member_id=member_id, now=NOW, lifetime=lifetime)


def with_uris(*uris: str) -> bytes:
    """Return a self-made certificate with these URI SANs, PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "east-bank")])
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), 1, NOW, NOW + DAYS)
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    return certificate_to_pem(builder.sign(KEY, SHA256()))


def test_the_ca_signs_leafs_only() -> None:
    """Path length 0, certificate signing and nothing else, ten years."""
    ca = authority().certificate
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (constraints.value.ca, constraints.value.path_length, constraints.critical) == (True, 0, True)
    assert usage.key_cert_sign
    assert not usage.digital_signature
    assert not usage.crl_sign
    assert ca.not_valid_after_utc == NOW + 3650 * DAYS


def test_a_leaf_names_its_member_and_cannot_sign() -> None:
    """URI and DNS SAN, client and server use, no CA."""
    certificate = leaf()
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["jointrisk://testing/member/east-bank"]
    assert names.get_values_for_type(x509.DNSName) == ["east-bank.member.jointrisk.internal"]
    assert set(uses) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_longest_name_fits() -> None:
    """40 characters are within every limit of X.509."""
    assert member_of(certificate_to_pem(leaf("a" * 40))).member_id == "a" * 40


def test_a_certificate_tells_whose_it_is() -> None:
    """Federation, member, serial and end come from the certificate."""
    certificate = leaf()
    identity = member_of(certificate_to_pem(certificate))
    assert (identity.federation, identity.member_id) == ("testing", "east-bank")
    assert int(identity.serial, 16) == certificate.serial_number
    assert identity.expires_at == NOW + 30 * DAYS
    assert member_of(certificate_to_pem(leaf("coordinator"))).member_id == "coordinator"


@pytest.mark.parametrize(
    "uris",
    [
        (),
        ("jointrisk://testing/member/east-bank", "jointrisk://testing/member/west-bank"),
        ("jointrisk://testing/member/coordinator",),
        ("jointrisk://testing/member/",),
        ("jointrisk://testing/member/east-bank/x",),
        ("jointrisk://testing/coordinator/member/x",),
        ("jointrisk://Testing/member/east-bank",),
        ("https://testing/member/east-bank",),
        ("jointrisk://testing/member/east-bank\n",),
    ],
)
def test_any_other_uri_names_nobody(uris: tuple[str, ...]) -> None:
    """One URI of the exact form; the common name is never read."""
    with pytest.raises(UnauthenticatedError):
        member_of(with_uris(*uris))


def test_rubbish_is_no_certificate() -> None:
    """Each reader raises its own error for bytes that are no certificate or key."""
    with pytest.raises(UnauthenticatedError):
        member_of(b"rubbish")
    for reader in (certificate_from_der, certificate_from_pem):
        with pytest.raises(CorruptError):
            reader(b"rubbish")
    with pytest.raises(CorruptError):
        key_from_pem(b"rubbish")
    with pytest.raises(CorruptError, match="another kind"):
        key_from_pem(
            ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )


def test_keys_read_back_and_do_not_show() -> None:
    """PEM out, the same key in; a printed key pair shows no key."""
    key = new_transport_key()
    assert key_from_pem(key_to_pem(key)).private_numbers() == key.private_numbers()
    assert "PRIVATE" not in repr(KeyPair(key_to_pem(key), b"chain"))


def test_names_in_a_request_are_ignored() -> None:
    """A request that asks to be another member gets the name that the CA gives."""
    key = new_transport_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "coordinator")])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("jointrisk://testing/coordinator")])
    request = x509.CertificateSigningRequestBuilder(name).add_extension(names, critical=True).sign(key, SHA256())
    asked = requested_key(request.public_bytes(Encoding.DER))
    issued = issue_leaf(authority(), asked, federation="testing", member_id="east-bank", now=NOW, lifetime=DAYS)
    assert member_of(certificate_to_pem(issued)).member_id == "east-bank"
    assert issued.public_key() == key.public_key()


def _request(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, SHA256()).public_bytes(Encoding.DER)


def _forged() -> bytes:
    request = bytearray(certificate_request(new_transport_key()))
    request[-1] ^= 1
    return bytes(request)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"",
        b"\x30\x80",
        bytes(5000),
        _request(rsa.generate_private_key(65537, 2048)),
        _request(ec.generate_private_key(ec.SECP384R1())),
        _forged(),
    ],
    ids=["empty", "cut", "long", "rsa", "p384", "forged"],
)
def test_bad_requests_are_refused(request_bytes: bytes) -> None:
    """Only a signed PKCS #10 request for a P-256 key gets a certificate."""
    with pytest.raises(InvalidInputError, match="certificate request"):
        requested_key(request_bytes)


def test_a_long_request_is_refused_before_it_is_read() -> None:
    """Even a valid one: strangers send these."""
    names = x509.SubjectAlternativeName([x509.DNSName("a" * 60 + ".example")] * 100)
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(names, critical=False)
    with pytest.raises(InvalidInputError, match="at most"):
        requested_key(request.sign(KEY, SHA256()).public_bytes(Encoding.DER))


def test_a_leaf_never_outlives_its_ca() -> None:
    """Near the CA's end leafs are cut."""
    key = new_transport_key().public_key()
    ca = authority(lifetime=5 * DAYS)
    certificate = issue_leaf(ca, key, federation="testing", member_id="a", now=NOW, lifetime=30 * DAYS)
    assert certificate.not_valid_after_utc == NOW + 5 * DAYS


@pytest.mark.parametrize("lifetime", [30 * DAYS, timedelta(seconds=9)])
def test_renewal_is_due_at_two_thirds(lifetime: timedelta) -> None:
    """Also for the short lifetimes of tests: backdating a certificate does not make it due at once."""
    due = renewal_time(leaf(lifetime=lifetime))
    assert abs((due - NOW) / lifetime - 2 / 3) < 0.12
    assert leaf(lifetime=lifetime).not_valid_before_utc <= NOW


def test_foreign_leafs_are_told_apart() -> None:
    """A CA with the same name and another key has not issued our leafs."""
    key = new_transport_key()
    impostor = issue_authority("testing", key, now=NOW, lifetime=DAYS)
    assert issued_by(leaf(), authority().certificate)
    assert not issued_by(leaf(), impostor)
    assert not issued_by(leaf(), leaf("west-bank"))
