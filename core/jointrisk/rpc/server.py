"""Servers: what every port of a daemon has in common."""

from collections.abc import Sequence
from pathlib import Path

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from jointrisk.errors import ConflictError
from jointrisk.protocol import negotiate, parse_user_agent
from jointrisk.rpc.channel import KEEPALIVE, MAX_FRAME_BYTES
from jointrisk.rpc.guard import Context, Guard

_OPEN_SERVICES = ("/grpc.health.v1.Health/", "/grpc.reflection.")


def new_server(guard: Guard, *, max_message_bytes: int = MAX_FRAME_BYTES) -> aio.Server:
    """Return a server without a port; every call passes ``guard``.

    Args:
        guard: checks before, typed errors after.
        max_message_bytes: larger requests are refused before they are read.
    """
    options: list[tuple[str, int]] = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.so_reuseport", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        *KEEPALIVE,
    ]
    return aio.server(interceptors=[guard], options=options)


def add_health_and_reflection(server: aio.Server, services: Sequence[ServiceDescriptor]) -> None:
    """Serve ``grpc.health.v1`` (SERVING for each service) and reflection."""
    names = [service.full_name for service in services]
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for name in ("", *names):
        servicer._server_status[name] = health_pb2.HealthCheckResponse.SERVING  # noqa: SLF001
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)


def bind(server: aio.Server, address: str, credentials: grpc.ServerCredentials) -> int:
    """Listen at "host:port" and return the port (which differs when 0 was asked for).

    Raises:
        ConflictError: the address is taken or not this machine's.
    """
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise _taken(address) from error
    if port == 0:
        raise _taken(address)
    return port


def bind_unix(server: aio.Server, path: Path) -> None:
    """Listen at a Unix socket. Who may connect is decided by the modes of the socket and its folder."""
    server.add_insecure_port(f"unix:{path}")


async def check_protocol(context: Context, method: str) -> None:
    """Refuse a caller without a common protocol version (a :data:`~jointrisk.rpc.guard.Check`).

    Health and reflection are left open for ordinary tools.
    """
    if method.startswith(_OPEN_SERVICES):
        return
    agent = next((value for key, value in context.invocation_metadata() or () if key == "user-agent"), "")
    text = agent if isinstance(agent, str) else agent.decode()
    negotiate(*parse_user_agent(text), peer="the caller")


def _taken(address: str) -> ConflictError:
    return ConflictError(f"cannot listen at {address}", remedy="Is the port taken? Change it in the settings file.")
