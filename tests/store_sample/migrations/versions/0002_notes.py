import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Rebuilds the table in SQLite, which with references switched on would delete every round.
    with op.batch_alter_table("run", recreate="auto") as batch:
        batch.add_column(sa.Column("note", sa.String(), nullable=False, server_default="none"))
    with op.batch_alter_table("run") as batch:
        batch.alter_column("note", server_default=None)
