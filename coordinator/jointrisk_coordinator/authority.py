"""The coordinator's authority: the federation's CA and the identity key that signs rosters and contracts.

Both private keys are sealed under the master key in ``keys/``; ``ca.crt`` is public. The coordinator's own server
certificate is made fresh at every start, lives in memory, and is replaced at two thirds of its lifetime.
"""

import threading
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.clock import Clock
from jointrisk.errors import ConflictError, CorruptError
from jointrisk.federation.certificates import (
    Issuer,
    KeyPair,
    certificate_fingerprint,
    certificate_from_pem,
    certificate_to_der,
    certificate_to_pem,
    issue_authority,
    issue_leaf,
    key_from_pem,
    key_to_pem,
    new_transport_key,
    renewal_time,
)
from jointrisk.federation.names import COORDINATOR
from jointrisk.federation.signing import new_identity_key, private_bytes, public_bytes
from jointrisk.masterkey import MasterKey
from jointrisk.statedir import StateDir

CA_LIFETIME = timedelta(days=3650)
CA_FILE = "ca.crt"

_CA_KEY_FILE = "keys/ca.sealed"
_IDENTITY_FILE = "keys/identity.sealed"
_CA_KEY_NAME = "coordinator ca key"
_IDENTITY_NAME = "coordinator identity key"


class Authority:
    """What signs for the coordinator. Made once by :meth:`create`, opened by every start.

    Args:
        federation: the federation's name.
        issuer: CA certificate and key.
        identity_key: the Ed25519 key that signs documents.
    """

    def __init__(self, federation: str, issuer: Issuer, identity_key: Ed25519PrivateKey) -> None:
        self.federation = federation
        self.identity_key = identity_key
        self._issuer = issuer

    @classmethod
    def create(cls, federation: str, state: StateDir, master: MasterKey, *, now: datetime) -> "Authority":
        """Make the keys and the CA certificate, and write them. A creation that was cut off is begun again.

        Args:
            federation: the federation's name.
            state: the coordinator's state directory.
            master: seals the private keys.
            now: the present time; the CA is valid for ten years from it.

        Raises:
            ConflictError: the state directory has an authority already.
            InvalidInputError: the federation's name breaks the pattern.
        """
        if state.path(CA_FILE).exists():
            raise ConflictError(f"{state.root} holds a CA already", remedy="Name another state directory.")
        ca_key, identity_key = new_transport_key(), new_identity_key()
        certificate = issue_authority(federation, ca_key, now=now, lifetime=CA_LIFETIME)
        state.write(_CA_KEY_FILE, master.seal(_CA_KEY_NAME, key_to_pem(ca_key)))
        state.write(_IDENTITY_FILE, master.seal(_IDENTITY_NAME, private_bytes(identity_key)))
        # Last: where it is, everything is.
        state.write(CA_FILE, certificate_to_pem(certificate))
        return cls(federation, Issuer(certificate, ca_key), identity_key)

    @classmethod
    def open(cls, federation: str, state: StateDir, master: MasterKey) -> "Authority":
        """Read what :meth:`create` wrote.

        Raises:
            NotFoundError: there is none.
            CorruptError: certificate and key do not belong together, or a key does not open.
        """
        certificate = certificate_from_pem(state.read(CA_FILE))
        ca_key = key_from_pem(master.open(_CA_KEY_NAME, state.read(_CA_KEY_FILE)))
        identity = master.open(_IDENTITY_NAME, state.read(_IDENTITY_FILE))
        if certificate.public_key() != ca_key.public_key():
            raise CorruptError(f"{CA_FILE} does not belong to the CA key", remedy="Restore it from a backup.")
        return cls(federation, Issuer(certificate, ca_key), Ed25519PrivateKey.from_private_bytes(identity))

    @property
    def certificate(self) -> x509.Certificate:
        """The CA certificate."""
        return self._issuer.certificate

    @property
    def certificate_pem(self) -> bytes:
        """The CA certificate, PEM."""
        return certificate_to_pem(self.certificate)

    @property
    def certificate_der(self) -> bytes:
        """The CA certificate, DER."""
        return certificate_to_der(self.certificate)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the CA certificate's DER, 32 bytes."""
        return certificate_fingerprint(self.certificate)

    @property
    def public_key(self) -> bytes:
        """The coordinator's Ed25519 identity key, 32 bytes."""
        return public_bytes(self.identity_key)

    def issue(
        self, member_id: str, key: ec.EllipticCurvePublicKey, *, now: datetime, lifetime: timedelta
    ) -> x509.Certificate:
        """Return a certificate for a member's transport key (or the coordinator's)."""
        return issue_leaf(
            self._issuer, key, federation=self.federation, member_id=member_id, now=now, lifetime=lifetime
        )


class ServerCertificate:
    """The coordinator's own key pair for TLS; call it to get the present one, renewed when that is due.

    gRPC calls it at every handshake and from threads of its own.

    Args:
        authority: issues it.
        lifetime: of each certificate.
        clock: tells when a new one is due.
    """

    def __init__(self, authority: Authority, lifetime: timedelta, clock: Clock) -> None:
        self._authority = authority
        self._lifetime = lifetime
        self._clock = clock
        self._lock = threading.Lock()
        self._pair, self._due = self._fresh(clock())

    def __call__(self) -> KeyPair:
        """Return the key pair to use now."""
        now = self._clock()
        with self._lock:
            if now >= self._due:
                self._pair, self._due = self._fresh(now)
            return self._pair

    def _fresh(self, now: datetime) -> tuple[KeyPair, datetime]:
        key = new_transport_key()
        certificate = self._authority.issue(COORDINATOR, key.public_key(), now=now, lifetime=self._lifetime)
        return KeyPair(key_to_pem(key), certificate_to_pem(certificate)), renewal_time(certificate)
