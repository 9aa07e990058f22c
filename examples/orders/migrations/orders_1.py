"""the table of orders."""

import sqlalchemy as sa
from alembic import op

revision = "orders_1"
down_revision = None
branch_labels = ("orders",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shop_order",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.CheckConstraint("quantity > 0", name="ck_shop_order_quantity"),
        sa.PrimaryKeyConstraint("id", name="pk_shop_order"),
    )


def downgrade() -> None:
    op.drop_table("shop_order")
