"""Settings of the tasks. Light: imported where torch and Flower are not."""

from pydantic import Field

from jointrisk.settings import Settings


class ProbeSettings(Settings):
    """The probe needs no data: it carries arrays back and forth, to rehearse a link and to measure one.

    Attributes:
        payload_bytes: size of the arrays that cross the wire both ways, bytes.
        sleep_seconds: how long each member pretends to work.
    """

    payload_bytes: int = Field(default=4096, ge=8, le=1_000_000_000)
    sleep_seconds: float = Field(default=0.0, ge=0, le=3600)


class DefaultModelSettings(Settings):
    """A small network on the contract's features that predicts default.

    Attributes:
        hidden: width of the hidden layer.
        learning_rate: AdamW's, at the members.
        weight_decay: AdamW's.
        batch_rows: rows of a step.
        local_epochs: passes over a member's rows in a round.
        held_out: share of rows that evaluation uses and training does not, chosen by a hash of the row number.
    """

    hidden: int = Field(default=32, ge=1, le=1024)
    learning_rate: float = Field(default=2e-3, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    batch_rows: int = Field(default=512, ge=1)
    local_epochs: int = Field(default=1, ge=1, le=100)
    held_out: float = Field(default=0.2, gt=0, lt=1)
