"""Settings of the logs of listings."""

from datetime import timedelta

from pydantic import Field

from jointrisk.settings import Duration, Settings


class ListingSettings(Settings):
    """When listings are released, expire and are deleted."""

    window: Duration = Field(
        timedelta(minutes=15),
        description="What arrives within one window is released together, shuffled, so that the order tells nothing "
        'about who listed it. "0s" releases at once: for demonstrations and tests.',
    )
    horizon: Duration = Field(
        timedelta(days=365), ge=timedelta(minutes=1), description="An entry that is not renewed for so long expires."
    )
    entries_per_member: int = Field(
        5_000_000, ge=1, description="Live and pending entries of one member in one epoch, at most."
    )
    head_interval: Duration = Field(
        timedelta(seconds=60),
        ge=timedelta(seconds=1),
        description="The heads of the logs are signed again so often, so that members see how fresh they are.",
    )
    old_epochs: Duration = Field(
        timedelta(days=30),
        description="The log of an epoch is served for so long after the key of the next one was made; then it is "
        "deleted.",
    )
