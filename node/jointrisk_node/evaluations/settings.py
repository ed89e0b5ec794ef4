"""The section ``[holder]`` of node.toml."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from jointrisk.federation.names import NAME_PATTERN
from jointrisk.settings import Duration, Settings

_Declared = Annotated[int, Field(ge=0, le=10**9)]
_Member = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
_Capacity = Annotated[int, Field(ge=0, le=10**10)]


class QuotaSettings(Settings):
    """What this holder grants one member. Declared numbers give the capacities (docs/protocol.md, section 5.4)."""

    customers: _Declared = Field(100_000, description="Customers that the member declares.")
    originations: _Declared = Field(100_000, description="Applications a year that the member declares.")
    identifiers_each: Annotated[int, Field(ge=1, le=20)] = Field(
        2, description="Identifiers that the member has of each person."
    )
    admission: _Capacity | None = Field(
        None, description="Evaluations for applications within a day, in place of what the declared numbers give."
    )
    portfolio: _Capacity | None = Field(None, description="Evaluations for loans on the book within 30 days; likewise.")
    investigation: _Capacity | None = Field(
        None, description="Evaluations for investigations within 30 days; likewise."
    )
    publishing: _Capacity | None = Field(None, description="Evaluations for own listings within 30 days; likewise.")
    epoch_ceiling: _Capacity | None = Field(
        None, description="Evaluations within an epoch over all purposes, less those that listings followed; likewise."
    )


class HolderSettings(Settings):
    """Answering other members with this node's share of the group key."""

    listen: str = Field(
        "",
        description='Where other members reach this node, "host:port"; the address in the roster leads here. Empty: it '
        "does not listen, and answers nobody.",
    )
    quota: QuotaSettings = Field(QuotaSettings(), description="What every member is granted.")
    quotas: dict[_Member, QuotaSettings] = Field(
        {}, description="What single members are granted, by name; keys that are not there are as in `[holder.quota]`."
    )
    old_epochs: Duration = Field(
        timedelta(days=45),
        description="How long after the key of a new epoch was made shares of older ones are kept. Longer than the "
        "coordinator serves their logs: while a log is served, everybody asks in its epoch, too.",
    )

    def granted(self, member: str) -> QuotaSettings:
        """Return what a member is granted; what its own table does not say is as for every member."""
        own = self.quotas.get(member)
        return self.quota if own is None else self.quota.model_copy(update=own.model_dump(exclude_unset=True))
