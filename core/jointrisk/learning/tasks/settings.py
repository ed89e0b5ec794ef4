"""Settings of the tasks. Light: imported where torch and Flower are not."""

from pydantic import Field

from jointrisk.settings import Settings


class ProbeSettings(Settings):
    """The probe needs no data: it carries arrays back and forth, to try a link and to measure one."""

    payload_bytes: int = Field(
        4096, ge=8, le=1_000_000_000, description="Size of the arrays that cross the wire both ways, bytes."
    )
    sleep_seconds: float = Field(0.0, ge=0, le=3600, description="How long each member pretends to work.")


class DefaultModelSettings(Settings):
    """A small network on the contract's features that predicts default."""

    hidden: int = Field(32, ge=1, le=1024, description="Width of the hidden layer.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Of AdamW at the members.")
    weight_decay: float = Field(0.01, ge=0, le=1, description="Of AdamW at the members.")
    batch_rows: int = Field(512, ge=1, description="Rows of a step.")
    local_epochs: int = Field(1, ge=1, le=100, description="Passes over a member's rows in a round.")
    held_out: float = Field(
        0.2, gt=0, lt=1, description="Share of rows that only evaluation uses, chosen by a hash of the row's number."
    )
