"""How scores are expressed: the table ``[scoring]`` of node.toml."""

from itertools import pairwise

from pydantic import Field, field_validator

from jointrisk.settings import Settings


class Band(Settings):
    """One risk band. Bands are listed from the best, each begins where the one before ends."""

    name: str = Field(min_length=1, max_length=40, description="What people call it.")
    pd_below: float = Field(
        gt=0, le=1, description="Applicants with a probability of default below this are in it; 1 for the last."
    )


class ScoringSettings(Settings):
    """Score points and bands. They change nothing about the order in which applicants come."""

    pdo: float = Field(20.0, gt=0, le=1000, description="Points that double the odds of being good.")
    base_odds: float = Field(50.0, gt=0, le=1e6, description="Good to bad at `base_points`.")
    base_points: float = Field(600.0, ge=-10_000, le=10_000, description="Points at `base_odds`.")
    bands: tuple[Band, ...] = Field(
        (
            Band(name="A", pd_below=0.01),
            Band(name="B", pd_below=0.03),
            Band(name="C", pd_below=0.08),
            Band(name="D", pd_below=0.2),
            Band(name="E", pd_below=1.0),
        ),
        min_length=1,
        max_length=100,
        description="Risk bands, from the best.",
    )

    @field_validator("bands")
    @classmethod
    def _cover_everybody(cls, bands: tuple[Band, ...]) -> tuple[Band, ...]:
        if any(one.pd_below >= other.pd_below for one, other in pairwise(bands)) or bands[-1].pd_below != 1:
            raise ValueError("expected bands in the order of pd_below, the last with 1")
        if len({band.name for band in bands}) != len(bands):
            raise ValueError("expected each band's name once")
        return bands
