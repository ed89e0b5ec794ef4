"""Listings: of this lender, of holders, of who may ask; the audit journal.

Revision: node_0003, after node_0002.
"""

import sqlalchemy as sa
from alembic import op

from jointrisk.store.types import UtcDateTime

revision = "node_0003"
down_revision = "node_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "false_answer",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("member", sa.String(length=40), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("epoch", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("generation", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("request_id", sa.String(length=32), nullable=False),
        sa.Column("why", sa.String(length=500), nullable=False),
        sa.Column("convicts", sa.Boolean(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_false_answer")),
    )
    with op.batch_alter_table("false_answer", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_false_answer_member"), ["member"], unique=False)

    op.create_table(
        "journal_mark",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("moved_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal_mark")),
    )
    op.create_table(
        "listed_row",
        sa.Column("row_key", sa.LargeBinary(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("disputed", sa.Boolean(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("row_key", name=op.f("pk_listed_row")),
    )
    with op.batch_alter_table("listed_row", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_listed_row_state"), ["state"], unique=False)

    op.create_table(
        "lister_secret",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_lister_secret")),
    )
    op.create_table(
        "listing_alarm",
        sa.Column("what", sa.String(length=40), nullable=False),
        sa.Column("epoch", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("positions", sa.String(), nullable=False),
        sa.Column("log_size", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("signed_at", UtcDateTime(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("what", "epoch", name=op.f("pk_listing_alarm")),
    )
    op.create_table(
        "own_entry",
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("row_key", sa.LargeBinary(), nullable=False),
        sa.Column("epoch", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("witness", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("todo", sa.String(length=10), nullable=False),
        sa.Column("want_ended", sa.Boolean(), nullable=False),
        sa.Column("want_held", sa.Boolean(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("replaced_by", sa.LargeBinary(), nullable=True),
        sa.Column("refusal", sa.String(length=40), nullable=False),
        sa.Column("told_at", UtcDateTime(), nullable=True),
        sa.Column("renew_at", UtcDateTime(), nullable=True),
        sa.Column("verified_size", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_own_entry")),
    )
    with op.batch_alter_table("own_entry", schema=None) as batch_op:
        batch_op.create_index("ix_own_entry_epoch", ["epoch", "state"], unique=False)
        batch_op.create_index("ix_own_entry_renewal", ["renew_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_own_entry_row_key"), ["row_key"], unique=False)
        batch_op.create_index("ix_own_entry_todo", ["todo", "epoch", "entry_id"], unique=False)

    op.create_table(
        "signal_access",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("roles", sa.String(length=100), nullable=False),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.Column("is_certificate", sa.Boolean(), nullable=False),
        sa.Column("added_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_signal_access")),
        sa.UniqueConstraint("proof", name=op.f("uq_signal_access_proof")),
    )
