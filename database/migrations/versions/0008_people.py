"""disabled accounts, addresses that wait to be confirmed, tokens whose owner was told of their end."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("account", sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("api_token", sa.Column("told_days", sa.Integer(), nullable=True))
    op.create_table(
        "address_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("mail_id", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_address_change_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_address_change")),
        sa.UniqueConstraint("account_id", name=op.f("uq_address_change_account_id")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_address_change_token_hash")),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("address_change")
    # Not in batch mode, which would drop the table `account` on SQLite, and with it the rows that refer to it.
    op.execute("ALTER TABLE api_token DROP COLUMN told_days")
    op.execute("ALTER TABLE account DROP COLUMN disabled_at")
