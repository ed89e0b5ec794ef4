"""Logs of sealed listings.

Revision: coordinator_0003, after coordinator_0002.
"""

import sqlalchemy as sa
from alembic import op

from jointrisk.store.types import UtcDateTime

revision = "coordinator_0003"
down_revision = "coordinator_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "listing_entry",
        sa.Column("epoch", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("id_key", sa.LargeBinary(), nullable=False),
        sa.Column("lister", sa.String(length=40), nullable=False),
        sa.Column("tag_key", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("expires", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.PrimaryKeyConstraint("epoch", "number", name=op.f("pk_listing_entry")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("listing_entry", schema=None) as batch_op:
        batch_op.create_index("ix_listing_entry_expires", ["epoch", "expires"], unique=False)
        batch_op.create_index("ix_listing_entry_id_key", ["epoch", "id_key"], unique=True)

    op.create_table(
        "listing_lister",
        sa.Column("epoch", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("lister", sa.String(length=40), nullable=False),
        sa.Column("tags", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("pending", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("live", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("held", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("epoch", "lister", name=op.f("pk_listing_lister")),
    )
    op.create_table(
        "listing_log",
        sa.Column("epoch", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("stamp_secret", sa.LargeBinary(), nullable=True),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("superseded_at", UtcDateTime(), nullable=True),
        sa.Column("size", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("signed_at", UtcDateTime(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("entries", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("marks", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_listing_log")),
    )
    op.create_table(
        "listing_mark",
        sa.Column("epoch", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("kind", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("entry", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("waits_for", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.PrimaryKeyConstraint("epoch", "number", name=op.f("pk_listing_mark")),
    )
    with op.batch_alter_table("listing_mark", schema=None) as batch_op:
        batch_op.create_index("ix_listing_mark_entry", ["epoch", "entry"], unique=False)
        batch_op.create_index("ix_listing_mark_waits_for", ["epoch", "waits_for"], unique=False)

    op.create_table(
        "listing_pending",
        sa.Column("epoch", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("epoch", "number", name=op.f("pk_listing_pending")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "listing_segment",
        sa.Column("epoch", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("epoch", "number", name=op.f("pk_listing_segment")),
    )
    op.create_table(
        "listing_tag",
        sa.Column("epoch", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("tag_key", sa.LargeBinary(), nullable=False),
        sa.Column("unended", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("epoch", "tag_key", name=op.f("pk_listing_tag")),
        sqlite_with_rowid=False,
    )
