"""Columns and indexes of our own."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import DateTime, Index, MetaData, TextClause
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


def partial_index(name: str, *columns: str, where: TextClause, unique: bool = False) -> Index:
    """An index of those rows alone; its condition is literal, so that SQLite's planner finds it.

    Only migrations are made from it, and PostgreSQL is named for these alone: SQLAlchemy would load all it has for it,
    2 MiB, wherever the table is known.
    """
    return Index(name, *columns, unique=unique, sqlite_where=where)


def name_for_postgresql(tables: MetaData) -> None:
    """The conditions of partial indexes, which are the same there."""
    for index in (index for table in tables.tables.values() for index in table.indexes):
        if "sqlite_where" in index.dialect_kwargs:
            index.dialect_kwargs["postgresql_where"] = index.dialect_kwargs["sqlite_where"]


_WITHOUT_ZONE: Final = len("1970-01-01 00:00:00.000000")
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC; a naive one is a mistake of ours and refused.

    What somebody has written into a row of SQLite and is no moment counts as one long ago: so whatever it limits is
    over, and the row can be read and deleted.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any]:
        # SQLite keeps no zone and compares texts, so all are in one; SQLAlchemy's form, in a third of its time.
        is_text = dialect.name == "sqlite"

        def write(value: datetime | None) -> Any:  # noqa: ANN401 - whatever the driver takes
            if value is None:
                return None
            if value.tzinfo is None:
                raise ValueError("a moment without a time zone")
            moment = value if value.tzinfo is UTC else value.astimezone(UTC)
            return moment.isoformat(" ", "microseconds")[:_WITHOUT_ZONE] if is_text else moment

        return write

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:
        decode = self.impl_instance.result_processor(dialect, coltype)

        def read(stored: Any) -> datetime | None:  # noqa: ANN401 - whatever stands there
            try:
                value: datetime | None = decode(stored) if decode else stored
            except (ValueError, TypeError):
                return _LONG_AGO
            if value is None:
                return None
            # SQLite gives it without a zone, PostgreSQL in the zone of the connection.
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

        return read
