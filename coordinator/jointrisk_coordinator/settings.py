"""The coordinator's settings file, coordinator.toml in its state directory."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from jointrisk.logs import LogSettings
from jointrisk.settings import Duration, Settings, load_toml
from jointrisk.statedir import StateDir
from jointrisk_coordinator.listings.settings import ListingSettings
from jointrisk_coordinator.runs.session import StreamSettings

Address = Annotated[str, Field(pattern=r"^\S+:\d{1,5}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


class FederationSettings(Settings):
    """What the members agree on. Nodes pin the numbers when they join; changing them later is refused by every node."""

    name: Name = Field(description="The federation's name: small letters, digits, hyphens.")
    founding_members: int = Field(
        3, ge=1, le=100, description="So many institutions found the federation; later ones need approvals."
    )
    approvals_required: int = Field(
        2, ge=1, le=100, description="Members that must approve a new member, or a member's changed key."
    )


class ListenSettings(Settings):
    """Where the coordinator is reached."""

    address: Address = Field("0.0.0.0:7443", description="Mutual TLS, for members. Port 0 takes a free one.")
    join_address: Address = Field("0.0.0.0:7444", description="For invited institutions that have no certificate yet.")
    public_host: str = Field("", description="Host name or address that members use; empty: this machine's name.")


class CertificateSettings(Settings):
    """Certificates that the coordinator issues."""

    lifetime: Duration = Field(timedelta(days=30), description="Members renew by themselves at two thirds of it.")
    roster_lifetime: Duration = Field(
        timedelta(hours=24), description="A node that has had no fresh roster for so long takes part in nothing."
    )


class StoreSettings(Settings):
    """The database."""

    url: str = Field("", description="PostgreSQL URL (postgresql+psycopg://...); empty: SQLite in the state directory.")


class CoordinatorSettings(Settings):
    """Everything in coordinator.toml."""

    federation: FederationSettings
    listen: ListenSettings = ListenSettings()
    certificates: CertificateSettings = CertificateSettings()
    training: StreamSettings = StreamSettings()
    listings: ListingSettings = ListingSettings()
    store: StoreSettings = StoreSettings()
    log: LogSettings = LogSettings()


def load_settings(state: StateDir) -> CoordinatorSettings:
    """Read the settings file of a state directory.

    Raises:
        InvalidInputError: a key is unknown, missing or breaks its rule.
    """
    return load_toml(state.path(FILE), CoordinatorSettings)


FILE = "coordinator.toml"
TEMPLATE = """\
# The coordinator of a jointrisk federation. Every key: docs/configuration.md

[federation]
name = "{name}"
# So many institutions found the federation; each later one, and each changed key, needs this many approvals by
# members. Nodes pin both numbers when they join.
founding_members = {founding_members}
approvals_required = {approvals_required}

[listen]
# Members connect here by mutual TLS, invited institutions join at the other.
address = "{address}"
join_address = "{join_address}"
# What members can reach this machine by. Empty: this machine's host name.
public_host = "{public_host}"
"""
