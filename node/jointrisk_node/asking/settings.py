"""Settings of asking holders."""

from datetime import timedelta

from pydantic import Field

from jointrisk.settings import Duration, Settings


class AskingSettings(Settings):
    """How holders are asked for evaluations."""

    online: Duration = Field(
        timedelta(seconds=10), description="Within which a question about a few persons is answered, or given up."
    )
    online_call: Duration = Field(
        timedelta(seconds=3), description="How long one holder is waited for before another is asked instead."
    )
    bulk: Duration = Field(
        timedelta(seconds=300), description="Within which a batch of a file (up to 4,096) is answered, or given up."
    )
    bulk_call: Duration = Field(
        timedelta(seconds=90), description="How long one holder is waited for with a batch of a file."
    )
    avoid_liar: Duration = Field(
        timedelta(minutes=10), description="How long a holder that answered falsely is not asked again."
    )
