"""looks at servers without a mail, and how many sign-ins in a row a server has refused."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "server_health", sa.Column("refusals", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    op.create_table(
        "server_probe",
        sa.Column("server", sa.String(length=32), nullable=False),
        sa.Column("config_id", sa.Integer(), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("turns", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("spread", sa.Float(), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("result", sa.String(length=16), server_default=sa.text("''"), nullable=False),
        sa.Column("refusals", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("offers", sa.JSON(), nullable=True),
        sa.Column("changes", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["config_id"],
            ["smtp_config.id"],
            name=op.f("fk_server_probe_config_id_smtp_config"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("server", name=op.f("pk_server_probe")),
        sa.UniqueConstraint("config_id", name=op.f("uq_server_probe_config_id")),
    )


def downgrade() -> None:
    op.drop_table("server_probe")
    with op.batch_alter_table("server_health") as batch:
        batch.drop_column("refusals")
