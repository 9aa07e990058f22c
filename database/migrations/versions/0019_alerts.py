"""alerts without mail: channels, rules, how each alert stands, what is still to be told, signs of life."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_EMPTY = sa.text("''")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "alert_channel",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("place", sa.String(length=255), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.Column("config_id", sa.Integer(), nullable=True),
        sa.Column("is_on", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("ok_at", _MOMENT, nullable=True),
        sa.Column("failed_at", _MOMENT, nullable=True),
        sa.Column("trouble", sa.String(length=500), server_default=_EMPTY, nullable=False),
        sa.Column("pinged_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["config_id"],
            ["smtp_config.id"],
            name=op.f("fk_alert_channel_config_id_smtp_config"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_channel")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_alert_channel_config_id"), "alert_channel", ["config_id"])
    op.create_table(
        "alert_rule",
        sa.Column("name", sa.String(length=24), nullable=False),
        sa.Column("is_on", sa.Boolean(), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=True),
        sa.Column("least", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_alert_rule")),
    )
    op.create_table(
        "alert_state",
        sa.Column("rule", sa.String(length=24), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("headline", sa.String(length=500), server_default=_EMPTY, nullable=False),
        sa.Column("remedy", sa.String(length=500), server_default=_EMPTY, nullable=False),
        sa.Column("since", _MOMENT, nullable=False),
        sa.Column("fired_at", _MOMENT, nullable=True),
        sa.Column("resolved_at", _MOMENT, nullable=True),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.Column("lasted", sa.Float(), nullable=False),
        sa.Column("clear", sa.Float(), nullable=False),
        sa.Column("flaps", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("rule", "subject", name=op.f("pk_alert_state")),
    )
    op.create_table(
        "alert_notice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("notice_id", sa.String(length=32), nullable=False),
        sa.Column("channel_id", sa.Integer(), nullable=False),
        sa.Column("rule", sa.String(length=24), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("change", sa.String(length=16), nullable=False),
        sa.Column("headline", sa.String(length=500), nullable=False),
        sa.Column("remedy", sa.String(length=500), server_default=_EMPTY, nullable=False),
        sa.Column("since", _MOMENT, nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("due_at", _MOMENT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("tried_at", _MOMENT, nullable=True),
        sa.Column("trouble", sa.String(length=500), server_default=_EMPTY, nullable=False),
        sa.ForeignKeyConstraint(
            ["channel_id"],
            ["alert_channel.id"],
            name=op.f("fk_alert_notice_channel_id_alert_channel"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_notice")),
        sa.UniqueConstraint("notice_id", name=op.f("uq_alert_notice_notice_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_alert_notice_channel_id"), "alert_notice", ["channel_id"])
    op.create_index(op.f("ix_alert_notice_state"), "alert_notice", ["state"])
    op.create_table(
        "pulse",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("lease_id", sa.String(length=32), server_default=_EMPTY, nullable=False),
        sa.Column("lease_until", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pulse")),
    )


def downgrade() -> None:
    for table in ("pulse", "alert_notice", "alert_state", "alert_rule", "alert_channel"):
        op.drop_table(table)
