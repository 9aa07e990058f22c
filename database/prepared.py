"""Statements of SQLAlchemy's that are compiled once, and said on the driver's own connection."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Column
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

from database.driver import Driver

_Processor = Callable[[Any], Any] | None
Values = Mapping[str, Any]


class _Bound(NamedTuple):
    """A parameter: its name, the value that stands for it in the statement itself, and what the driver is given."""

    name: str
    constant: Any
    processor: _Processor

    def of(self, values: Values) -> Any:  # noqa: ANN401 - whatever the column holds
        value = values.get(self.name, self.constant)
        return self.processor(value) if self.processor else value


class _Compiled(NamedTuple):
    """A statement in the words of one dialect. ``positions`` names the parameters where they have no names."""

    sql: str
    bound: Sequence[_Bound]
    is_positional: bool
    processors: Sequence[_Processor]

    def parameters(self, values: Values) -> Any:  # noqa: ANN401 - a driver takes a tuple or a dictionary
        if self.is_positional:
            return tuple([each.of(values) for each in self.bound])
        return {each.name: each.of(values) for each in self.bound}


class Prepared:
    """A statement of fixed shape (no list that grows with its values), and the ``columns`` of its rows."""

    def __init__(self, statement: ClauseElement, columns: Sequence[Column[Any]] = ()) -> None:
        self._statement: Final = statement
        self._columns: Final = columns
        self._compiled: Final[dict[str, _Compiled]] = {}

    def run(self, driver: Driver, values: Sequence[Values]) -> None:
        """Execute it for each of many sets of values."""
        compiled = self._in(driver.dialect)
        driver.run_many(compiled.sql, [compiled.parameters(each) for each in values])

    def rows(self, driver: Driver, values: Values) -> list[tuple[Any, ...]]:
        """Execute it once; its rows, as Python's values."""
        compiled = self._in(driver.dialect)
        return [
            tuple([work(value) if work else value for work, value in zip(compiled.processors, row, strict=True)])
            for row in driver.rows(compiled.sql, compiled.parameters(values))
        ]

    def _in(self, dialect: Dialect) -> _Compiled:
        if dialect.name not in self._compiled:
            self._compiled[dialect.name] = self._compile(dialect)
        return self._compiled[dialect.name]

    def _compile(self, dialect: Dialect) -> _Compiled:
        compiled = cast(SQLCompiler, self._statement.compile(dialect=dialect))
        names = compiled.positiontup if compiled.positional else list(compiled.binds)
        bound = []
        for name in names or ():
            parameter = compiled.binds[name]
            processor = parameter.type.dialect_impl(dialect).bind_processor(dialect)
            bound.append(_Bound(name, parameter.value, processor))
        processors = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in self._columns]
        return _Compiled(compiled.string, bound, compiled.positional, processors)
