"""Turns of a node's loops: whatever one ends with, the next can come."""

import asyncio

import pytest
from structlog.testing import capture_logs

from jointrisk.errors import RefusedError, UnavailableError
from jointrisk_node.attempts import attempt

SECRET = "a value of a row"


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (UnavailableError("away"), "attempt.coordinator_unavailable"),
        (RefusedError("no"), "attempt.refused"),
        (OSError(28, "No space left on device"), "attempt.not_stored"),
        (ValueError(SECRET), "attempt.failed"),
    ],
)
async def test_a_turn_that_fails_is_logged_and_over(error: Exception, event: str) -> None:
    """Of an error that nobody foresaw only the type is told."""

    async def fail() -> None:
        raise error

    with capture_logs() as logs:
        await attempt("contract", fail())
    assert [(one["event"], one["what"]) for one in logs] == [(event, "contract")]
    assert SECRET not in str(logs)


async def test_a_turn_can_be_cancelled() -> None:
    """The end of a daemon is no failure of its loops."""
    turn = asyncio.create_task(attempt("contract", asyncio.sleep(60)))
    await asyncio.sleep(0)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
