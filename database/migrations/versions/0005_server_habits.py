"""what mail servers have shown of themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "server_habit",
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("port", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("habit", sa.String(length=32), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("face", sa.String(length=16), nullable=False),
        sa.Column("learnt_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("host", "port", "habit", name=op.f("pk_server_habit")),
    )
    with op.batch_alter_table("server_habit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_server_habit_learnt_at"), ["learnt_at"], unique=False)


def downgrade() -> None:
    op.drop_table("server_habit")
