"""Asking the daemon over its operator socket."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from jointrisk.errors import UnavailableError
from jointrisk.operator_socket import operator_socket
from jointrisk.rpc.channel import unix_channel
from jointrisk.rpc.errors import from_rpc


@contextmanager
def daemon(home: Path, role: str) -> Iterator[grpc.Channel]:
    """Yield a channel to the daemon of this state directory; failed calls raise typed errors.

    Raises:
        UnavailableError: no daemon runs there.
        JointriskError: whatever the daemon answered.
    """
    socket = operator_socket(home)
    if not socket.exists():
        raise _not_running(home, role)
    with unix_channel(str(socket)) as channel:
        try:
            yield channel
        except grpc.RpcError as failure:
            error = from_rpc(failure, peer=f"the {role} daemon")
            if isinstance(error, UnavailableError) and not _answered(failure):
                raise _not_running(home, role) from failure
            raise error from failure


def _answered(failure: grpc.RpcError) -> bool:
    """Tell whether the daemon itself said "unavailable", rather than gRPC."""
    from jointrisk.rpc.errors import CODE_KEY

    call: grpc.Call = failure  # type: ignore[assignment]
    return any(key == CODE_KEY for key, _ in call.trailing_metadata() or ())


def _not_running(home: Path, role: str) -> UnavailableError:
    return UnavailableError(
        f"no {role} daemon runs for {home}", remedy=f"Start it with `jointrisk {role} --home {home} run`."
    )
