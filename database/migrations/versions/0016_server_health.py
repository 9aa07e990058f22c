"""server health: what mail and tests have met at each server."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "server_health",
        sa.Column("server", sa.String(length=32), nullable=False),
        sa.Column("config_id", sa.Integer(), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("ok_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_broken", sa.Boolean(), nullable=False),
        sa.Column("is_unreachable", sa.Boolean(), nullable=False),
        sa.Column("tally", sa.String(length=20), server_default=sa.text("''"), nullable=False),
        sa.Column("reason", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["config_id"],
            ["smtp_config.id"],
            name=op.f("fk_server_health_config_id_smtp_config"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("server", name=op.f("pk_server_health")),
        sa.UniqueConstraint("config_id", name=op.f("uq_server_health_config_id")),
    )


def downgrade() -> None:
    op.drop_table("server_health")
