"""Client channels to a federation's servers."""

import grpc
from grpc import aio

from jointrisk.protocol import user_agent
from jointrisk.rpc.tls import KeyPair, channel_credentials

MAX_FRAME_BYTES = 16 << 20
"""Larger gRPC messages are refused by gRPC itself; ours are at most a few MiB."""

KEEPALIVE = [
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]


def channel(
    address: str, *, ca: bytes, pair: KeyPair | None, server_name: str, reconnect_ms: int = 5_000
) -> aio.Channel:
    """Return an aio channel over TLS.

    Args:
        address: "host:port" to connect to.
        ca: the only trusted root, PEM.
        pair: what the client presents; None for the join port.
        server_name: the DNS SAN that the server's certificate must carry. Addresses may change, this does not.
        reconnect_ms: the longest time between two tries to connect; until the next try calls fail at once.
    """
    options: list[tuple[str, str | int]] = [
        ("grpc.ssl_target_name_override", server_name),
        ("grpc.primary_user_agent", user_agent()),
        ("grpc.max_receive_message_length", MAX_FRAME_BYTES),
        ("grpc.initial_reconnect_backoff_ms", min(reconnect_ms, 1_000)),
        ("grpc.max_reconnect_backoff_ms", reconnect_ms),
        ("grpc.enable_http_proxy", 0),
        *KEEPALIVE,
    ]
    return aio.secure_channel(address, channel_credentials(ca, pair), options=options)


def unix_channel(path: str) -> grpc.Channel:
    """Return a blocking channel to a daemon's operator socket, for the command line."""
    options = [("grpc.primary_user_agent", user_agent()), ("grpc.enable_http_proxy", 0)]
    return grpc.insecure_channel(f"unix:{path}", options=options)
