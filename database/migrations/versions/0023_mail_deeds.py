"""acting on many emails at once."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_IS_TO_DO = sa.text("done_at IS NULL")
_IS_DONE = sa.text("done_at IS NOT NULL")
_HAS_COPY = sa.text("copy IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "mail_deed",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("wanted", sa.JSON(), nullable=False),
        sa.Column("chosen", sa.JSON(), nullable=True),
        sa.Column("old_address", sa.String(length=254), nullable=False),
        sa.Column("new_address", sa.String(length=254), nullable=False),
        sa.Column("cursor", sa.Integer(), nullable=False),
        sa.Column("newest", sa.Integer(), nullable=False),
        sa.Column("tally", sa.JSON(), nullable=False),
        sa.Column("found", sa.Integer(), nullable=False),
        sa.Column("able", sa.Integer(), nullable=False),
        sa.Column("doubles", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("left_alone", sa.JSON(), nullable=False),
        sa.Column("actor", sa.String(length=160), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_deed")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_mail_deed_stage"), "mail_deed", ["stage"])
    op.create_table(
        "mail_deed_item",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("deed_id", sa.Integer(), nullable=False),
        sa.Column("mail", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("places", sa.String(length=320), nullable=False),
        sa.Column("copy", sa.String(length=32), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["deed_id"],
            ["mail_deed.id"],
            name=op.f("fk_mail_deed_item_deed_id_mail_deed"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_deed_item")),
        sqlite_autoincrement=True,
    )
    for name, columns, where in (
        ("ix_mail_deed_item_to_do", ["deed_id", "mail"], _IS_TO_DO),
        ("ix_mail_deed_item_done", ["mail", "deed_id"], _IS_DONE),
        ("ix_mail_deed_item_copy", ["copy"], _HAS_COPY),
    ):
        op.create_index(name, "mail_deed_item", columns, sqlite_where=where, postgresql_where=where)
    op.create_index(op.f("ix_mail_deed_item_deed_id"), "mail_deed_item", ["deed_id"])


def downgrade() -> None:
    op.drop_table("mail_deed_item")
    op.drop_table("mail_deed")
