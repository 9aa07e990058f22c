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

from tests.live_server import DATABASE, Answer, Browser, LiveServer, gunicorn, start
from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.scripted_server import Connection, ScriptedServer
from tests.secret_scanner import found_in
from tests.visitors import PASSWORD, Visitor

ROUNDS = 8
API_TEST = "/api/settings/smtp/test"
FORM = {
    "name": "Primary",
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


def rows(server: LiveServer) -> list[tuple[str, int, bool]]:
    """The From name and the version of each configuration, and whether it is the active one."""
    with closing(sqlite3.connect(server.folder / DATABASE)) as connection:
        return list(connection.execute("SELECT from_name, version, is_active FROM smtp_config ORDER BY id"))


class Pair:
    """The same person in two browsers, who posts two forms at the same moment."""

    def __init__(self, live: LiveServer) -> None:
        code = live.wait_for_output(r"Set-up code +((?:[A-Z2-9]{5}-?){4})")[1]
        self._browsers = [Browser(live, f"127.0.0.{number}") for number in (2, 3)]
        person = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
        assert self._browsers[0].post_form("/setup", {**person, "code": code}).status == 303
        login = {"login": "alice", "password": PASSWORD}
        assert self._browsers[1].post_form("/login", login).status == 303
        self._tokens = [browser.csrf_token("/account") for browser in self._browsers]

    def post(self, *forms: tuple[str, dict[str, str]]) -> list[Answer]:
        """The answers to both forms, each a path and its fields."""
        ready = threading.Barrier(2)

        def post(number: int) -> Answer:
            path, fields = forms[number]
            ready.wait(PATIENCE)
            return self._browsers[number].post(path, {**fields, "csrf_token": self._tokens[number]})

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(post, (0, 1)))


def statuses(answers: list[Answer]) -> list[int]:
    return [answer.status for answer in answers]


@pytest.fixture
def pair(live: LiveServer) -> Pair:
    return Pair(live)


def store(pair: Pair, live: LiveServer, *names: str) -> None:
    """Servers of these names, the first of which is active."""
    for name in names:
        fields = {**FORM, "name": name, "is_active": "1" if name == names[0] else ""}
        assert sorted(statuses(pair.post(("/settings/smtp/new", fields), ("/settings/smtp/new", fields)))) == [303, 422]
    assert [is_active for _, _, is_active in rows(live)] == [True] + [False] * (len(names) - 1)


def test_of_two_browsers_that_save_at_once_one_wins_and_the_other_is_told(live: LiveServer, pair: Pair) -> None:
    store(pair, live, "Primary")
    for version in range(1, ROUNDS + 1):
        typed = [f"{version} by {number}" for number in (0, 1)]
        forms = [("/settings/smtp/1", {**FORM, "from_name": name, "version": str(version)}) for name in typed]
        answers = pair.post(*forms)
        assert sorted(statuses(answers)) == [303, 409]
        winner = statuses(answers).index(303)
        assert rows(live) == [(typed[winner], version + 1, True)]
        loser = answers[1 - winner].text
        assert f'value="{typed[1 - winner]}"' in loser  # nothing typed is lost
        assert "Someone else has saved these settings." in loser


def test_of_two_first_saves_under_one_name_one_is_refused_at_the_name(live: LiveServer, pair: Pair) -> None:
    for number in range(1, ROUNDS + 1):
        typed = {**FORM, "name": f"Server {number}"}
        forms = [("/settings/smtp/new", {**typed, "from_name": f"{number} by {who}"}) for who in (0, 1)]
        answers = pair.post(*forms)
        assert sorted(statuses(answers)) == [303, 422]
        winner = statuses(answers).index(303)
        assert rows(live)[number - 1 :] == [(f"{number} by {winner}", 1, number == 1)]  # the others are asked about
        assert [is_active for _, _, is_active in rows(live)].count(True) == 1
        loser = answers[1 - winner].text
        assert "That name is already in use." in loser
        assert f'value="{number} by {1 - winner}"' in loser


def test_of_two_servers_that_are_activated_at_once_one_is_active(live: LiveServer, pair: Pair) -> None:
    store(pair, live, "Primary", "Second", "Third")
    for _ in range(ROUNDS):
        answers = pair.post(*[(f"/settings/smtp/{number}/activate", {"asked": "1"}) for number in (2, 3)])
        assert statuses(answers) == [303, 303]
        assert [is_active for _, _, is_active in rows(live)] in ([False, True, False], [False, False, True])


def test_a_server_that_is_deleted_while_it_is_saved_does_not_come_back(live: LiveServer, pair: Pair) -> None:
    for number in range(1, ROUNDS + 1):  # the id of a server that was deleted is not given again
        store(pair, live, "Primary")
        page = f"/settings/smtp/{number}"
        saved, deleted = statuses(pair.post((page, FORM), (f"{page}/delete", {})))
        assert (saved in (303, 404), deleted) == (True, 303)
        assert rows(live) == []


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
