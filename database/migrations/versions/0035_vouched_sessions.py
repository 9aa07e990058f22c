"""when the provider of single sign-on last said whose a session is."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("session", sa.Column("vouched_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE session SET vouched_at = proven_at WHERE proven_by LIKE '%oidc%'")


def downgrade() -> None:
    with op.batch_alter_table("session") as batch:
        batch.drop_column("vouched_at")
