"""The node's private keys, sealed under the master key in ``keys/``.

=====================  ==================================================================================
identity.sealed        Ed25519, made once, before the first join is sent: what other members pin
joining.sealed         transport key and certificate request of a join that has not ended yet
transport.sealed       the transport key and its certificate, replaced together in one atomic write
=====================  ==================================================================================

``identity.pub`` in the state directory is the public identity key as hex, for ``audit verify``.
"""

import base64
import json
import threading
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.canonical import canonical_json
from jointrisk.errors import NotFoundError
from jointrisk.federation.certificates import (
    KeyPair,
    certificate_request,
    key_from_pem,
    key_to_pem,
    new_transport_key,
)
from jointrisk.federation.signing import new_identity_key, private_bytes, public_bytes
from jointrisk.masterkey import MasterKey
from jointrisk.statedir import StateDir

PUBLIC_IDENTITY_FILE = "identity.pub"

_IDENTITY, _JOINING, _TRANSPORT = "identity", "joining", "transport"


@dataclass(frozen=True)
class JoiningKeys:
    """What a node joins with; the same at every try with the same invitation.

    Attributes:
        invitation_id: the invitation that it was made for.
        key: the transport key.
        request: its PKCS #10 request, DER; kept because its signature is random.
    """

    invitation_id: str
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    request: bytes


class NodeKeys:
    """The private keys of one node. Safe to share between threads.

    Args:
        state: the node's state directory.
        master: seals them.
    """

    def __init__(self, state: StateDir, master: MasterKey) -> None:
        self._state = state
        self._master = master
        self._lock = threading.Lock()

    def identity(self) -> Ed25519PrivateKey:
        """Return the identity key; it is made, and on the disk, when there is none yet."""
        with self._lock:
            raw = self._read(_IDENTITY)
            if raw is None:
                raw = private_bytes(new_identity_key())
                self._write(_IDENTITY, raw)
            key = Ed25519PrivateKey.from_private_bytes(raw)
            if not self._state.path(PUBLIC_IDENTITY_FILE).exists():
                self._state.write(PUBLIC_IDENTITY_FILE, public_bytes(key).hex().encode() + b"\n")
            return key

    def joining(self, invitation_id: str) -> JoiningKeys:
        """Return the keys for redeeming an invitation, which are on the disk before this returns."""
        with self._lock:
            kept = self._read_json(_JOINING)
            if kept is None or kept["invitation_id"] != invitation_id:
                key = new_transport_key()
                kept = {
                    "invitation_id": invitation_id,
                    "key": key_to_pem(key).decode(),
                    "request": base64.b64encode(certificate_request(key)).decode(),
                }
                self._write(_JOINING, canonical_json(kept))
            return JoiningKeys(invitation_id, key_from_pem(kept["key"].encode()), base64.b64decode(kept["request"]))

    def end_joining(self) -> None:
        """Forget the keys of a join that has ended; its transport key lives on with its certificate."""
        self._state.remove(_file(_JOINING))

    def transport(self) -> KeyPair:
        """Return the transport key and its certificate.

        Raises:
            NotFoundError: this node has joined nothing yet.
        """
        kept = self._read_json(_TRANSPORT)
        if kept is None:
            raise NotFoundError("this node has no certificate yet", remedy="Run `jointrisk node join TOKEN` first.")
        return KeyPair(kept["key"].encode(), kept["chain"].encode())

    def keep_transport(self, pair: KeyPair) -> None:
        """Put a transport key and its certificate in the place of those before: both or neither, whatever happens."""
        self._write(_TRANSPORT, canonical_json({"key": pair.key.decode(), "chain": pair.chain.decode()}))

    def _read_json(self, name: str) -> dict[str, str] | None:
        raw = self._read(name)
        return None if raw is None else dict(json.loads(raw))

    def _read(self, name: str) -> bytes | None:
        try:
            return self._master.open(_purpose(name), self._state.read(_file(name)))
        except NotFoundError:
            return None

    def _write(self, name: str, plaintext: bytes) -> None:
        self._state.write(_file(name), self._master.seal(_purpose(name), plaintext))


def _file(name: str) -> str:
    return f"keys/{name}.sealed"


def _purpose(name: str) -> str:
    return f"node {name}"
