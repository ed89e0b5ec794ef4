"""Tables of the sample: a person-free stand-in for what capabilities define."""

from datetime import datetime

from sqlalchemy import ForeignKey, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from jointrisk.store import COLUMN_TYPES, NAMING_CONVENTION, audit_table


class Base(DeclarativeBase):
    """Base of the sample's tables."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = COLUMN_TYPES


class Run(Base):
    """A thing with a unique name, a counter and a moment."""

    __tablename__ = "run"

    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    counter: Mapped[int]
    started: Mapped[datetime]
    state: Mapped[bytes]
    note: Mapped[str]


class Round(Base):
    """A thing that belongs to a run and goes with it."""

    __tablename__ = "round"

    number: Mapped[int] = mapped_column(primary_key=True)
    run_number: Mapped[int] = mapped_column(ForeignKey("run.number", ondelete="CASCADE"))


audit_table(Base.metadata)
