"""what the mail log is searched by: recipients and domains as numbers, the last server, tags of direct mail.

The numbers are made under the key of addresses, which no migration has: a worker fills them in, in batches.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

UNSENT = "(state = 'held' OR state = 'queued' OR state = 'deferred' OR state = 'uncertain')"
SETTLED = "(state = 'sent' OR state = 'failed' OR state = 'expired' OR state = 'cancelled' OR state = 'suppressed')"
DIRECT = "mail_id IS NULL"
WAITING = "(state = 'queued' OR state = 'deferred' OR state = 'uncertain')"
IN_HAND = "(state = 'leased' OR state = 'transmitting')"
# Indexes that were there, and their conditions: for each and each row that changes, SQLite builds a table of what
# stands in IN.
ANEW = (
    ("ix_email_outbox_due", ["priority", "account_id", "due_at", "id", "state"], WAITING),
    ("ix_email_outbox_urgent", ["due_at", "id"], f"{WAITING} AND priority = 0"),
    ("ix_email_outbox_expires", ["expires_at"], WAITING),
    ("ix_email_outbox_in_hand", ["lease_until"], IN_HAND),
    ("ix_email_outbox_in_hand_of", ["account_id"], f"{IN_HAND} AND account_id IS NOT NULL"),
    ("ix_email_outbox_held", ["id"], "(state = 'held')"),
)
AT_THE_END = ("server_key", "domain_key", "account_id", "tag", "reason")
PRESENT = {
    "server_key": "server_key IS NOT NULL",
    "domain_key": "domain_key IS NOT NULL",
    "recipient_key": "recipient_key IS NOT NULL",
    "account_id": "account_id IS NOT NULL",
    "tag": "tag IS NOT NULL",
    "reason": "reason <> ''",
}
PAIRS = (
    ("tag", "server_key"),
    ("tag", "account_id"),
    ("tag", "domain_key"),
    ("account_id", "server_key"),
    ("account_id", "domain_key"),
    ("domain_key", "server_key"),
)
FACETS = ("server_key", "domain_key", "recipient_key", "account_id", "tag", "reason")
TABLES = (("email_outbox", "state", "created_at", SETTLED), ("email_attempt", "outcome", "started_at", DIRECT))


def upgrade() -> None:
    for name in ("ix_email_outbox_account", "ix_email_outbox_tag", "ix_email_outbox_dead"):
        op.drop_index(name, table_name="email_outbox")
    for index, columns, condition in ANEW:
        op.drop_index(index, table_name="email_outbox")
        create(index, "email_outbox", columns, condition)
    for table in ("email_outbox", "email_attempt"):
        for column in ("server_key", "recipient_key", "domain_key"):
            op.add_column(table, sa.Column(column, sa.BigInteger(), nullable=True))
        op.add_column(table, sa.Column("subject", sa.Text(), nullable=True))
    op.add_column("email_outbox", sa.Column("message_key", sa.BigInteger(), nullable=True))
    op.add_column("email_attempt", sa.Column("tag", sa.String(length=64), nullable=True))
    for table, state, moment, among in TABLES:
        for index, columns, condition in facets(table, state, moment, among):
            create(index, table, columns, condition)
    create("ix_email_outbox_unsent", "email_outbox", ["state", "created_at", "id", *FACETS], UNSENT)
    of_account = f"{UNSENT} AND account_id IS NOT NULL"
    create("ix_email_outbox_account", "email_outbox", ["account_id", "state", "created_at"], of_account)
    create("ix_email_outbox_tag", "email_outbox", ["tag", "state", "created_at"], f"{UNSENT} AND tag IS NOT NULL")
    create("ix_email_outbox_message", "email_outbox", ["message_key"], "message_key IS NOT NULL")
    create("ix_email_outbox_unindexed", "email_outbox", ["id"], "recipient_key IS NULL")
    create("ix_email_attempt_message", "email_attempt", ["message_id"], DIRECT)
    create("ix_email_attempt_unindexed", "email_attempt", ["id"], f"{DIRECT} AND recipient_key IS NULL")
    for table, number in (("outbox_name", "outbox_id"), ("attempt_name", "attempt_id")):
        op.create_table(
            table,
            sa.Column("key", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column(number, sa.Integer(), autoincrement=False, nullable=False),
            sa.PrimaryKeyConstraint("key", number, name=op.f(f"pk_{table}")),
        )
        op.create_index(f"ix_{table}_{number}", table, [number])


def downgrade() -> None:
    op.drop_table("attempt_name")
    op.drop_table("outbox_name")
    for name in ("unindexed", "message"):
        op.drop_index(f"ix_email_attempt_{name}", table_name="email_attempt")
    for name in ("unindexed", "message", "tag", "account", "unsent"):
        op.drop_index(f"ix_email_outbox_{name}", table_name="email_outbox")
    for table, state, moment, among in TABLES:
        for index, _, _ in facets(table, state, moment, among):
            op.drop_index(index, table_name=table)
    op.drop_column("email_attempt", "tag")
    op.drop_column("email_outbox", "message_key")
    for table in ("email_outbox", "email_attempt"):
        for column in ("subject", "domain_key", "recipient_key", "server_key"):
            op.drop_column(table, column)
    for index, columns, condition in ANEW:
        op.drop_index(index, table_name="email_outbox")
        create(index, "email_outbox", columns, with_in(condition))
    create("ix_email_outbox_account", "email_outbox", ["account_id", "id"], "account_id IS NOT NULL")
    create("ix_email_outbox_tag", "email_outbox", ["tag", "id"], "tag IS NOT NULL")
    dead = "state IN ('failed', 'expired', 'cancelled', 'suppressed')"
    create("ix_email_outbox_dead", "email_outbox", ["state", "id"], dead)


def facets(table: str, state: str, moment: str, among: str) -> list[tuple[str, list[str], str]]:
    """The name, the columns and the condition of each index by one filter, or by two."""
    found = [(f"ix_{table}_by_{state}", [state, moment, "id"], among)]
    for name, present in PRESENT.items():
        others = [each for each in AT_THE_END if each != name]
        found.append((f"ix_{table}_by_{name}", [name, state, moment, "id", *others], f"{among} AND {present}"))
    for first, second in PAIRS:
        condition = f"{among} AND {PRESENT[first]} AND {PRESENT[second]}"
        found.append((f"ix_{table}_by_{first}_{second}", [first, second, state, moment, "id"], condition))
    return found


def with_in(condition: str) -> str:
    """The condition as it was before."""
    states, _, rest = condition.partition(")")
    return f"state IN ({', '.join(states.replace('state = ', '').strip('(').split(' OR '))}){rest}"


def create(name: str, table: str, columns: list[str], condition: str) -> None:
    op.create_index(
        name, table, columns, sqlite_where=sa.text(condition), postgresql_where=sa.text(condition)
    )
