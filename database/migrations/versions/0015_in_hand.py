"""an index of the mail of accounts that workers have in hand, so that each claim can ask for an account's."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

IN_HAND = sa.text("state IN ('leased', 'transmitting') AND account_id IS NOT NULL")


def upgrade() -> None:
    create("ix_email_outbox_in_hand_of", ["account_id"], IN_HAND)


def downgrade() -> None:
    op.drop_index("ix_email_outbox_in_hand_of", table_name="email_outbox")


def create(name: str, columns: list[str], condition: sa.TextClause) -> None:
    op.create_index(name, "email_outbox", columns, sqlite_where=condition, postgresql_where=condition)
