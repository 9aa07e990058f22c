"""indexes of the mail of accounts that workers have in hand, which each claim asks for, and of mails by their tag."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

IN_HAND = sa.text("state IN ('leased', 'transmitting') AND account_id IS NOT NULL")
HAS_TAG = sa.text("tag IS NOT NULL")


def upgrade() -> None:
    create("ix_email_outbox_in_hand_of", ["account_id"], IN_HAND)
    create("ix_email_outbox_tag", ["tag", "id"], HAS_TAG)


def downgrade() -> None:
    op.drop_index("ix_email_outbox_tag", table_name="email_outbox")
    op.drop_index("ix_email_outbox_in_hand_of", table_name="email_outbox")


def create(name: str, columns: list[str], condition: sa.TextClause) -> None:
    op.create_index(name, "email_outbox", columns, sqlite_where=condition, postgresql_where=condition)
