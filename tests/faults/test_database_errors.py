"""The n-th thing that the database is asked fails, for each n, and no mail is lost, half promised or doubled."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from database.engine import db, transaction
from services import email_service
from services.outbox_work import Pace
from tests.faults.checker import rows
from tests.faults.child import Place
from tests.faults.cutter import Cutter
from tests.faults.sabotage import KINDS, sabotaged, work
from tests.faults.storm import ALL, configure, open_mails
from tests.visitors import Visitor
from utils import clock

TURNS = 10
FULL_DISKS = 50 if ALL else 3


@pytest.fixture
def cutter() -> Iterator[Cutter]:
    with Cutter(pipelining=True, chunking=True) as cutter:
        yield cutter


@pytest.fixture
def turn_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets an hour pass."""
    hours = 0
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(hours=hours))

    def turn() -> None:
        nonlocal hours
        hours += 1

    return turn


def finish(turn_clock: Callable[[], None]) -> None:
    """Let workers take turns, an hour from one to the next, until nothing is left to do."""
    for _ in range(TURNS):
        turn_clock()
        work(Pace())
        if not open_mails():
            return
    pytest.fail("a mail is stuck")


def queue(number: int) -> str | None:
    """The mail's id if it is promised; every other one beside something else in the caller's transaction."""
    with suppress(SQLAlchemyError):
        if number % 2:
            return email_service.queue_email("to@example.com", f"Number {number}", "Text")
        with transaction() as session:
            return email_service.queue_email("to@example.com", f"Number {number}", "Text", session=session)
    return None


@pytest.mark.parametrize("kind", KINDS if ALL else KINDS[:1])
def test_a_database_error_anywhere_neither_loses_nor_doubles_a_mail(
    place: Place, cutter: Cutter, turn_clock: Callable[[], None], kind: str
) -> None:
    configure(cutter.port)
    promised: set[str] = set()
    nth, was_harmed = 0, True
    while was_harmed:
        nth += 1
        with sabotaged(db.engine, nth, kind) as sabotage:
            promised |= {mail_id for number in (2 * nth, 2 * nth + 1) if (mail_id := queue(number))}
            work(Pace())
        was_harmed = sabotage.is_done
        finish(turn_clock)
        assert {row.mail_id for row in rows()} == promised, f"error {nth}"
        assert cutter.taken == {row.message_id: 1 for row in rows()}, f"error {nth}"
    assert nth > 20


@pytest.mark.parametrize("pages", range(20, 20 + FULL_DISKS))
def test_a_full_disk_is_told_and_loses_nothing_that_was_promised(
    client: Visitor, cutter: Cutter, turn_clock: Callable[[], None], bearer: dict[str, str], pages: int
) -> None:
    configure(cutter.port)
    with db.engine.connect() as connection:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    set_limit(used + pages)
    promised: list[str] = []
    while mail_id := queue(len(promised)):
        promised.append(mail_id)
    assert last_status(client, bearer) == 503
    work(Pace())
    set_limit(1 << 30)
    finish(turn_clock)
    assert {row.mail_id for row in rows()} == set(promised)
    assert cutter.taken == {row.message_id: 1 for row in rows()}
    assert queue(0)


def last_status(client: Visitor, bearer: dict[str, str]) -> int:
    """What the web interface says once it cannot store a configuration."""
    for number in range(200):
        fields = {"name": f"Number {number}", "smtp_server": "smtp.example.com", "from_email": "a@example.com"}
        answer = client.post("/api/settings/smtp/configs", json=fields, headers=bearer)
        if answer.status_code != 201:
            return answer.status_code
    return 201


def set_limit(pages: int) -> None:
    """The most pages that the database may grow to, on the disk of a test."""

    def limit(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(db.engine, "connect", limit)
    db.engine.dispose()
