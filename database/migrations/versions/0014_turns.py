"""mail of accounts is claimed in turns: an index by account, accounts that rest, and the attempts of an account."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

WAITING = sa.text("state IN ('queued', 'deferred', 'uncertain')")
OF_ACCOUNT = sa.text("account_id IS NOT NULL")
URGENT = sa.text(f"{WAITING} AND priority = 0")
DUE = "ix_email_outbox_due"


def upgrade() -> None:
    op.drop_index(DUE, table_name="email_outbox")
    create(DUE, "email_outbox", ["priority", "account_id", "due_at", "id", "state"], WAITING)
    create("ix_email_outbox_urgent", "email_outbox", ["due_at", "id"], URGENT)
    create("ix_email_outbox_account", "email_outbox", ["account_id", "id"], OF_ACCOUNT)
    create("ix_email_attempt_account", "email_attempt", ["account_id", "started_at"], OF_ACCOUNT)
    op.create_table(
        "outbox_rest",
        sa.Column("account_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_outbox_rest")),
    )


def downgrade() -> None:
    op.drop_table("outbox_rest")
    op.drop_index("ix_email_attempt_account", table_name="email_attempt")
    op.drop_index("ix_email_outbox_account", table_name="email_outbox")
    op.drop_index("ix_email_outbox_urgent", table_name="email_outbox")
    op.drop_index(DUE, table_name="email_outbox")
    create(DUE, "email_outbox", ["priority", "due_at", "id", "state"], WAITING)


def create(name: str, table: str, columns: list[str], condition: sa.TextClause) -> None:
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)
