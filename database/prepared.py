"""Statements of SQLAlchemy's that are compiled once, and said on the driver's own connection."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Column, Executable, Table, bindparam, insert
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import StatementError
from sqlalchemy.schema import ColumnDefault
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

from database.driver import Driver, PlainDriver

_Processor = Callable[[Any], Any] | None
Values = Mapping[str, Any]


class _Compiled(NamedTuple):
    """A statement in the words of one dialect; ``results`` make Python's values of the columns of its rows.

    ``constants`` are the values of its parameters that need not be given, ``works`` make of the few that the driver
    cannot take as they are what it can; the some sixty values of a mail cost no call each. ``in_order`` gives a
    driver that takes a tuple the values as the statement has them; another is given them by their names.
    """

    sql: str
    constants: Values
    works: Sequence[tuple[str, Callable[[Any], Any]]]
    in_order: Callable[[Values], tuple[Any, ...]] | None
    results: Sequence[_Processor]

    def parameters(self, values: Values) -> Any:  # noqa: ANN401 - a driver takes a tuple or a dictionary
        given = {**self.constants, **values}
        for name, work in self.works:
            given[name] = work(given[name])
        return self.in_order(given) if self.in_order else given


class Prepared:
    """A statement of fixed shape (no list that grows with its values), and the ``columns`` of its rows.

    One that ``keeps`` makes Python's values only of rows that are not those of the last time: for what hardly changes.
    """

    def __init__(self, statement: ClauseElement, columns: Sequence[Column[Any]] = (), *, keeps: bool = False) -> None:
        self._statement: Final = statement
        self._columns: Final = columns
        self._compiled: Final[dict[str, _Compiled]] = {}
        self._keeps: Final = keeps
        self._kept: tuple[Sequence[tuple[Any, ...]], list[tuple[Any, ...]]] = [], []

    def run(self, driver: Driver, values: Sequence[Values]) -> None:
        """Execute it for each of many sets of values; for none the database is not asked."""
        if not values:
            return
        if isinstance(driver, PlainDriver):
            driver.connection.execute(cast(Executable, self._statement), list(values))
            return
        compiled = self._in(driver.dialect)
        with _told_as_sqlalchemy_does():
            parameters = [compiled.parameters(each) for each in values]
        driver.run_many(compiled.sql, parameters)

    def rows(self, driver: Driver, values: Values) -> list[tuple[Any, ...]]:
        """Execute it once; its rows, as Python's values."""
        if isinstance(driver, PlainDriver):
            return [tuple(row) for row in driver.connection.execute(cast(Executable, self._statement), values)]
        compiled = self._in(driver.dialect)
        with _told_as_sqlalchemy_does():
            parameters = compiled.parameters(values)
        found = driver.rows(compiled.sql, parameters)
        before, as_before = self._kept
        if self._keeps and found == before:
            return as_before
        with _told_as_sqlalchemy_does():
            rows = [
                tuple([work(value) if work else value for work, value in zip(compiled.results, row, strict=True)])
                for row in found
            ]
        if self._keeps:
            self._kept = found, rows
        return rows

    def _in(self, dialect: Dialect) -> _Compiled:
        # Two threads may compile it at once: to the same, so no lock is taken for every mail.
        if dialect.name not in self._compiled:
            self._compiled[dialect.name] = self._compile(dialect)
        return self._compiled[dialect.name]

    def _compile(self, dialect: Dialect) -> _Compiled:
        compiled = cast(SQLCompiler, self._statement.compile(dialect=dialect))
        constants = {name: each.value for name, each in compiled.binds.items() if not each.required}
        works = [
            (name, work)
            for name, each in compiled.binds.items()
            if (work := each.type.dialect_impl(dialect).bind_processor(dialect))
        ]
        in_order = _getter(compiled.positiontup or ()) if compiled.positional else None  # psycopg takes a dictionary
        results = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in self._columns]
        return _Compiled(compiled.string, constants, works, in_order, results)


def _getter(names: Sequence[str]) -> Callable[[Values], tuple[Any, ...]]:
    """What gives the values of these names, of which one may stand several times, as a tuple."""
    if len(names) > 1:
        return cast(Callable[[Values], tuple[Any, ...]], itemgetter(*names))
    return lambda values: tuple([values[name] for name in names])


def added_to(table: Table, *, with_key: bool = False) -> Prepared:
    """The statement that adds rows, which the database numbers unless they come ``with_key``.

    Each has a value for every column that needs one.

    That is each that may not be null and has no default.
    """
    values: dict[str, Any] = {}
    for column in [each for each in table.c if with_key or not each.primary_key]:
        default = column.default.arg if isinstance(column.default, ColumnDefault) else None
        is_required = default is None and not column.nullable
        values[column.name] = bindparam(column.name, required=True) if is_required else bindparam(column.name, default)
    return Prepared(insert(table).values(values))


@contextmanager
def _told_as_sqlalchemy_does() -> Iterator[None]:
    """A value that cannot be written or read is a StatementError, without the value."""
    try:
        yield
    except Exception as error:
        raise StatementError(type(error).__name__, None, None, error) from error
