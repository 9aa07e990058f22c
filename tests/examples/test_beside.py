"""Beside another application: emails in its transactions, and the whole of Sealpost below a path of it."""

import contextvars
import logging
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import Session
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client, TestResponse

import app as sealpost
from app import create_app, sealpost_context
from database.engine import reading
from database.outbox_db import OutboxMail
from services.email_service import queue_email
from tests.visitors import PASSWORD, make_alice
from utils.env_reader import ConfigurationError

ANN = "ann@example.com"


@pytest.fixture
def db() -> SQLAlchemy:
    return SQLAlchemy()


@pytest.fixture
def host(guest: Flask, db: SQLAlchemy, environment: dict[str, str]) -> Iterator[Flask]:
    """An application whose tables are in Sealpost's database, by an engine and a session of its own."""
    app = Flask("host")
    app.config["SQLALCHEMY_DATABASE_URI"] = environment["DATABASE_URL"]
    db.init_app(app)

    @app.post("/orders")
    def order() -> str:
        db.session.execute(text("INSERT INTO host_order VALUES ('a')"))
        for _ in range(int(request.form["mails"])):
            with sealpost_context(db.session) as session:
                queue_email(ANN, "Your order", "Thank you.", session=session)
        assert current_app.name == "host"
        if "fails" in request.form:
            raise LookupError
        db.session.commit()
        return "ordered"

    with app.app_context():
        db.session.execute(text("CREATE TABLE host_order (name TEXT)"))
        db.session.commit()
        yield app
        db.session.remove()
        db.engine.dispose()


def stored(guest: Flask) -> tuple[int, int]:
    """How many orders and how many emails there are."""
    with guest.app_context(), reading() as session:
        orders = session.scalar(text("SELECT count(*) FROM host_order")) or 0
        return orders, len(session.scalars(select(OutboxMail)).all())


@pytest.mark.parametrize("mails", [1, 3])
def test_an_email_goes_with_the_transaction_of_the_applications_session(host: Flask, guest: Flask, mails: int) -> None:
    assert host.test_client().post("/orders", data={"mails": mails}).text == "ordered"
    assert stored(guest) == (1, mails)
    assert host.test_client().post("/orders", data={"mails": mails, "fails": "1"}).status_code == 500
    assert stored(guest) == (1, mails)


def test_without_a_session_it_is_queued_at_once(guest: Flask) -> None:
    with sealpost_context() as session:
        assert session is None
        queue_email(ANN, "Hello", "Text")
    with guest.app_context(), reading() as own:
        assert len(own.scalars(select(OutboxMail)).all()) == 1


def test_a_plain_session_takes_an_email_along_and_what_fails_is_undone_without_it(host: Flask, guest: Flask) -> None:
    engine = create_engine(guest.config["SQLALCHEMY_DATABASE_URI"])
    with Session(engine) as session:
        session.execute(text("INSERT INTO host_order VALUES ('a')"))
        with sealpost_context(session) as joined:
            queue_email(ANN, "Hello", "Text", session=joined, idempotency_key="hello")
        with pytest.raises(LookupError), sealpost_context(session) as joined:
            queue_email(ANN, "Another", "Text", session=joined)
            raise LookupError
        assert stored(guest) == (0, 0)
        session.commit()
    engine.dispose()
    assert stored(guest) == (1, 1)


def test_a_session_that_has_not_begun_is_begun_and_not_committed(host: Flask, guest: Flask) -> None:
    engine = create_engine(guest.config["SQLALCHEMY_DATABASE_URI"])
    with Session(engine) as session:
        with sealpost_context(session) as joined:
            queue_email(ANN, "Hello", "Text", session=joined)
        session.rollback()
    engine.dispose()
    assert stored(guest) == (0, 0)


def test_a_session_on_another_database_is_refused_with_what_to_pass(guest: Flask) -> None:
    engine = create_engine("sqlite://")
    with (
        Session(engine) as session,
        pytest.raises(ConfigurationError, match=r"^session: Its database has no tables of Sealpost"),
        sealpost_context(session) as joined,
    ):
        queue_email(ANN, "Hello", "Text", session=joined)
    engine.dispose()


def test_what_is_no_session_is_refused(guest: Flask) -> None:
    with pytest.raises(TypeError, match=r"^session: Pass a Session"), sealpost_context("session"):  # type: ignore[arg-type]
        pass


