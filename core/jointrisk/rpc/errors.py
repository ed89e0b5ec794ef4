"""The one table between errors and gRPC status, and both directions of crossing the wire.

The code of a :class:`~jointrisk.errors.JointriskError` and its remedy travel as trailing metadata, the message as the
status' details.
"""

from typing import Any, NoReturn

import grpc
from grpc import aio

from jointrisk.errors import (
    ClientFailedError,
    ConflictError,
    CorruptError,
    DataBreachError,
    DeadlineError,
    InvalidInputError,
    JointriskError,
    NotFoundError,
    RefusedError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    VersionMismatchError,
    by_code,
)

CODE_KEY = "jointrisk-error-code"
REMEDY_KEY = "jointrisk-error-remedy-bin"

STATUS: dict[type[JointriskError], grpc.StatusCode] = {
    InvalidInputError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    ConflictError: grpc.StatusCode.ABORTED,
    RefusedError: grpc.StatusCode.PERMISSION_DENIED,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    VersionMismatchError: grpc.StatusCode.FAILED_PRECONDITION,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    DeadlineError: grpc.StatusCode.DEADLINE_EXCEEDED,
    TooLargeError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    DataBreachError: grpc.StatusCode.FAILED_PRECONDITION,
    CorruptError: grpc.StatusCode.DATA_LOSS,
    ClientFailedError: grpc.StatusCode.INTERNAL,
}
_FROM_STATUS: dict[grpc.StatusCode, type[JointriskError]] = {
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: RefusedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: TooLargeError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInputError,
}


def status_of(error: JointriskError) -> grpc.StatusCode:
    """Return the status of an error's class, or of the nearest class above it."""
    known = (STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return next(known, grpc.StatusCode.INTERNAL)


async def abort(
    context: aio.ServicerContext,  # type: ignore[type-arg]
    error: JointriskError,
    status: grpc.StatusCode | None = None,
) -> NoReturn:
    """End a call with the status that stands for ``error``, or with another one for ordinary tools."""
    # The stubs ask for aio.Metadata; the implementation takes a tuple and nothing else.
    trailing: Any = ((CODE_KEY, error.code), (REMEDY_KEY, error.remedy.encode()))
    await context.abort(status or status_of(error), error.message, trailing_metadata=trailing)
    raise AssertionError  # abort always raises


def from_rpc(failure: grpc.RpcError, *, peer: str) -> JointriskError:
    """Return the error that a failed call stands for.

    Args:
        failure: what the stub raised.
        peer: who was called, for errors that gRPC itself made.
    """
    code, details, trailing = _parts(failure)
    named = trailing.get(CODE_KEY)
    if isinstance(named, str):
        remedy = trailing.get(REMEDY_KEY, b"")
        text = remedy.decode(errors="replace") if isinstance(remedy, bytes) else ""
        return by_code(named)(details, remedy=text)
    kind = _FROM_STATUS.get(code, JointriskError)
    return kind(f"{peer}: {details or code.name}", remedy=f"Is {peer} running and reachable?")


def _parts(failure: grpc.RpcError) -> tuple[grpc.StatusCode, str, dict[str, str | bytes]]:
    """Return status, details and trailing metadata: grpc.Call and aio.AioRpcError carry them under the same names."""
    call: grpc.Call = failure  # type: ignore[assignment]
    trailing = dict(call.trailing_metadata() or ())
    return call.code(), call.details() or "", trailing
