"""suppression: addresses that get no mail, and the key that tells addresses apart without storing them."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_EMPTY = sa.text("''")
_MOMENT = sa.DateTime(timezone=True)
_IS_LISTED = sa.text("listed_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "address_key",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_address_key")),
    )
    op.create_table(
        "suppression",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("domain_digest", sa.LargeBinary(), nullable=False),
        sa.Column("scope", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("enhanced", sa.String(length=16), nullable=True),
        sa.Column("mail_id", sa.String(length=32), server_default=_EMPTY, nullable=False),
        sa.Column("refusals", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("note", sa.String(length=200), server_default=_EMPTY, nullable=False),
        sa.Column("added_by", sa.String(length=160), server_default=_EMPTY, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("listed_at", _MOMENT, nullable=True),
        sa.Column("ends_at", _MOMENT, nullable=True),
        sa.Column("accepted_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suppression")),
        sa.UniqueConstraint("digest", "scope", name=op.f("uq_suppression_digest_scope")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_suppression_ends_at"), "suppression", ["ends_at"])
    for name, columns in (("listed", ["id"]), ("domain", ["domain_digest", "id"])):
        op.create_index(
            f"ix_suppression_{name}", "suppression", columns, sqlite_where=_IS_LISTED, postgresql_where=_IS_LISTED
        )


def downgrade() -> None:
    op.drop_table("suppression")
    op.drop_table("address_key")
