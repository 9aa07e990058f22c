"""The n-th thing that the database is asked fails, for each n, and no mail is lost, half promised or doubled."""

import pytest

from database.engine import db
from services.worker.lease import Pace
from tests.faults.checker import rows
from tests.faults.child import Place
from tests.faults.cutter import Cutter
from tests.faults.sabotage import KINDS, TurnClock, finish, queue, sabotaged, work
from tests.faults.storm import configure
from tests.long_run import ALL


@pytest.mark.parametrize("kind", KINDS if ALL else KINDS[:1])
def test_a_database_error_anywhere_neither_loses_nor_doubles_a_mail(
    place: Place, cutter: Cutter, turn_clock: TurnClock, kind: str
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
