"""What is said to the database, by SQLAlchemy and on the driver's own connection."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from database.driver import Driver

Listener = Callable[[str, Any], None]


@contextmanager
def heard(engine: Engine, listener: Listener) -> Iterator[None]:
    """Tell ``listener`` of each statement and its parameters before it is run; what it raises comes instead.

    "COMMIT" is one of them.
    """

    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        listener(statement, parameters)

    def hear_commit(_connection: Any) -> None:
        listener("COMMIT", ())

    def told(original: Callable[..., Any]) -> Callable[..., Any]:
        def first_tell(driver: Driver, *said: Any) -> Any:
            statement, parameters, *_ = *(said or ("COMMIT",)), ()
            listener(statement, parameters)
            return original(driver, *said)

        return first_tell

    listeners: list[tuple[str, Callable[..., Any]]] = [("before_cursor_execute", hear), ("commit", hear_commit)]
    originals = {name: getattr(Driver, name) for name in ("run", "run_many", "rows", "commit")}
    for name, each in listeners:
        event.listen(engine, name, each)
    for name, original in originals.items():
        setattr(Driver, name, told(original))
    try:
        yield
    finally:
        for name, each in listeners:
            event.remove(engine, name, each)
        for name, original in originals.items():
            setattr(Driver, name, original)
