"""What of setting Sealpost up is done."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "setup_step",
        sa.Column("step", sa.String(length=32), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_by", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("step", name=op.f("pk_setup_step")),
    )


def downgrade() -> None:
    op.drop_table("setup_step")
