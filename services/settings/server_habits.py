"""Shares between processes what each has learnt of a server, through the database."""

from time import monotonic
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from database import server_habit_db
from database.engine import reading, transaction
from database.server_habit_db import ServerHabit
from services.smtp.habits import LIFE, LIVES, Fact, Habit, Habits, habits_of
from utils import clock
from utils.log_utils import logged

log = structlog.get_logger(__name__)

_AGAIN: Final = 60.0  # seconds after which to look for what others have learnt
_LONGEST_LIFE: Final = max(LIFE, *LIVES.values())
_OWN: Final = {Habit.ADDRESS}  # each process finds that out faster than it can look it up


def recall(host: str, port: int) -> Habits:
    """What is known of a server, here or in another process. Never raises for a database that is away."""
    habits, now = habits_of(host, port), monotonic()
    if now < habits.looked_up_until:
        return habits
    habits.looked_up_until = now + _AGAIN
    with logged(log.warning, "habits_not_read", SQLAlchemyError, ValueError, host=host, port=port):
        with reading() as session:
            rows = server_habit_db.of_server(session, host, port)
        habits.recall([(Habit(row.habit), Fact(row.value, row.learnt_at, row.face)) for row in rows])
    return habits


def refresh(host: str, port: int, habit: Habit) -> None:
    """Write down that a fact was seen again, so that it does not get old for others. Never raises."""
    fact = habits_of(host, port).fact(habit)
    is_told = logged(log.warning, "habits_not_kept", SQLAlchemyError, host=host, port=port)
    if fact is not None:
        with is_told, transaction(durable=False) as session:
            server_habit_db.put(session, [ServerHabit(host=host, port=port, habit=habit, **fact._asdict())])


def keep(host: str, port: int) -> None:
    """Write down what was learnt of a server since this was called last. Never raises for a database that is away."""
    habits = habits_of(host, port)
    if not habits.take_news():
        return
    known = {habit: fact for habit, fact in habits.known().items() if habit not in _OWN}
    rows = [ServerHabit(host=host, port=port, habit=habit, **fact._asdict()) for habit, fact in known.items()]
    log.info("server_habits", host=host, port=port, habits=habits.lines())
    is_told = logged(log.warning, "habits_not_kept", SQLAlchemyError, host=host, port=port)
    with is_told, transaction(durable=False) as session:
        server_habit_db.forget(session, host, port)
        server_habit_db.put(session, rows)
        server_habit_db.forget_before(session, clock.now() - _LONGEST_LIFE)
