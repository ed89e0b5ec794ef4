"""Who may ask: members that this node works with, under certificates that are not refused."""

from collections.abc import Collection, Mapping

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import UnauthenticatedError
from jointrisk.federation.certificates import Identity
from jointrisk.federation.history import RosterMember
from jointrisk.federation.roster_view import View
from jointrisk_node.membership.membership import Membership


class Callers:
    """Judges callers by the roster as it is now. Cheap, and safe from any thread.

    Args:
        membership: this node's.
        clock: the time.
    """

    def __init__(self, membership: Membership, clock: Clock = utc_now) -> None:
        self._membership = membership
        self._clock = clock
        self._seen: tuple[View, Mapping[str, RosterMember], Collection[str]] | None = None

    @property
    def federation(self) -> str:
        """The federation's name."""
        return self._membership.federation

    def require(self, identity: Identity) -> None:
        """Refuse the caller of a certificate unless it is a member that this node works with.

        Raises:
            UnavailableError: this node's roster has expired.
            RefusedError: this node was removed.
            UnauthenticatedError: the caller is no such member, or its certificate is refused.
        """
        self._membership.require_fresh()
        _, _, refused = self._now()
        if identity.federation != self._membership.federation or identity.serial in refused:
            raise UnauthenticatedError("the caller's certificate is not accepted here")
        if identity.expires_at <= self._clock():
            raise UnauthenticatedError("the caller's certificate has expired")
        self.member(identity.member_id)

    def member(self, name: str) -> RosterMember:
        """Return a member that this node works with.

        Raises:
            UnauthenticatedError: there is none of that name; or its key waits for a person at this node.
        """
        _, trusted, _ = self._now()
        if name not in trusted:
            raise UnauthenticatedError(
                f"{name} is no member that this node works with",
                remedy="`jointrisk node members list` of this node says whether a changed key is to be accepted.",
            )
        return trusted[name]

    def _now(self) -> tuple[View, Mapping[str, RosterMember], Collection[str]]:
        view = self._membership.view
        seen = self._seen
        if seen is None or seen[0] is not view:
            seen = self._seen = (view, view.trusted(), frozenset(view.roster.refused_serials))
        return seen
