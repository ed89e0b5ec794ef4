import sqlalchemy as sa
from alembic import op

from jointrisk.store.types import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "run",
        sa.Column("number", _WIDE, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("counter", _WIDE, nullable=False),
        sa.Column("started", UtcDateTime(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_run")),
        sa.UniqueConstraint("name", name=op.f("uq_run_name")),
    )
    op.create_table(
        "round",
        sa.Column("number", _WIDE, nullable=False),
        sa.Column("run_number", _WIDE, nullable=False),
        sa.ForeignKeyConstraint(
            ["run_number"], ["run.number"], name=op.f("fk_round_run_number_run"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_round")),
    )
