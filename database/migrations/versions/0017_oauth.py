"""signing in by OAuth: registrations and their tokens, sign-ins under way, and which ends were told of."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_EMPTY = sa.text("''")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("smtp_config", sa.Column("oauth_consent", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("personal_policy", sa.Column("sign_in", sa.String(length=8), nullable=True))
    op.create_table(
        "oauth_sign_in",
        sa.Column("config_id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("way", sa.String(length=24), nullable=False),
        sa.Column("tenant", sa.String(length=255), nullable=False),
        sa.Column("cloud", sa.String(length=16), nullable=False),
        *(
            sa.Column(name, sa.String(length=500), nullable=False)
            for name in ("authority", "authorize_url", "token_url", "device_url", "revoke_url", "issuer")
        ),
        sa.Column("scope", sa.String(length=1024), nullable=False),
        sa.Column("client_id", sa.String(length=255), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in (
                "client_certificate",
                "client_secret",
                "client_key",
                "service_account",
                "refresh_token",
                "access_token",
            )
        ),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.Column("binding_mac", sa.String(length=64), nullable=False),
        sa.Column("secret_ends_on", sa.Date(), nullable=True),
        sa.Column("is_testing", sa.Boolean(), nullable=False),
        sa.Column("consent", sa.Integer(), nullable=False),
        sa.Column("mailbox", sa.String(length=320), nullable=False),
        sa.Column("granted_scopes", sa.Text(), nullable=False),
        sa.Column("granted_by", sa.String(length=64), nullable=False),
        sa.Column("granted_at", _MOMENT, nullable=True),
        sa.Column("obtained_at", _MOMENT, nullable=True),
        sa.Column("access_ends_at", _MOMENT, nullable=True),
        sa.Column("needs_sign_in", sa.Boolean(), nullable=False),
        sa.Column("trouble", sa.String(length=160), server_default=_EMPTY, nullable=False),
        sa.Column("trouble_at", _MOMENT, nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", _MOMENT, nullable=True),
        sa.Column("refused_at", _MOMENT, nullable=True),
        sa.Column("lease_id", sa.String(length=32), server_default=_EMPTY, nullable=False),
        sa.Column("lease_until", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["config_id"],
            ["smtp_config.id"],
            name=op.f("fk_oauth_sign_in_config_id_smtp_config"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("config_id", name=op.f("pk_oauth_sign_in")),
    )
    op.create_table(
        "oauth_pending",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("config_id", sa.Integer(), nullable=False),
        sa.Column("way", sa.String(length=24), nullable=False),
        sa.Column("session_digest", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("state_digest", sa.String(length=64), nullable=False),
        sa.Column("verifier", sa.Text(), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("redirect_uri", sa.String(length=500), nullable=False),
        sa.Column("device_code", sa.Text(), nullable=False),
        sa.Column("user_code", sa.String(length=32), nullable=False),
        sa.Column("verification_url", sa.Text(), nullable=False),
        sa.Column("interval", sa.Integer(), nullable=False),
        sa.Column("next_at", _MOMENT, nullable=True),
        sa.Column("registration_mac", sa.String(length=64), nullable=False),
        sa.Column("began_at", _MOMENT, nullable=False),
        sa.Column("ends_at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["config_id"],
            ["smtp_config.id"],
            name=op.f("fk_oauth_pending_config_id_smtp_config"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth_pending")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_oauth_pending_config_id"), "oauth_pending", ["config_id"])
    op.create_index(op.f("ix_oauth_pending_state_digest"), "oauth_pending", ["state_digest"])
    op.create_table(
        "end_notice",
        sa.Column("server", sa.String(length=32), nullable=False),
        sa.Column("what", sa.String(length=32), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("days", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("config_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["config_id"],
            ["smtp_config.id"],
            name=op.f("fk_end_notice_config_id_smtp_config"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("server", "what", "ends_on", "days", name=op.f("pk_end_notice")),
    )
    op.create_index(op.f("ix_end_notice_config_id"), "end_notice", ["config_id"])


def downgrade() -> None:
    op.drop_table("end_notice")
    op.drop_table("oauth_pending")
    op.drop_table("oauth_sign_in")
    op.drop_column("personal_policy", "sign_in")
    op.drop_column("smtp_config", "oauth_consent")
