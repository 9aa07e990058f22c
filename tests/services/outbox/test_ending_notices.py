"""People are told 30, 7 and 1 days before something about a server ends, and once it has: each once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Final

import pytest
from flask import Flask
from sqlalchemy import func, select, text

from app import create_app
from database.end_notice_db import EndNotice
from database.engine import db, reading, transaction
from services.accounts import administration
from services.oauth.providers import Grant, OAuthProvider
from services.oauth.registration import Registration
from services.outbox import ending_notices, template_mail
from services.settings import configs
from services.settings.fields import parse_change
from services.settings.sealing import StoredConfig
from services.smtp.habits import Habit, habits_of
from services.worker import groups
from tests import own_servers
from tests.outbox import drain
from tests.recording_server import RecordingServer
from tests.signed_in_by_token import register
from tests.turned_clock import Now
from tests.visitors import mail_through, make_alice, make_bob, subject_of, text_of
from utils import clock
from utils.secret import Secret

DAY: Final = timedelta(days=1).total_seconds()
ENDS_ON: Final = date(2027, 3, 1)
UNTOLD: Final = (40, 31, 0)


@pytest.fixture
def environment(environment: dict[str, str], server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(server) | own_servers.PLACES


@pytest.fixture
def config(app: Flask, now: Now, server: RecordingServer) -> StoredConfig:
    """An active server with a client secret that ends; Alice administrates it."""
    make_alice(is_admin=True)
    return stored("Shop", server, ends_on=ENDS_ON)


def stored(name: str, server: RecordingServer, *, ends_on: date, is_active: bool = True) -> StoredConfig:
    place = {"smtp_server": "127.0.0.1", "smtp_port": server.port, "use_tls": False, "use_ssl": False}
    change = {"name": name, "from_email": "shop@example.com", "is_active": is_active}
    config = configs.create(parse_change(place | change))
    ends(config.id, ends_on)
    return config


def ends(config_id: int, ends_on: date) -> None:
    """Somebody enters a client secret with its last day."""
    register(
        config_id,
        Registration(
            provider=OAuthProvider.CUSTOM,
            way=Grant.CLIENT_CREDENTIALS,
            token_url="https://id.example/token",
            scope="mail",
            client_id="sealpost",
            client_secret=Secret("s3cret canary"),
            secret_ends_on=ends_on,
        ),
    )


def told_at(now: Now, server: RecordingServer, *days_left: int, ends_on: date = ENDS_ON) -> list[int]:
    """On which of these days, as many before the end, a worker that looks twice has a mail told."""
    found: list[int] = []
    for left in days_left:
        day = ends_on - timedelta(days=left)
        for hour in (1, 23):
            now.moment = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
            before = len(server.mails)
            ending_notices.tell_due()
            drain()
            found += [left] * (len(server.mails) - before)
    return found


def test_each_notice_comes_on_its_day_and_once(config: StoredConfig, now: Now, server: RecordingServer) -> None:
    assert told_at(now, server, *range(40, -40, -1)) == [30, 7, 1, -1]
    assert {mail.recipients for mail in server.mails} == {("alice@example.com",)}


@pytest.mark.parametrize(
    ("days", "told"),
    [
        ((31, 29, 28), [29]),
        ((31, 5, 4, 3), [5]),
        ((31, 1, 0, -1), [1, -1]),
        ((40, 0, -3, -4), [-3]),
        ((6, 2, 1), [6, 1]),
        ((12, -50, -51), [12, -50]),
        (UNTOLD, []),
    ],
)
def test_where_no_process_ran_on_the_day_the_next_that_fits_is_told_and_no_other(
    config: StoredConfig, now: Now, server: RecordingServer, days: tuple[int, ...], told: list[int]
) -> None:
    assert told_at(now, server, *days) == told


def test_another_last_day_is_told_of_from_the_beginning(
    config: StoredConfig, now: Now, server: RecordingServer
) -> None:
    assert told_at(now, server, 20) == [20]
    later = ENDS_ON + timedelta(days=30)
    ends(config.id, later)
    assert told_at(now, server, 32, 30, 7, 1, 0, -1, ends_on=later) == [30, 7, 1, -1]
    ends(config.id, ENDS_ON)  # a slip, put right: what was told of that day is not told again
    assert told_at(now, server, 20) == []


def test_the_notice_says_what_ends_and_what_to_do_and_nothing_secret(
    config: StoredConfig, now: Now, server: RecordingServer
) -> None:
    told_at(now, server, 30, -1)
    before, after = server.mails
    assert subject_of(before) == "OpenAlgo: mail server Shop: client secret expires on 2027-03-01"
    assert subject_of(after) == "OpenAlgo: mail server Shop: client secret has expired"
    for fact in (
        "The client secret expires on 2027-03-01 UTC.",
        "Create a new one at the provider and enter it before that day.",
        "Shop (127.0.0.1)",
        f"http://localhost:5000/settings/smtp/{config.id}/connect\r\n",
        "30 days, 7 days and 1 day before",
    ):
        assert fact in text_of(before)
    assert "expired on 2027-03-01 UTC" in text_of(after)
    assert "before the end" not in text_of(after)
    assert b"canary" not in before.content + after.content


def test_a_mail_that_could_not_go_in_time_is_not_sent_on_the_day_itself(
    config: StoredConfig, now: Now, server: RecordingServer
) -> None:
    now.moment = datetime(2027, 2, 28, 23, 59, tzinfo=UTC)
    ending_notices.tell_due()
    now.moment = datetime(2027, 3, 1, tzinfo=UTC)
    drain()
    assert server.mails == []


def test_every_administrator_is_told_and_no_one_else(config: StoredConfig, now: Now, server: RecordingServer) -> None:
    bob = make_bob(is_admin=True)
    administration.invite("carol", "carol@example.com")
    drain()
    server.mails.clear()
    told_at(now, server, 30)
    assert {mail.recipients[0] for mail in server.mails} == {"alice@example.com", "bob@example.com"}
    administration.disable(bob.id)
    server.mails.clear()
    told_at(now, server, 7)
    assert [mail.recipients[0] for mail in server.mails] == ["alice@example.com"]


def test_while_nobody_is_there_to_be_told_a_notice_is_not_used_up(
    app: Flask, now: Now, server: RecordingServer
) -> None:
    stored("Shop", server, ends_on=ENDS_ON)
    assert told_at(now, server, 30) == []
    make_alice(is_admin=True)
    assert told_at(now, server, 29) == [29]


def test_a_server_that_no_mail_goes_through_is_told_of_once_it_is_active(
    app: Flask, now: Now, server: RecordingServer
) -> None:
    make_alice(is_admin=True)
    config = stored("Spare", server, ends_on=ENDS_ON, is_active=False)
    assert told_at(now, server, 30, 8) == []
    configs.activate(config.id)
    assert told_at(now, server, 8, 7) == [8, 7]


def test_the_server_of_env_is_told_of_as_well(app: Flask, now: Now, server: RecordingServer) -> None:
    make_alice(is_admin=True)
    now.moment = datetime(2027, 2, 25, tzinfo=UTC)
    habits_of("127.0.0.1", server.port).learn(Habit.CERTIFICATE, f"{ENDS_ON}")
    ending_notices.tell_due()
    drain()
    (mail,) = server.mails
    assert subject_of(mail) == "OpenAlgo: mail server .env: the server’s certificate expires on 2027-03-01"
    assert "http://localhost:5000/settings/smtp\r\n" in text_of(mail)


def test_what_ends_of_the_active_server_is_not_told_again_of_the_same_one_in_env(
    app: Flask, now: Now, server: RecordingServer
) -> None:
    make_alice(is_admin=True)
    stored("Shop", server, ends_on=ENDS_ON)
    now.moment = datetime(2027, 2, 25, tzinfo=UTC)
    habits_of("127.0.0.1", server.port).learn(Habit.CERTIFICATE, f"{ENDS_ON}")
    ending_notices.tell_due()
    drain()
    told = sorted(subject_of(mail) for mail in server.mails)
    assert told == [
        "OpenAlgo: mail server Shop: client secret expires on 2027-03-01",
        "OpenAlgo: mail server Shop: the server’s certificate expires on 2027-03-01",
    ]


@pytest.mark.parametrize(
    ("decision", "is_told"), [({}, True), ({"personal_smtp": "disabled"}, False), ({"personal_smtp": "global"}, False)]
)
def test_of_an_own_server_its_account_is_told_while_it_is_used(
    app: Flask, now: Now, server: RecordingServer, decision: dict[str, str], is_told: bool
) -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    config_id = own_servers.bring(bob.id, "127.0.0.1", own_servers.PORT)
    ends(config_id, ENDS_ON)
    if decision:
        own_servers.decide(bob.id, **decision)
    assert told_at(now, server, 30) == ([30] if is_told else [])
    for mail in server.mails:
        assert mail.recipients == ("bob@example.com",)
        assert subject_of(mail) == "OpenAlgo: your mail server: client secret expires on 2027-03-01"
        assert "http://localhost:5000/account/smtp/connect\r\n" in text_of(mail)


def test_a_disabled_account_is_told_nothing(app: Flask, now: Now, server: RecordingServer) -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    ends(own_servers.bring(bob.id, "127.0.0.1", own_servers.PORT), ENDS_ON)
    own_servers.decide(bob.id, disabled_at=clock.now())
    assert told_at(now, server, 30) == []


def test_what_was_told_goes_with_the_server(config: StoredConfig, now: Now, server: RecordingServer) -> None:
    told_at(now, server, 30)
    configs.delete(config.id)
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(EndNotice)) == 0


def test_one_that_cannot_be_told_of_holds_up_no_other_and_is_told_later(
    config: StoredConfig, now: Now, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now.moment = datetime(2027, 2, 25, tzinfo=UTC)
    last_day = ENDS_ON + timedelta(days=1)  # behind the secret
    habits_of("127.0.0.1", server.port).learn(Habit.CERTIFICATE, f"{last_day}")
    queue = template_mail.queue

    def broken(*arguments: object, **values: object) -> str | None:
        if "client secret" in str(values["headline"]):
            raise OSError("the disk is full")
        return queue(*arguments, **values)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(template_mail, "queue", broken)
        ending_notices.tell_due()
        drain()
    assert {subject_of(mail).split(": ")[2][:10] for mail in server.mails} == {"the server"}
    server.mails.clear()
    ending_notices.tell_due()
    drain()
    assert [subject_of(mail).split(": ")[2][:10] for mail in server.mails] == ["client sec"]


def test_a_worker_looks_when_it_tidies(config: StoredConfig, now: Now, server: RecordingServer) -> None:
    now.moment = datetime(2027, 2, 25, tzinfo=UTC)
    groups.tidy()
    drain()
    assert len(server.mails) == 1


@pytest.fixture
def on_database(on_either: dict[str, str], server: RecordingServer, tmp_path: Path) -> Iterator[Flask]:
    """The application on one database, then on the other, with Alice and an active server whose secret ends."""
    app = create_app(on_either | mail_through(server), instance_path=tmp_path)
    with app.app_context():
        yield app
        with transaction() as session:
            for table in ("email_outbox", "email_attempt", "smtp_config", "account"):
                session.execute(text(f"DELETE FROM {table}"))
        db.engine.dispose()


def test_of_many_processes_at_once_one_tells(on_database: Flask, server: RecordingServer) -> None:
    make_alice(is_admin=True)
    stored("Shop", server, ends_on=clock.now().date() + timedelta(days=5))
    go = Barrier(8)

    def look() -> None:
        with on_database.app_context():
            go.wait()
            ending_notices.tell_due()

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(look) for _ in range(8)]:
            done.result()
    ending_notices.tell_due()
    drain()
    assert len(server.mails) == 1
