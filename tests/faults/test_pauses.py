"""Processes that are stopped for longer than their leases last do no harm when they go on (fault F5)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select

from app import create_app
from database.engine import db
from database.outbox_db import OutboxMail, State
from services.worker import groups
from tests.faults import figures
from tests.faults.child import Place
from tests.faults.storm import IN_FLIGHT, Storm
from tests.long_run import ALL
from tests.mails import in_state
from tests.outbox import row_of
from tests.patience import PATIENCE, pace
from utils import clock

PAUSES = 50 if ALL else 2


def test_pausing_workers_and_web_processes_beyond_their_leases_loses_no_mail(place: Place) -> None:
    with Storm(place=replace(place, pace=pace(lease=1)), seed=5, mails=100 * PAUSES) as storm:
        storm.pause(PAUSES)
        storm.drain()
    verdict = storm.verdict(bound=PAUSES * IN_FLIGHT)
    figures.settle("a pause", storm, verdict, faults=PAUSES)


def test_a_sweep_does_not_wait_for_a_transaction_of_a_machine_that_is_frozen(place: Place) -> None:
    with ThreadPoolExecutor(1) as thread, db.engine.connect() as frozen:
        if frozen.dialect.name == "sqlite":
            return  # has one writer, for whom everybody waits, and gives up in time
        held, other = (in_state(State.LEASED, lease_until=clock.now() - timedelta(minutes=1)) for _ in range(2))
        frozen.execute(select(OutboxMail).where(OutboxMail.mail_id == held).with_for_update())
        thread.submit(_sweep, place).result(PATIENCE)
        assert row_of(other).state == State.DEFERRED
        assert row_of(held).state == State.LEASED


def _sweep(place: Place) -> None:
    with create_app(place.environment, instance_path=place.folder).app_context():
        groups.sweep(place.pace)
        db.engine.dispose()
