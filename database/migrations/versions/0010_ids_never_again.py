"""when a server was switched off last; ids that are never used again, on SQLite.

What remembers an id must not meet another row under it. Each table is built anew as SQLite's own manual says
(lang_altertable, section 7), from its own text, so that its checks,
indexes and triggers stay as they are; the foreign keys wait meanwhile (see env.py). PostgreSQL's sequences never go back.
"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = (
    "account", "api_token", "audit_event", "email_attempt", "email_outbox", "reset_request", "reset_token",
    "setup_code", "smtp_config",
)  # fmt: skip
KEY = re.compile(r"PRIMARY KEY\s*\(\s*[\"`]?id[\"`]?\s*\)", re.IGNORECASE)
NEVER_AGAIN = re.compile(r"PRIMARY KEY \(id AUTOINCREMENT\)")
# Where ids stand of rows that may be gone: those are not given again either.
KEPT_ELSEWHERE = {
    "account": ("SELECT max(account_id) FROM email_attempt", "SELECT max(account_id) FROM email_outbox"),
    "smtp_config": (
        "SELECT max(config_id) FROM email_attempt",
        "SELECT max(CAST(substr(pinned_to, 8) AS INTEGER)) FROM email_outbox WHERE pinned_to LIKE 'config:%'",
    ),
}


# The trail calls a server so (as it was written then); without a word of it a row that was changed may have been active.
SWITCHED_OFF = """
    UPDATE smtp_config SET active_until = coalesce(
        (SELECT max(at) FROM audit_event WHERE action = 'deactivated' AND subject =
            substr('configuration ' || name || ' (' || smtp_server || ':' || smtp_port || ')', 1, 160)),
        CASE WHEN version > 1 THEN updated_at END
    ) WHERE NOT is_active AND account_id IS NULL
"""


def upgrade() -> None:
    with op.batch_alter_table("smtp_config", schema=None) as batch_op:
        batch_op.add_column(sa.Column("active_until", sa.DateTime(timezone=True), nullable=True))
    op.execute(SWITCHED_OFF)
    if op.get_bind().dialect.name != "sqlite":
        return
    before = dangling()
    for table in TABLES:
        build_anew(table, KEY, "PRIMARY KEY (id AUTOINCREMENT)")
        for query in KEPT_ELSEWHERE.get(table, ()):
            begin_after(table, op.get_bind().execute(sa.text(query)).scalar() or 0)
    refuse(dangling() - before)


def downgrade() -> None:
    with op.batch_alter_table("smtp_config", schema=None) as batch_op:
        batch_op.drop_column("active_until")
    if op.get_bind().dialect.name != "sqlite":
        return
    before = dangling()
    for table in TABLES:
        build_anew(table, NEVER_AGAIN, "PRIMARY KEY (id)")
    refuse(dangling() - before)


def build_anew(table: str, key: re.Pattern[str], other: str) -> None:
    connection, new = op.get_bind(), f"_new_{table}"
    made_by = "SELECT type, sql FROM sqlite_master WHERE tbl_name = :table AND sql IS NOT NULL ORDER BY type = 'trigger'"
    texts = [(row.type, row.sql) for row in connection.execute(sa.text(made_by), {"table": table})]
    text = next(sql for kind, sql in texts if kind == "table")
    text, found = key.subn(other, text)
    if not found:
        return  # somebody has done it already
    begin = re.compile(rf"CREATE TABLE\s+[\"`]?{table}[\"`]?", re.IGNORECASE)
    connection.exec_driver_sql(begin.sub(f'CREATE TABLE "{new}"', text, count=1))
    columns = ", ".join(f'"{row.name}"' for row in connection.exec_driver_sql(f'PRAGMA table_info("{table}")'))
    connection.exec_driver_sql(f'INSERT INTO "{new}" ({columns}) SELECT {columns} FROM "{table}" ORDER BY id')  # noqa: S608 - names of ours
    connection.exec_driver_sql(f'DROP TABLE "{table}"')
    connection.exec_driver_sql(f'ALTER TABLE "{new}" RENAME TO "{table}"')
    for kind, sql in texts:
        if kind != "table":
            connection.exec_driver_sql(sql)


def begin_after(table: str, last: int) -> None:
    """Let the next id be above this one. There is no line about a table that never had a row."""
    connection, values = op.get_bind(), {"table": table, "last": last}
    has_line = connection.execute(sa.text("SELECT 1 FROM sqlite_sequence WHERE name = :table"), values).scalar()
    if not has_line:
        connection.execute(sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, 0)"), values)
    connection.execute(sa.text("UPDATE sqlite_sequence SET seq = max(seq, :last) WHERE name = :table"), values)


def dangling() -> set[str]:
    """The references that lead to no row."""
    return {str(tuple(row)) for row in op.get_bind().exec_driver_sql("PRAGMA foreign_key_check")}


def refuse(lost: set[str]) -> None:
    if lost:
        raise RuntimeError(f"References would lead to no row, so nothing was changed: {', '.join(sorted(lost))}")
