"""Several people at once: savers in separate processes, two tests side by side, a reader who goes away."""

import contextvars
import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.live_server import DATABASE, Browser, LiveServer, gunicorn, start
from tests.secret_scanner import found_in
from tests.smtp_servers import PATIENCE, Connection, ScriptedServer, free_port
from tests.visitors import PASSWORD, Visitor

ROUNDS = 8
API_TEST = "/api/settings/smtp/test"
FORM = {
    "smtp_server": "smtp.example.com",
    "smtp_port": "587",
    "security": "starttls",
    "from_email": "noreply@example.com",
    "timeout_seconds": "10",
    "is_active": "1",
}


@pytest.fixture
def live(tmp_path: Path, migrated_database: Path) -> Iterator[LiveServer]:
    """A gunicorn with two worker processes."""
    shutil.copy(migrated_database, tmp_path / DATABASE)
    port = free_port()
    command = gunicorn(port, "--workers", "2", "--threads", "2")
    with start(command, tmp_path, PORT=str(port), EMAIL_HOST="") as server:
        yield server


def row(server: LiveServer) -> tuple[str, int, int]:
    """The From name and the version of the one configuration, and how many there are."""
    with closing(sqlite3.connect(server.folder / DATABASE)) as connection:
        name, version, rows = connection.execute(
            "SELECT max(from_name), max(version), count(*) FROM smtp_config"
        ).fetchone()
    return name, version, rows


def test_of_two_browsers_that_save_at_once_one_wins_and_the_other_is_told(live: LiveServer) -> None:
    code = live.wait_for_output(r"One-time code +((?:[A-Z2-9]{5}-?){4})")[1]
    browsers = [Browser(live, f"127.0.0.{number}") for number in (2, 3)]
    person = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
    assert browsers[0].post_form("/setup", {**person, "code": code}).status == 303
    assert browsers[1].post_form("/login", {"login": "alice", "password": PASSWORD}).status == 303
    assert browsers[0].post_form("/settings/smtp", {**FORM, "from_name": "first"}).status == 303
    tokens = [browser.csrf_token("/account") for browser in browsers]

    def save(number: int, round_number: int) -> int:
        fields = {**FORM, "from_name": f"{round_number} by {number}", "version": str(round_number)}
        fields["csrf_token"] = tokens[number]
        ready.wait(PATIENCE)
        return browsers[number].post("/settings/smtp", fields).status

    with ThreadPoolExecutor(2) as pool:
        for round_number in range(1, ROUNDS + 1):
            ready = threading.Barrier(2)
            statuses = list(pool.map(save, (0, 1), (round_number, round_number)))
            assert sorted(statuses) == [303, 409]
            winner = statuses.index(303)
            assert row(live) == (f"{round_number} by {winner}", round_number + 1, 1)


def body_for(server: ScriptedServer, password: str) -> dict[str, Any]:
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False}
    return {**place, "smtp_username": "user", "smtp_password": password, "from_email": "noreply@example.com"}


def test_two_tests_at_once_do_not_disturb_each_other(client: Visitor, bearer: dict[str, str]) -> None:
    both_are_here = threading.Barrier(2)

    def meet(connection: Connection) -> None:
        both_are_here.wait(PATIENCE)
        connection.send(b"250-scripted.test\r\n250 AUTH LOGIN\r\n")

    refusal = ("334 VXNlcm5hbWU6", lambda connection: connection.line(), "535 5.7.8 no")
    with (
        ScriptedServer({"EHLO": meet}) as good,
        ScriptedServer({"EHLO": meet, "AUTH": refusal}) as bad,
        ThreadPoolExecutor(2) as pool,
    ):
        passwords = {"good": ["password-of-good"], "bad": ["password-of-bad"]}
        bodies = [body_for(good, *passwords["good"]), body_for(bad, *passwords["bad"])]
        answers = list(pool.map(lambda body: client.post(API_TEST, json=body, headers=bearer), bodies))
    assert [answer.status_code for answer in answers] == [200, 422]
    told = [[step["status"] for step in answer.get_json()["data"]["steps"]] for answer in answers]
    assert told[0].count("failed") == 0
    assert told[1][-1] == "failed"
    assert [len(server.connections) for server in (good, bad)] == [1, 1]
    assert found_in(good.received, passwords) == {"good"}
    assert found_in(bad.received, passwords) == set()
    assert "MAIL" in good.verbs
    assert "MAIL" not in bad.verbs


def test_a_reader_who_goes_away_ends_the_test(admin: Visitor, bearer: dict[str, str]) -> None:
    gone = threading.Event()

    def wait(connection: Connection) -> None:
        gone.wait(PATIENCE)
        connection.send(b"250-scripted.test\r\n250 AUTH PLAIN\r\n")

    def others() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "connection-test"}

    def read_one_line_and_leave() -> bytes:
        headers = {**bearer, "Accept": "application/x-ndjson"}
        body = body_for(server, "never-said")
        answer = FlaskClient.open(admin, API_TEST, method="POST", json=body, headers=headers, buffered=False)
        line = next(answer.iter_encoded())
        server.wait_for("EHLO")
        answer.close()
        return line

    before = others()
    with ScriptedServer({"EHLO": wait}) as server:
        line = contextvars.Context().run(read_one_line_and_leave)
        (conversing,) = others() - before
        gone.set()
        conversing.join(PATIENCE)
        assert not conversing.is_alive()
        server.wait_until_left()
        assert json.loads(line)["name"] == "settings"
        assert server.verbs == ["EHLO"]
