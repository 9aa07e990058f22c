"""what more is known of an attempt, who queued a mail, and what was said: sealed, in a table of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_HAS_CONVERSATION = sa.text("conversation IS NOT NULL")


def upgrade() -> None:
    op.add_column("email_outbox", sa.Column("queued_by", sa.String(length=32), nullable=True))
    op.add_column("email_attempt", sa.Column("tls", sa.String(length=16), nullable=True))
    op.add_column("email_attempt", sa.Column("queue_id", sa.String(length=200), nullable=True))
    op.add_column("email_attempt", sa.Column("conversation", sa.String(length=32), nullable=True))
    op.create_index(
        "ix_email_attempt_conversation",
        "email_attempt",
        ["conversation"],
        sqlite_where=_HAS_CONVERSATION,
        postgresql_where=_HAS_CONVERSATION,
    )
    op.create_index("ix_audit_event_subject", "audit_event", ["subject", "id"])
    op.create_table(
        "email_conversation",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email_conversation")),
    )
    op.create_index("ix_email_conversation_at", "email_conversation", ["at"])
    op.create_index("ix_email_conversation_key_id", "email_conversation", ["key_id"])


def downgrade() -> None:
    op.drop_table("email_conversation")
    op.drop_index("ix_audit_event_subject", table_name="audit_event")
    op.drop_index("ix_email_attempt_conversation", table_name="email_attempt")
    op.drop_column("email_attempt", "conversation")
    op.drop_column("email_attempt", "queue_id")
    op.drop_column("email_attempt", "tls")
    op.drop_column("email_outbox", "queued_by")
