"""Server interceptor: checks before every call, typed errors after it.

gRPC shows the peer only to the handler, so that an interceptor which checks who is calling has to wrap the handler.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import grpc
import structlog
from grpc import aio

from jointrisk.errors import JointriskError
from jointrisk.rpc.errors import abort

Context: TypeAlias = "aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
MaybeHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
Check = Callable[[Context, str], Awaitable[None]]
"""Raises a JointriskError when the caller may not call the named method."""

log = structlog.get_logger()


class Guard(aio.ServerInterceptor):
    """Runs every check before a handler, and turns what handler or checks raise into a status.

    Args:
        checks: run in order; the first that raises ends the call.
        refused: told of every error that a check raised, for the audit log.
    """

    def __init__(
        self,
        checks: Sequence[Check] = (),
        refused: Callable[[Context, str, JointriskError], Awaitable[None]] | None = None,
    ) -> None:
        self._checks = tuple(checks)
        self._refused = refused

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[MaybeHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> MaybeHandler:
        """Return the handler, wrapped."""
        handler = await continuation(handler_call_details)
        return None if handler is None else self._wrap(handler, handler_call_details.method)

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
                return await inner(request, context)
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
