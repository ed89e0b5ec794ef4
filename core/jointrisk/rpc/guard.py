"""Server interceptor: checks before every call, typed errors after it.

gRPC shows the peer only to the handler, so that an interceptor which checks who is calling has to wrap the handler.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import grpc
import structlog
from grpc import aio

from jointrisk.errors import (
    CorruptError,
    InvalidInputError,
    JointriskError,
    NotFoundError,
    RefusedError,
    TooLargeError,
    UnauthenticatedError,
)
from jointrisk.foreign_text import printable
from jointrisk.rpc.errors import abort

Context: TypeAlias = "aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
MaybeHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
Check = Callable[[Context, str], Awaitable[None]]
"""Raises a JointriskError when the caller may not call the named method."""

Refused = Callable[[Context, str, JointriskError], Awaitable[None]]
"""Told of a call that was refused: the caller, the method, the error."""

_BROKEN_RULES = (CorruptError, InvalidInputError, RefusedError, TooLargeError, UnauthenticatedError)
_LONGEST_METHOD = 100

log = structlog.get_logger()


class Guard(aio.ServerInterceptor):
    """Runs every check before a handler, and turns what handler or checks raise into a status.

    Args:
        checks: run in order; the first that raises ends the call.
        refused: told of every error that a check raised, and of calls to methods that are not here.
        broken: told when a unary handler says that the caller broke a rule; None where handlers keep their own records.
    """

    def __init__(
        self, checks: Sequence[Check] = (), refused: Refused | None = None, *, broken: Refused | None = None
    ) -> None:
        self._checks = tuple(checks)
        self._refused = refused
        self._broken = broken

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[MaybeHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> MaybeHandler:
        """Return the handler, wrapped."""
        handler = await continuation(handler_call_details)
        method = printable(handler_call_details.method, _LONGEST_METHOD)
        return self._unknown(method) if handler is None else self._wrap(handler, method)

    def _unknown(self, method: str) -> MaybeHandler:
        if method.startswith("/grpc."):
            return None  # an ordinary tool that looks for another version of reflection

        async def call(requests: Any, context: Context) -> Any:  # noqa: ARG001 - a handler's signature
            error = NotFoundError(f"{method} is not served here", remedy="Is the other side of another version?")
            if self._refused is not None:
                await self._refused(context, method, error)
            await abort(context, error, grpc.StatusCode.UNIMPLEMENTED)

        return grpc.stream_unary_rpc_method_handler(call)

    def _wrap(self, handler: Any, method: str) -> Handler:
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.response_streaming:
            inner = handler.stream_stream if handler.request_streaming else handler.unary_stream
            kind = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return kind(self._streaming(inner, method), **codec)
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary
        kind = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return kind(self._unary(inner, method), **codec)

    def _unary(self, inner: Any, method: str) -> Any:
        async def call(request: Any, context: Context) -> Any:
            try:
                await self._check(context, method)
                return await self._handle(inner, request, context, method)
            except Exception as error:  # noqa: BLE001 - every error becomes a status here
                await self._fail(context, method, error)

        return call

    def _streaming(self, inner: Any, method: str) -> Any:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            try:
                await self._check(context, method)
                async for response in inner(request, context):
                    yield response
            except Exception as error:  # noqa: BLE001 - as above
                await self._fail(context, method, error)

        return call

    async def _handle(self, inner: Any, request: Any, context: Context, method: str) -> Any:
        try:
            return await inner(request, context)
        except _BROKEN_RULES as error:
            if self._broken is not None:
                await self._broken(context, method, error)
            raise

    async def _check(self, context: Context, method: str) -> None:
        try:
            for check in self._checks:
                await check(context, method)
        except JointriskError as error:
            if self._refused is not None:
                await self._refused(context, method, error)
            raise

    async def _fail(self, context: Context, method: str, error: Exception) -> None:
        if isinstance(error, aio.AbortError):
            raise error
        if isinstance(error, JointriskError):
            await abort(context, error)
        # The text of an unforeseen error could hold anything: its type and place are logged, never its text.
        log.error("rpc.failed", method=method, error=type(error).__name__, where=_where(error))
        await abort(context, JointriskError("internal error", remedy="See the daemon's log."))


def _where(error: Exception) -> str:
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return f"{last.tb_frame.f_code.co_filename}:{last.tb_lineno}" if last else "?"
