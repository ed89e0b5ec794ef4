"""Settings of the replica of the listings."""

from datetime import timedelta

from pydantic import Field

from jointrisk.settings import Duration, Settings


class ReplicaSettings(Settings):
    """This node's copy of the federation's listings."""

    oldest: Duration = Field(
        timedelta(hours=1),
        description="How long ago the coordinator may have signed the head of the log that answers are taken from. "
        "When it is longer ago, asking is an error: what was listed or withdrawn since would not be seen.",
    )
    retry: Duration = Field(
        timedelta(seconds=5), description="How long to wait before the coordinator is asked again after a failure."
    )
