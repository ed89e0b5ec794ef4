"""Which wire protocol two peers speak: ranges are offered, the highest common version is used.

A range travels as the first product of the gRPC user agent, ``jointrisk-protocol/MIN-MAX``, on every call, and in the
first frame of a training stream.
"""

import re

from jointrisk import PROTOCOL_MAX, PROTOCOL_MIN, __version__
from jointrisk.errors import VersionMismatchError

_USER_AGENT = re.compile(r"jointrisk-protocol/(\d{1,5})-(\d{1,5})(?: jointrisk/(\S+))?")


def user_agent() -> str:
    """Return what this build says of itself."""
    return f"jointrisk-protocol/{PROTOCOL_MIN}-{PROTOCOL_MAX} jointrisk/{__version__}"


def parse_user_agent(text: str) -> tuple[int, int]:
    """Return the protocol range that a user agent offers.

    Raises:
        VersionMismatchError: it offers none.
    """
    match = _USER_AGENT.match(text)
    if match is None:
        raise VersionMismatchError(
            f"the caller names no jointrisk protocol version; this side speaks {_mine()}",
            remedy="Call with a jointrisk client.",
        )
    return int(match[1]), int(match[2])


def negotiate(peer_min: int, peer_max: int, *, peer: str) -> int:
    """Return the highest version that both sides speak.

    Args:
        peer_min: the oldest version that the peer speaks.
        peer_max: the newest.
        peer: who that is, for the message.

    Raises:
        VersionMismatchError: there is none.
    """
    version = min(peer_max, PROTOCOL_MAX)
    if version < max(peer_min, PROTOCOL_MIN):
        older = "the peer" if peer_max < PROTOCOL_MIN else "this side"
        raise VersionMismatchError(
            f"{peer} speaks protocol {_range(peer_min, peer_max)}, this side {_mine()} (jointrisk {__version__})",
            remedy=f"Upgrade {older}: neighbouring versions work together.",
        )
    return version


def _range(low: int, high: int) -> str:
    return f"version {low}" if low == high else f"versions {low} to {high}"


def _mine() -> str:
    return _range(PROTOCOL_MIN, PROTOCOL_MAX)
