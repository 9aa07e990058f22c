"""opens: the id of the pixel in a mail that is tracked, and when that was asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

HAS_PIXEL = sa.text("pixel IS NOT NULL")


def upgrade() -> None:
    op.add_column("email_outbox", sa.Column("pixel", sa.String(length=32), nullable=True))
    op.create_index(
        "uq_email_outbox_pixel",
        "email_outbox",
        ["pixel"],
        unique=True,
        sqlite_where=HAS_PIXEL,
        postgresql_where=HAS_PIXEL,
    )
    op.create_table(
        "mail_open",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("mail_id", sa.String(length=32), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("by_machines", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["mail_id"],
            ["email_outbox.mail_id"],
            name=op.f("fk_mail_open_mail_id_email_outbox"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_open")),
        sa.UniqueConstraint("mail_id", "hour", name=op.f("uq_mail_open_mail_id_hour")),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("mail_open")
    op.drop_index("uq_email_outbox_pixel", table_name="email_outbox")
    # Not in batch mode, which would make the table anew on SQLite, and all that refers to it with it.
    op.execute("ALTER TABLE email_outbox DROP COLUMN pixel")
