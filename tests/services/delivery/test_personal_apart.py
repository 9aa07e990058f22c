"""Each account's mail and password go to its own server alone, however many send at once; a change counts at once.

A fraction of the figures; all of them with FAULTS=full in the environment.
"""

import contextvars
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from flask import Flask

from app import create_app
from database.engine import db, transaction
from database.smtp_db import SmtpConfig
from services import email_service
from services.accounts import accounts
from services.settings import configs, sealing
from services.smtp.settings import Security, SmtpSettings
from tests.long_run import ALL
from tests.outbox import drain
from tests.own_servers import PLACES, PORT, bring, decide, free_host
from tests.patience import PATIENCE
from tests.processes import CONTEXT
from tests.recording_server import RecordingServer
from tests.visitors import PASSWORD, mail_through, make_alice
from utils.secret import Secret

ACCOUNTS: Final = 50 if ALL else 20
THREADS: Final = 200 if ALL else 12  # SQLite has one writer, for whom each of them waits five seconds
MAILS: Final = 10 if ALL else 8  # of each thread, and as many queued
SENDERS: Final = 4


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    free = {"ACCOUNT_EMAILS_PER_MINUTE": "0", "ACCOUNT_EMAILS_PER_DAY": "0", "SMTP_ALLOW_PLAINTEXT_LOGIN": "true"}
    return {**environment, **PLACES, **free, "PERSONAL_SMTP_FALLBACK": "never"}


def login_of(account_id: int) -> tuple[str, str]:
    return f"user{account_id}", f"p4ss-{account_id}"


@pytest.fixture
def sinks(app: Flask) -> Iterator[dict[int, RecordingServer]]:
    """A server for each of many accounts, by their ids; each knows the login of its own account alone."""
    with ExitStack() as running:
        found = {}
        for number in range(ACCOUNTS):
            account_id = make(f"person{number}")
            users = dict([login_of(account_id)])
            sink = running.enter_context(RecordingServer(host=free_host(), port=PORT, users=users))
            bring(account_id, sink.host, sink.port, login=login_of(account_id))
            found[account_id] = sink
        yield found


def make(name: str) -> int:
    return accounts.create(name, f"{name}@example.com", PASSWORD).id


def in_threads(app: Flask, count: int, work: Callable[[int], object]) -> None:
    def within(number: int) -> None:
        with app.app_context():
            work(number)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda number: contextvars.Context().run(within, number), range(count)))


def assert_apart(sinks: dict[int, RecordingServer], expected: dict[int, int]) -> None:
    for account_id, sink in sinks.items():
        name, password = login_of(account_id)
        assert len(sink.mails) == expected[account_id]
        assert {mail.recipients for mail in sink.mails} <= {(f"to{account_id}@example.net",)}
        assert {mail.sender for mail in sink.mails} <= {f"own{account_id}@accounts.example"}
        assert {mail.login for mail in sink.mails} <= {name}
        said = {(each.username, each.password) for each in sink.auth_attempts}
        assert said <= {(name.encode(), password.encode())}
        others = [login_of(other)[1].encode() for other in sinks if other != account_id]
        assert not any(other + b"\r" in sink.data for other in others)


def test_no_mail_and_no_login_of_one_account_reaches_the_server_of_another(
    app: Flask, sinks: dict[int, RecordingServer]
) -> None:
    ids = list(sinks)
    plan = [[random.Random(number * MAILS + each).choice(ids) for each in range(MAILS)] for number in range(THREADS)]

    def work(number: int) -> None:
        for account_id in plan[number]:
            assert email_service.send_email(f"to{account_id}@example.net", "s", "b", account_id=account_id)
            email_service.queue_email(f"to{account_id}@example.net", "q", "b", account_id=account_id)

    in_threads(app, THREADS, work)
    in_threads(app, SENDERS, lambda _: drain())
    expected = {account_id: 2 * sum(row.count(account_id) for row in plan) for account_id in ids}
    assert_apart(sinks, expected)


def _put(account_id: int, **values: Any) -> None:
    """Save other values of an account's server, as its API does."""
    with transaction() as session:
        row = session.query(SmtpConfig).filter_by(account_id=account_id).one()
        settings = SmtpSettings(
            host=row.smtp_server, port=PORT, security=Security.NONE, from_email=row.from_email, timeout_seconds=2
        )
        settings = replace(settings, **values)
        configs._write(row, settings)
        sealing.seal(row, settings, kept=())
        row.version += 1


def _send_when_told(environment: dict[str, str], folder: str, account_id: int, orders: Any, results: Any) -> None:
    """Another process, which keeps its connections."""
    app = create_app(environment, instance_path=Path(folder))
    with app.app_context():
        while orders.get():
            sent = email_service.send_email("to@example.net", "s", "b", account_id=account_id)
            found = email_service.get_smtp_config(account_id)
            results.put((sent, found["server"] if found else None))


def test_an_update_and_a_delete_count_at_the_next_mail_in_every_process(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with ExitStack() as running:
        shared = running.enter_context(RecordingServer())
        first, second = (
            running.enter_context(RecordingServer(host=free_host(), port=PORT, users={"ann": "one", "bob": "two"}))
            for _ in range(2)
        )
        variables = {**environment, **mail_through(shared)}
        with create_app(variables, instance_path=tmp_path).app_context():
            alice = make_alice().id
            bring(alice, first.host, PORT, login=("ann", "one"))
            orders, results = CONTEXT.Queue(), CONTEXT.Queue()
            other = CONTEXT.Process(target=_send_when_told, args=(variables, str(tmp_path), alice, orders, results))
            other.start()

            def both() -> list[tuple[bool, str | None]]:
                orders.put(True)
                sent = email_service.send_email("to@example.net", "s", "b", account_id=alice)
                found = email_service.get_smtp_config(alice)
                return [results.get(timeout=PATIENCE), (sent, found["server"] if found else None)]

            try:
                assert both() == both() == [(True, first.host)] * 2
                assert len(first.mails) == 4
                _put(alice, host=second.host, username="ann", password=Secret("one"))
                assert both() == [(True, second.host)] * 2
                assert (len(first.mails), len(second.mails)) == (4, 2)
                _put(alice, username="bob", password=Secret("two"))  # no kept connection has this login
                assert both() == [(True, second.host)] * 2
                assert [mail.login for mail in second.mails[2:]] == ["bob", "bob"]
                _put(alice, username="bob", password=Secret("wrong"))
                assert both() == [(False, second.host)] * 2
                decide(alice, personal_smtp="global")
                assert both() == [(True, shared.host)] * 2
                decide(alice, personal_smtp="own")
                with transaction() as session:
                    session.query(SmtpConfig).filter_by(account_id=alice).delete()
                assert both() == [(True, shared.host)] * 2
                assert (len(first.mails), len(second.mails), len(shared.mails)) == (4, 4, 4)
            finally:
                orders.put(False)
                other.join()
                db.engine.dispose()
