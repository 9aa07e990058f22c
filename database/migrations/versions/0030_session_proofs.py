"""how and when a session was proven, by whichever factors."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("session") as batch:
        batch.alter_column("password_seen_at", new_column_name="proven_at")
        batch.add_column(sa.Column("proven_by", sa.String(length=64), server_default="password", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("session") as batch:
        batch.drop_column("proven_by")
        batch.alter_column("proven_at", new_column_name="password_seen_at")
