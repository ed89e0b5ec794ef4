"""The tree of errors: one class and one stable code for each thing that people handle differently.

Raise the narrowest class, with a message that says what was expected and what was got, never a personal value, and
a remedy that says what to do. ``jointrisk.rpc.errors`` maps them to gRPC status in one place; the command line prints
message and remedy and exits with ``exit_code``.
"""

from typing import ClassVar


class JointriskError(Exception):
    """Base of everything that this project raises on purpose.

    Args:
        message: what was expected and what was got.
        remedy: what the reader can do about it, a sentence; empty when there is nothing to do.
    """

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class InvalidInputError(JointriskError):
    """A file, setting, argument or message breaks its rules."""

    code = "invalid_input"
    exit_code = 2


class NotFoundError(JointriskError):
    """The thing that was named does not exist."""

    code = "not_found"
    exit_code = 3


class ConflictError(JointriskError):
    """The thing exists already, or is in a state in which this is not possible."""

    code = "conflict"
    exit_code = 4


class RefusedError(JointriskError):
    """The other side, or a policy, does not allow it."""

    code = "refused"
    exit_code = 5


class QuotaError(RefusedError):
    """More was asked for than the other side grants at present."""

    code = "quota"


class UnauthenticatedError(JointriskError):
    """Who is asking could not be proven: certificate, token, signature."""

    code = "unauthenticated"
    exit_code = 5


class VersionMismatchError(JointriskError):
    """The peer speaks no protocol version that this side speaks."""

    code = "version_mismatch"
    exit_code = 6


class UnavailableError(JointriskError):
    """A peer or a daemon cannot be reached now; trying again can help."""

    code = "unavailable"
    exit_code = 7


class DeadlineError(JointriskError):
    """It did not happen in the time given for it."""

    code = "deadline"
    exit_code = 8


class TooLargeError(JointriskError):
    """A message or file is over its limit."""

    code = "too_large"
    exit_code = 2


class DataBreachError(JointriskError):
    """The lender's data breaks the feature contract."""

    code = "data_breach"
    exit_code = 9


class CorruptError(JointriskError):
    """What is stored, or what was signed, is not what was written."""

    code = "corrupt"
    exit_code = 10


class ClientFailedError(JointriskError):
    """The client app at a node ended with an error."""

    code = "client_failed"
    exit_code = 1


def by_code(code: str) -> type[JointriskError]:
    """Return the class with this code, or the base class for a code of another version."""
    return _BY_CODE.get(code, JointriskError)


def _tree(root: type[JointriskError]) -> list[type[JointriskError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


_BY_CODE = {error.code: error for error in _tree(JointriskError)}