def test_a_process_that_was_forked_uses_no_connection_of_its_parents(guest: Flask) -> None:
    with sealpost_context():
        queue_email(ANN, "Before", "Text")
    child = os.fork()
    if not child:
        with sealpost_context():
            queue_email(ANN, "After", "Text")
            os._exit(0 if current_app._get_current_object() is not guest else 1)  # type: ignore[attr-defined]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with guest.app_context(), reading() as session:
        assert len(session.scalars(select(OutboxMail)).all()) == 2


def test_threads_that_come_at_once_share_one(environment: dict[str, str], guest: Flask) -> None:
    sealpost._guest.cache_clear()
    with ThreadPoolExecutor(4) as threads:
        made = {id(each) for each in threads.map(lambda _: sealpost.guest(), range(4))}
    assert len(made) == 1


def test_what_was_forgotten_is_said_where_it_is_missing(host: Flask, db: SQLAlchemy) -> None:
    with pytest.raises(RuntimeError, match=r"the current one is host: call it inside `with sealpost_context\(\):`"):
        queue_email(ANN, "Hello", "Text")
    with sealpost_context(db.session), pytest.raises(ValueError, match=r"^session: Pass what `with sealpost_context"):
        queue_email(ANN, "Hello", "Text", session=db.session)


def test_the_applications_logging_stays_as_it_is(guest: Flask, environment: dict[str, str], tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.getLogger("werkzeug").level)
    create_app(environment, instance_path=tmp_path, is_guest=True)
    assert (list(root.handlers), root.level, logging.getLogger("werkzeug").level) == before


class Browser(Client):
    """A client whose requests share no ``g`` with the test."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        return contextvars.Context().run(super().open, *args, buffered=True, **kwargs)


@pytest.fixture
def mounted(environment: dict[str, str], tmp_path: Path) -> Iterator[Browser]:
    """A browser at an application that has Sealpost below /mail."""
    app = create_app({**environment, "BASE_URL": "http://localhost/mail"}, instance_path=tmp_path)
    host = Flask("host")
    host.add_url_rule("/", view_func=lambda: "the host's page", endpoint="home")
    with app.app_context():
        make_alice(is_admin=True)
        yield Browser(DispatcherMiddleware(host, {"/mail": app}))


def sign_in(browser: Browser) -> None:
    token = re.search(r'name="csrf_token" value="([^"]+)"', browser.get("/mail/login").text)
    assert token
    fields = {"login": "alice", "password": PASSWORD, "csrf_token": token[1]}
    answer = browser.post("/mail/login", data=fields)
    assert (answer.status_code, answer.location) == (303, "/mail/")
    assert {re.search("Path=([^;]*)", line)[1] for line in answer.headers.getlist("Set-Cookie")} == {"/mail"}  # type: ignore[index]


def test_below_a_path_people_sign_in_with_cookies_of_that_path_and_every_link_stays_below(mounted: Browser) -> None:
    sign_in(mounted)
    page = mounted.get("/mail/settings/smtp")
    assert page.status_code == 200
    links = set(re.findall(r'(?:href|src|action)="(/[^"]*)"', page.text))
    assert links
    assert {link for link in links if not link.startswith("/mail/")} == set()
    assert {mounted.get(link).status_code for link in links if "/static/" in link} == {200}


def test_below_a_path_lists_stay_current_and_the_api_answers(mounted: Browser) -> None:
    sign_in(mounted)
    live = mounted.get("/mail/emails/live")
    assert live.mimetype == "text/event-stream"
    assert "data:" in live.text
    assert mounted.get("/mail/api/settings/smtp/providers").status_code == 200
    assert mounted.get("/mail/healthz").text == "ok"


def test_the_application_around_it_is_as_it_was(mounted: Browser) -> None:
    assert mounted.get("/").text == "the host's page"
    assert "Content-Security-Policy" not in mounted.get("/").headers
    assert mounted.get("/settings/smtp").status_code == 404


def test_a_base_url_without_the_path_leads_out_of_it(environment: dict[str, str], tmp_path: Path) -> None:
    """Which is why docs/embedding.md asks for it."""
    app = create_app({**environment, "BASE_URL": "http://localhost"}, instance_path=tmp_path)
    with app.app_context():
        make_alice(is_admin=True)
    browser = Browser(DispatcherMiddleware(Flask("host"), {"/mail": app}))
    assert browser.get("/mail/login").status_code == 200
    cookies = browser.get("/mail/login").headers.getlist("Set-Cookie")
    assert all("Path=/;" in f"{line};" for line in cookies)
