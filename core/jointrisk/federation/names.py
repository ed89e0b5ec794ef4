"""The names that a federation gives: of itself, of its members, and of their servers in certificates."""

import re

from jointrisk.errors import InvalidInputError

NAME_PATTERN = r"[a-z0-9][a-z0-9-]{0,39}"
"""What federations and members may be called. It is safe in a DNS label, a URI, a file name and a log."""

COORDINATOR = "coordinator"
"""The coordinator's id where a member's id stands otherwise. No member may be called so."""

ADDRESS_LENGTH = 261
"""Longest "host:port": 255 octets of a DNS name, a colon, five digits."""

_NAME = re.compile(NAME_PATTERN)
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,255}):([1-9][0-9]{0,4})")
_LARGEST_PORT = 65535


def check_name(name: str, what: str = "name") -> str:
    """Return ``name`` when it may name a federation or a member.

    Args:
        name: the name.
        what: what it names, for the message.

    Raises:
        InvalidInputError: it breaks the pattern or is reserved. The message does not repeat it.
    """
    if name == COORDINATOR or not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{what}: expected 1 to 40 characters of a-z, 0-9 and -, not - first, and not {COORDINATOR!r}",
            remedy="Choose a short name such as east-bank.",
        )
    return name


def check_address(address: str, what: str = "address") -> str:
    """Return ``address`` when it is "host:port".

    Raises:
        InvalidInputError: it is not.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match[2]) > _LARGEST_PORT:
        raise InvalidInputError(
            f'{what}: expected "host:port"', remedy='Write it as "host.example:7443" or "[::1]:7443".'
        )
    return address


def member_server_name(member_id: str) -> str:
    """Return the DNS name in a member's certificate. It resolves nowhere: clients only compare it."""
    return f"{member_id}.member.jointrisk.internal"


COORDINATOR_SERVER_NAME = "coordinator.jointrisk.internal"
"""The DNS name in the coordinator's certificate."""
