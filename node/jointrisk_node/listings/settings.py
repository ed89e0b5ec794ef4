"""What this lender lists, and how: the table ``[listings]`` of node.toml."""

from datetime import timedelta

from pydantic import Field

from jointrisk.listing.label import MemberKind
from jointrisk.settings import Duration, Settings


class ListingsSettings(Settings):
    """This lender's own listings."""

    member_kind: MemberKind = Field(MemberKind.OTHER, description="What kind of lender this is; sealed in each entry.")
    country: str = Field(
        "CN",
        pattern=r"^[A-Z]{2}$",
        description="ISO 3166-1 alpha-2 code for identifiers in rows without a country: who issued them, and where "
        "phone numbers without a country code are dialled.",
    )
    consent: str = Field(
        "own-listings",
        description="Consent reference under which identifiers are evaluated for publishing; both sides audit it.",
    )
    expiry: Duration = Field(
        timedelta(days=1826), description="When a reason to beware expires, where its row doesn't say: after listed_on."
    )
    loan_expiry: Duration = Field(
        timedelta(days=1095), description="When an active loan expires, where its row doesn't say: after listed_on."
    )
    application_expiry: Duration = Field(
        timedelta(days=91), description="When an application expires, where its row doesn't say: after listed_on."
    )
    deliver_every: Duration = Field(
        timedelta(seconds=30), description="How often what waits for the coordinator is sent again."
    )
    renew_every: Duration = Field(
        timedelta(hours=1), description="How often entries are looked for that are near the coordinator's horizon."
    )
    release_grace: Duration = Field(
        timedelta(minutes=30),
        description="How long after an acknowledgement the log must show it: the coordinator's window and some polls. "
        "An entry that isn't there then is an alarm.",
    )
    recheck: Duration = Field(
        timedelta(hours=1), description="How often all own entries are looked up in the log again, while it grows."
    )
    republish_rows: int = Field(
        1024, ge=1, le=4096, description="After a rotation: how many rows are published again at a time."
    )
    republish_every: Duration = Field(
        timedelta(seconds=30), description="After a rotation: the pause between them, so that lookups come first."
    )
