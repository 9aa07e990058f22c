"""the trace in which an email was queued; hourly figures by priority, and how long attempts took."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_TOOK = ("took_tenth", "took_second", "took_three", "took_ten", "took_thirty")
_KEYS = ("hour", "server", "outcome", "cause", "phase", "domain")


def upgrade() -> None:
    op.add_column("email_outbox", sa.Column("traceparent", sa.String(length=55), nullable=True))
    for name in _TOOK:
        op.add_column("mail_hour", sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False))
    with op.batch_alter_table("mail_hour") as batch:
        batch.add_column(sa.Column("priority", sa.SmallInteger(), server_default=sa.text("-1"), nullable=False))
        batch.drop_constraint(op.f("pk_mail_hour"), type_="primary")
        batch.create_primary_key(op.f("pk_mail_hour"), [*_KEYS, "priority"])


def downgrade() -> None:
    # What the key told apart can be counted again from the log.
    op.execute("DELETE FROM mail_hour WHERE priority <> -1")
    with op.batch_alter_table("mail_hour") as batch:
        batch.drop_constraint(op.f("pk_mail_hour"), type_="primary")
        batch.create_primary_key(op.f("pk_mail_hour"), list(_KEYS))
        batch.drop_column("priority")
    for name in reversed(_TOOK):
        op.drop_column("mail_hour", name)
    op.drop_column("email_outbox", "traceparent")
