"""Mutual TLS 1.3 credentials, and who is at the other end."""

from collections.abc import Callable
from functools import lru_cache

import grpc
from grpc import aio

from jointrisk.errors import UnauthenticatedError
from jointrisk.federation.certificates import Identity, KeyPair, member_of

__all__ = ["KeyPair", "channel_credentials", "open_server_credentials", "peer", "server_credentials"]


def server_credentials(current: Callable[[], KeyPair], ca: bytes) -> grpc.ServerCredentials:
    """Return credentials of a server that asks every client for a certificate of ``ca`` (PEM).

    Args:
        current: returns the key pair to use now; asked at every handshake, so that a renewed certificate is served
            without a restart.
        ca: the federation's CA certificate, PEM.
    """
    return _dynamic(current, ca, require_client=True)


def open_server_credentials(current: Callable[[], KeyPair], ca: bytes) -> grpc.ServerCredentials:
    """Return credentials of a server that asks for no client certificate: for the join port only."""
    return _dynamic(current, ca, require_client=False)


def _dynamic(current: Callable[[], KeyPair], ca: bytes, *, require_client: bool) -> grpc.ServerCredentials:
    served = current()

    def configuration(pair: KeyPair) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(pair.key, pair.chain)], ca)

    def changed() -> grpc.ServerCertificateConfiguration | None:
        # None unless it did change: gRPC frees the present configuration when it gets another, while handshakes may
        # still use it, and the process dies (grpc/grpc#36693). gRPC calls this under a lock.
        nonlocal served
        pair = current()
        if pair == served:
            return None
        served = pair
        return configuration(pair)

    return grpc.dynamic_ssl_server_credentials(
        configuration(served),
        changed,  # type: ignore[arg-type] # None is documented, and missing in types-grpcio
        require_client_authentication=require_client,
    )


def channel_credentials(ca: bytes, pair: KeyPair | None) -> grpc.ChannelCredentials:
    """Return a client's credentials: trust ``ca`` (PEM) alone, and present ``pair`` where given."""
    if pair is None:
        return grpc.ssl_channel_credentials(ca)
    return grpc.ssl_channel_credentials(ca, pair.key, pair.chain)


def peer(context: aio.ServicerContext) -> Identity:  # type: ignore[type-arg]
    """Return who is calling, from the SAN of the certificate that the TLS handshake verified.

    Raises:
        UnauthenticatedError: there is no certificate, or it names no member.
    """
    certificates = context.auth_context().get("x509_pem_cert")
    if not certificates:
        raise UnauthenticatedError("the caller presented no certificate")
    return _identity(bytes(next(iter(certificates))))


@lru_cache(maxsize=1024)
def _identity(pem: bytes) -> Identity:
    return member_of(pem)
