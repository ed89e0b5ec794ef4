"""What a node does again and again, one turn at a time: no turn that fails ends the loop it is in."""

from collections.abc import Awaitable

import structlog

from jointrisk.errors import JointriskError, UnavailableError

log = structlog.get_logger()


async def attempt(what: str, act: Awaitable[object]) -> None:
    """Take one turn. What fails is logged, to be tried again at the next.

    Args:
        what: it is about, such as "contract", for the log.
        act: what is done.
    """
    try:
        await act
    except UnavailableError as error:
        log.info("attempt.coordinator_unavailable", what=what, reason=error.message)
    except JointriskError as error:
        log.warning("attempt.refused", what=what, code=error.code, reason=error.message)
    except OSError as error:
        log.warning("attempt.not_stored", what=what, reason=error.strerror)
    except Exception as error:  # noqa: BLE001 - whatever a coordinator answers, the node goes on with its next word
        log.error("attempt.failed", what=what, error=type(error).__name__)  # noqa: TRY400 - its text could hold anything
