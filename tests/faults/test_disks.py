"""What is promised is on the disk first, and a disk that fails is told and takes no mail with it (faults F7 and F8)."""

import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from sqlalchemy import select

from database.engine import reading
from database.outbox_claim_db import GROUP
from database.reset_request_db import ResetRequest
from services import email_service
from services.worker import groups
from tests.faults import child, figures
from tests.faults.child import Orders, Place
from tests.faults.sink import Manners
from tests.faults.storm import Role, Sink, Storm, configure
from tests.faults.web import serving
from tests.live_server import Browser, LiveServer
from tests.long_run import ALL
from tests.patience import PATIENCE
from tests.processes import CONTEXT
from tests.strace import SYNCS, WRITES, Failure, Strace, told

PROMISES, FAILURES = (100, 50) if ALL else (10, 3)
# How it begins when a caller is given a mail's id, a worker has settled a group, or a browser is answered.
GOOD_NEWS, BAD_NEWS = ("promised", "settled", "HTTP/1.1 2"), ("HTTP/1.1 5",)
SYNC_FAILS = Failure(calls=SYNCS, error="EIO", first=2, step=5)
WRITE_FAILS = Failure(calls=WRITES, error="EIO", first=20, step=50)
DISK_IS_FULL = Failure(calls=WRITES, error="ENOSPC", first=20, step=50)

pytestmark = pytest.mark.parametrize("place", ["SQLite"], indirect=True)  # PostgreSQL's disk is PostgreSQL's affair


def test_a_mail_is_on_the_disk_before_it_is_promised_and_before_its_work_is_done(place: Place, tmp_path: Path) -> None:
    sink = Sink(Manners(faults=0, untold=0), place.folder / "ledger")
    configure(sink.port)
    orders, may_begin, is_done = Orders(name="only", count=PROMISES), CONTEXT.Event(), CONTEXT.Event()
    orders.notes(place.folder).touch()
    role = Role(work=promise_and_settle, arguments=(place, orders, may_begin, is_done))
    role.start()
    try:
        with Strace([role.pid], tmp_path / "calls") as strace:
            may_begin.set()
            assert is_done.wait(PATIENCE)
        threads = [told(calls, GOOD_NEWS, BAD_NEWS) for calls in strace.threads()]
    finally:
        role.end()
        sink.end()
    assert [early for thread in threads for early in thread.too_early] == []
    notes = orders.notes(place.folder).read_text()
    assert notes.count("promised") == PROMISES
    assert sum(thread.in_time for thread in threads) == PROMISES + notes.count("settled")


def promise_and_settle(place: Place, orders: Orders, may_begin: Event, is_done: Event) -> None:
    """In a process of its own, and in one thread: queue mails, then send them; note each promise and each group."""
    with child.begin(place).app_context():
        # That a server works for the first time is noted behind the mail, and is not promised to survive a power cut.
        email_service.send_email("first@example.com", "Subject", "Text")
        may_begin.wait()
        child.queue(place, orders)
        notes = os.open(orders.notes(place.folder), os.O_WRONLY | os.O_APPEND)
        while group := groups.claim_group("worker", place.pace):
            groups.work_off(group, place.pace)
            os.write(notes, b"settled\n")
    is_done.set()
    child.wait_for_ever()


def test_a_request_is_answered_once_it_is_on_the_disk(place: Place, tmp_path: Path) -> None:
    with serving(place, tmp_path, MAIL_SENDERS="0") as server, Strace(server.pids, tmp_path / "calls") as strace:
        assert set(ask(server, range(PROMISES))) == {200}
    threads = [told(calls, GOOD_NEWS, BAD_NEWS) for calls in strace.threads()]
    assert [early for thread in threads for early in thread.too_early] == []
    assert sum(thread.in_time for thread in threads) == PROMISES


def test_a_request_that_the_disk_did_not_take_is_answered_by_503(place: Place, tmp_path: Path) -> None:
    numbers = range(5 * FAILURES)
    with serving(place, tmp_path, MAIL_SENDERS="0") as server:
        with Strace(server.pids, tmp_path / "calls", SYNC_FAILS) as strace:
            statuses = ask(server, numbers)
        threads = [told(calls, GOOD_NEWS, BAD_NEWS) for calls in strace.threads()]
        for pid in server.pids:
            os.kill(pid, signal.SIGKILL)
    assert [early for thread in threads for early in thread.too_early] == []
    assert set(statuses) == {200, 503}
    assert strace.broken() >= FAILURES
    accepted = {address(number) for number, status in zip(numbers, statuses, strict=True) if status == 200}
    assert accepted <= asked_for()


@pytest.mark.parametrize(
    "failure", [SYNC_FAILS, DISK_IS_FULL, WRITE_FAILS] if ALL else [SYNC_FAILS, DISK_IS_FULL], ids=str
)
def test_a_disk_that_fails_now_and_then_loses_no_mail(place: Place, tmp_path: Path, failure: Failure) -> None:
    with Storm(place=place, seed=8, mails=20 * FAILURES) as storm:
        with Strace([role.pid for role in storm.roles], tmp_path / "calls", failure) as strace:
            storm.wait_for(0.7)  # what was never promised never arrives
        storm.drain()
    assert strace.broken() >= FAILURES
    # Only if the receipt beside the database fails as well, the worker forgets what the server said.
    verdict = storm.verdict(bound=strace.broken("fsync(") * GROUP)
    figures.settle(f"a disk's {failure.error}", storm, verdict, faults=strace.broken())


def ask(server: LiveServer, numbers: range) -> list[int]:
    """What the server answers when that many people forget their passwords, each at a place of their own."""
    statuses = []
    for number in numbers:
        browser = Browser(server, f"127.0.{1 + number // 200}.{1 + number % 200}")
        statuses.append(browser.post_form("/forgot-password", {"email": address(number)}).status)
    return statuses


def address(number: int) -> str:
    return f"{number}@example.com"


def asked_for() -> set[str]:
    """The addresses in the table."""
    with reading() as session:
        return set(session.scalars(select(ResetRequest.address)))
