"""indexes by which the mail log is searched for a cause and something else.

Only mail that has a cause is in them, so they cost mail that was sent nothing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

SETTLED = "(state = 'sent' OR state = 'failed' OR state = 'expired' OR state = 'cancelled' OR state = 'suppressed')"
TABLES = (
    ("email_outbox", "state", "created_at", SETTLED),
    ("email_attempt", "outcome", "started_at", "mail_id IS NULL"),
)
FACETS = ("tag", "account_id", "domain_key", "server_key")


def upgrade() -> None:
    for table, state, moment, among in TABLES:
        for facet in FACETS:
            condition = sa.text(f"{among} AND reason <> '' AND {facet} IS NOT NULL")
            columns = ["reason", facet, state, moment, "id"]
            name = f"ix_{table}_by_reason_{facet}"
            op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    for table, *_ in TABLES:
        for facet in FACETS:
            op.drop_index(f"ix_{table}_by_reason_{facet}", table_name=table)
