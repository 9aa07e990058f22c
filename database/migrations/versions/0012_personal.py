"""servers of accounts: confirmed senders, a policy, templates by domain, limits of one account, scopes of tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

def columns() -> dict[str, tuple[sa.Column[object], ...]]:
    """What each table gets; made anew, since a column belongs to one table object."""
    return {
        "api_token": (sa.Column("scopes", sa.String(length=64), nullable=False, server_default="admin"),),
        "account": (
            sa.Column("personal_smtp", sa.String(length=16), nullable=False, server_default="own"),
            sa.Column("emails_per_minute", sa.Integer(), nullable=True),
            sa.Column("emails_per_day", sa.Integer(), nullable=True),
        ),
        "smtp_config": (
            sa.Column("inactive_reason", sa.String(length=32), nullable=False, server_default=""),
            sa.Column("fell_back", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("broken_told_at", sa.DateTime(timezone=True), nullable=True),
        ),
        "email_outbox": (sa.Column("tag", sa.String(length=64), nullable=True),),
    }


def upgrade() -> None:
    for table, new in columns().items():
        for column in new:
            op.add_column(table, column)
    op.create_table(
        "account_sender",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("email_key", sa.String(length=508), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("token_hash", sa.String(length=64), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("mail_id", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_account_sender_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_sender")),
        sa.UniqueConstraint("account_id", "email_key", name=op.f("uq_account_sender_account_id_email_key")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_account_sender_token_hash")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "personal_policy",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("allowed", sa.String(length=8), nullable=True),
        sa.Column("hosts", sa.Text(), nullable=False),
        sa.Column("fallback", sa.String(length=16), nullable=True),
        sa.Column("emails_per_minute", sa.Integer(), nullable=True),
        sa.Column("emails_per_day", sa.Integer(), nullable=True),
        sa.Column("fallback_per_minute", sa.Integer(), nullable=True),
        sa.Column("fallback_per_day", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_personal_policy")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "server_template",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("security", sa.String(length=8), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server_template")),
        sa.UniqueConstraint("domain", name=op.f("uq_server_template_domain")),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """The code before takes every token for an administrator's own: those with other scopes end."""
    op.execute("DELETE FROM api_token WHERE scopes <> 'admin'")
    for table in ("server_template", "personal_policy", "account_sender"):
        op.drop_table(table)
    # Not in batch mode, which would drop the table `account` on SQLite, and with it the rows that refer to it.
    for table, new in columns().items():
        for column in new:
            op.execute(f"ALTER TABLE {table} DROP COLUMN {column.name}")
