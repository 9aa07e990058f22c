"""How long the mail log takes to answer one filter, or two, over very many emails."""

import random
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any, Final

import psycopg
from sqlalchemy import insert

from benchmarks.application import application
from benchmarks.databases import databases
from benchmarks.message import NOWHERE
from benchmarks.results import Goal, Result
from benchmarks.series import Effort
from database.engine import db, transaction
from database.mail_facets import key_of
from database.outbox_db import DEAD, OutboxMail, Priority, State
from services import address_key
from services.address_key import AddressKey
from services.outbox import searching
from services.outbox.reasons import Reason
from services.outbox.searching import MailFilter
from utils import clock

ROWS: Final = 1_000_000
ROWS_A_COMMIT: Final = 10_000
MOST_MS: Final = 50.0
_LEFT: Final = "Left (left.example.com:587)"
_RIGHT: Final = "Right (right.example.com:587)"


def search(engine: str, effort: Effort) -> Result:
    """Every filter and every two: of values that half of all emails have, of rare ones, and of ones that none has.

    Nothing that is of the one half is of the other, so that pairs of them find nothing among as many as there can be.
    """
    rows = ROWS if effort.is_full else ROWS // 20
    with databases(engine) as new, application(NOWHERE, new()):
        began = filled(rows)
        found = {told: _milliseconds(searching.find, wanted) for told, wanted in _filters(began)}
        counted = {told: _milliseconds(searching.count, wanted) for told, wanted in _filters(began)}
    figures = {
        "a page, median": statistics.median(found.values()),
        _slowest("a page", found): max(found.values()),
        "the count, median": statistics.median(counted.values()),
        _slowest("the count", counted): max(counted.values()),
    }
    what = f"{len(found)} searches by one filter or two over {rows:,} emails, {engine}"
    goals = [Goal("ms for the slowest page", max(found.values()), MOST_MS, True)]
    return Result(name=f"search-{engine.lower()}", what=what, unit="ms", figures=figures, goals=goals)


def _slowest(what: str, measured: dict[str, float]) -> str:
    return f"{what}, slowest ({max(measured, key=lambda each: measured[each])})"


def _milliseconds(ask: Callable[[MailFilter], Any], wanted: MailFilter) -> float:
    """The median of three times, the first of which nobody counts."""
    ask(wanted)
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        ask(wanted)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1000


def _filters(began: datetime) -> Iterator[tuple[str, MailFilter]]:
    values: dict[str, list[Any]] = {
        "recipient": ["left.example", "right.example", "rare@left.example", "none@left.example"],
        "tag": ["left", "right", "none"],
        "states": [(State.SENT,), (State.FAILED,), (State.DEFERRED, State.EXPIRED), (State.HELD,)],
        "server": [_LEFT, _RIGHT, "None"],
        "account_id": [1, 2, 3],
        "cause": [Reason.NO_RECIPIENT.value, Reason.MAILBOX_FULL.value, Reason.GREYLISTED.value],
        "since": [began, began + timedelta(days=29, hours=23), began + timedelta(days=400)],
        "until": [began + timedelta(hours=1), began + timedelta(days=400)],
        "message_id": ["<none@example.com>"],
    }
    yield "no filter", MailFilter()
    one = [(name, value) for name, each in values.items() for value in each]
    yield from ((_told(each), MailFilter(**dict([each]))) for each in one)
    for first, second in combinations(one, 2):
        if first[0] != second[0]:
            yield f"{_told(first)} and {_told(second)}", MailFilter(**dict([first, second]))


def _told(each: tuple[str, Any]) -> str:
    name, value = each
    return f"{name} {'/'.join(value) if isinstance(value, tuple) else value}"


def filled(rows: int) -> datetime:
    """Write so many emails of the last 30 days; when the first was queued."""
    with transaction() as session:
        key = address_key.find_or_make(session)
    began = clock.now() - timedelta(days=30)
    step = timedelta(days=30) / rows
    chosen = random.Random(1)  # the same emails each time
    for first in range(0, rows, ROWS_A_COMMIT):
        mails = [_mail(key, number, began + number * step, chosen) for number in range(first, first + ROWS_A_COMMIT)]
        with transaction(durable=False) as session:
            session.execute(insert(OutboxMail), mails)
    if db.engine.dialect.name == "postgresql":
        url = db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:  # by itself: engines of ours begin transactions
            connection.execute("VACUUM ANALYZE")  # as autovacuum would, some time later
    return began


def _mail(key: AddressKey, number: int, at: datetime, chosen: random.Random) -> dict[str, Any]:
    half, mail_id = number % 2, secrets.token_hex(16)
    side = ("left", "right")[half]
    state = chosen.choices([State.SENT, State.FAILED, State.DEFERRED, *DEAD[1:]], [70, 25, 2, 1, 1, 1])[0]
    address = f"{'rare' if number % 50_000 == 0 else f'to{number // 5}'}@{side}.example"
    found = address_key.numbers_of(key, [address])
    return {
        "mail_id": mail_id,
        "message_id": f"<{mail_id}@example.com>",
        "kind": "other",
        "account_id": half + 1,
        "priority": Priority.NORMAL,
        "state": state,
        "recipients": [{"address": address, "state": "accepted", "code": 250, "enhanced": "2.0.0"}],
        "key_id": "00000000",
        "created_at": at,
        "due_at": at,
        "expires_at": at + timedelta(days=3),
        "settled_at": None if state is State.DEFERRED else at,
        "tag": side,
        "reason": "" if state is State.SENT else (Reason.NO_RECIPIENT, Reason.MAILBOX_FULL)[half].value,
        "server_key": key_of((_LEFT, _RIGHT)[half]),
        "recipient_key": found.recipient_key,
        "domain_key": found.domain_key,
    }
