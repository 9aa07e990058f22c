"""an index of the mails that are held; that of the mails in a worker's hands gets another name."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

IN_HAND = sa.text("state IN ('leased', 'transmitting')")
HELD = sa.text("state IN ('held')")
TABLE = "email_outbox"


def upgrade() -> None:
    op.drop_index("ix_email_outbox_held", table_name=TABLE)
    create("ix_email_outbox_in_hand", "lease_until", IN_HAND)
    create("ix_email_outbox_held", "id", HELD)


def downgrade() -> None:
    """The code before knows no mail that is held: it withdraws what this one has not released."""
    op.execute("UPDATE email_outbox SET state = 'cancelled', content = NULL, settled_at = due_at WHERE state = 'held'")
    op.drop_index("ix_email_outbox_held", table_name=TABLE)
    op.drop_index("ix_email_outbox_in_hand", table_name=TABLE)
    create("ix_email_outbox_held", "lease_until", IN_HAND)


def create(name: str, column: str, condition: sa.TextClause) -> None:
    op.create_index(name, TABLE, [column], sqlite_where=condition, postgresql_where=condition)
