"""hourly figures, and why an attempt failed, as a code."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "email_attempt", sa.Column("reason", sa.String(length=64), server_default=sa.text("''"), nullable=False)
    )
    op.create_table(
        "mail_hour",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("server", sa.String(length=320), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("cause", sa.String(length=64), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("mails", sa.Integer(), nullable=False),
        sa.Column("ms", sa.BigInteger(), nullable=False),
        sa.Column("within_second", sa.Integer(), nullable=False),
        sa.Column("within_ten", sa.Integer(), nullable=False),
        sa.Column("within_minute", sa.Integer(), nullable=False),
        sa.Column("within_five", sa.Integer(), nullable=False),
        sa.Column("within_hour", sa.Integer(), nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hour", "server", "outcome", "cause", "phase", "domain", name=op.f("pk_mail_hour")),
    )


def downgrade() -> None:
    op.drop_table("mail_hour")
    op.drop_column("email_attempt", "reason")
