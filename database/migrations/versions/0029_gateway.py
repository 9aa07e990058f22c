"""who has used the submission gateway, and which gateways run."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "gateway_use",
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("token_id", sa.Integer(), nullable=True),
        sa.Column("account_id", sa.Integer(), nullable=True),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("address", sa.String(length=45), server_default=sa.text("''"), nullable=False),
        sa.Column("ehlo", sa.String(length=255), server_default=sa.text("''"), nullable=False),
        sa.Column("mails", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("first_mail_id", sa.String(length=32), nullable=True),
        sa.Column("first_mail_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_mail_id", sa.String(length=32), nullable=True),
        sa.Column("last_mail_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refusal_code", sa.Integer(), nullable=True),
        sa.Column("refusal", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["token_id"], ["api_token.id"], name=op.f("fk_gateway_use_token_id_api_token"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_gateway_use_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("who", name=op.f("pk_gateway_use")),
        sa.UniqueConstraint("token_id", name=op.f("uq_gateway_use_token_id")),
        sa.UniqueConstraint("account_id", name=op.f("uq_gateway_use_account_id")),
    )
    op.create_table(
        "gateway_choice",
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("foreign_from", sa.String(length=8), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_gateway_choice_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_gateway_choice")),
    )
    op.create_table(
        "gateway_process",
        sa.Column("process_id", sa.String(length=32), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("listens", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("trouble", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("process_id", name=op.f("pk_gateway_process")),
    )


def downgrade() -> None:
    op.drop_table("gateway_process")
    op.drop_table("gateway_choice")
    op.drop_table("gateway_use")
