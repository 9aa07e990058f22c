"""Two processes at the same configurations at once: one is active at every moment, and no mail is lost to a switch.

A tenth of the figures of the fault plan; all of them with FAULTS=full in the environment.
"""

import base64
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import select

from app import create_app
from database.attempt_db import EmailAttempt
from database.engine import db, reading
from services import audit, email_service
from services.settings import configs, named
from tests import postgresql_server
from tests.conftest import APP_KEY
from tests.long_run import ALL
from tests.patience import PATIENCE
from tests.processes import CONTEXT
from tests.recording_server import RecordingServer
from tests.scripted_server import Connection, ScriptedServer
from utils.errors import Conflict, InvalidInput, NotFound

RACES = 100 if ALL else 10
FLIPS = 200 if ALL else 20
MAILS_BETWEEN_FLIPS = 10
PLACE = {"smtp_server": "smtp.example.com", "from_email": "noreply@example.com"}


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with postgresql_server.running() as url:
        environment = {"APP_KEY": APP_KEY, "APP_ENV": "development", "DATABASE_URL": url, "LOCAL_INBOX_PORT": "0"}
        with create_app(environment, instance_path=tmp_path_factory.mktemp("instance")).app_context():
            upgrade()
            db.engine.dispose()
        yield environment


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of an application on either database, in whose context the test runs."""
    fixture = "environment" if request.param == "SQLite" else "postgresql"
    environment: dict[str, str] = request.getfixturevalue(fixture)
    with create_app(environment, instance_path=tmp_path).app_context():
        for stored in configs.search():
            configs.delete(stored.row.id)
        yield environment
        db.engine.dispose()


@dataclass(frozen=True)
class Racer:
    """A process that lives as long as the module's tests and does what it is told, at the signal of all."""

    process: Any
    pipe: Any

    def start(self, work: Any, environment: dict[str, str], argument: Any, times: int) -> None:
        self.pipe.send((work, environment, argument, times))

    def heard(self) -> Any:
        assert self.pipe.poll(PATIENCE), "a process is silent"
        return self.pipe.recv()


@pytest.fixture(scope="module")
def racers() -> Iterator[list[Racer]]:
    barrier = CONTEXT.Barrier(2, timeout=PATIENCE)
    pipes = [CONTEXT.Pipe() for _ in range(2)]
    started = [Racer(CONTEXT.Process(target=_obey, args=(theirs, barrier)), ours) for ours, theirs in pipes]
    for racer in started:
        racer.process.start()
    yield started
    for racer in started:
        racer.pipe.send(None)
        racer.process.join(PATIENCE)


def _obey(pipe: Any, barrier: Any) -> None:
    while (task := pipe.recv()) is not None:
        work, environment, argument, times = task
        with create_app(environment).app_context():
            pipe.send([work(argument, barrier, pipe) for _ in range(times)])
            db.engine.dispose()


def race(racers: list[Racer], work: Any, environment: dict[str, str], arguments: list[Any]) -> list[Any]:
    """Let each process do ``work`` RACES times, each time both at once; what it returned."""
    for racer, argument in zip(racers, arguments, strict=True):
        racer.start(work, environment, argument, RACES)
    return [racer.heard() for racer in racers]


def _activate(arguments: tuple[int, bool], barrier: Any, _pipe: Any) -> tuple[str, list[str]]:
    """How the switch to this configuration ended, and what is active once everybody is through."""
    config_id, says_version = arguments
    version = configs.get(config_id).row.version if says_version else None
    barrier.wait()
    try:
        configs.activate(config_id, version=version)
        ended = "switched"
    except Conflict:
        ended = "stale"
    barrier.wait()
    active = [stored.row.name for stored in configs.search(active=True)]
    barrier.wait()
    return ended, active


@pytest.mark.parametrize("says_version", [False, True], ids=["whatever the version", "by version"])
def test_of_two_processes_that_activate_different_ones_at_once_one_is_active(
    racers: list[Racer], either: dict[str, str], says_version: bool
) -> None:
    before = switches()
    ids = [named.create_config(name, **PLACE).row.id for name in ("One", "Two")]
    first, second = race(racers, _activate, either, [(config_id, says_version) for config_id in ids])
    for (ended, active), (other_ended, other_active) in zip(first, second, strict=True):
        assert len(active) == 1
        assert active == other_active
        assert "switched" in (ended, other_ended)
    if not says_version:
        assert {ended for ended, _ in first + second} == {"switched"}
    switched = switches() - before
    assert switched["activated"] == switched["deactivated"] + 1


def switches() -> Counter[str]:
    """What the trail tells, by kind."""
    return Counter(event.action for event in audit.events(limit=10_000))


def _create(name: str, barrier: Any, _pipe: Any) -> tuple[str, int]:
    barrier.wait()
    try:
        named.create_config(name, **PLACE, is_active=True)
        ended = "created"
    except InvalidInput as error:
        ended = ", ".join(error.errors)
    barrier.wait()
    active = len(configs.search(active=True))
    barrier.wait()
    for stored in configs.search():
        try:
            configs.delete(stored.row.id)
        except NotFound:  # the other process was faster
            continue
    barrier.wait()
    return ended, active


def test_of_two_processes_that_create_the_same_name_at_once_one_does_and_the_other_is_told(
    racers: list[Racer], either: dict[str, str]
) -> None:
    first, second = race(racers, _create, either, ["Backup", "BACKUP"])
    for (ended, active), (other_ended, other_active) in zip(first, second, strict=True):
        assert sorted([ended, other_ended]) == ["created", "name"]
        assert (active, other_active) == (1, 1)


def test_of_two_processes_that_create_active_ones_at_once_one_is_active(
    racers: list[Racer], either: dict[str, str]
) -> None:
    first, second = race(racers, _create, either, ["One", "Two"])
    assert first == second == [("created", 1)] * RACES


def test_deleting_a_configuration_under_way_lets_its_mail_arrive(app: Flask) -> None:
    deleted = threading.Event()

    def wait(_connection: Connection) -> None:
        deleted.wait(PATIENCE)

    with ScriptedServer({"DATA": (wait, "354 go ahead")}) as server:
        stored = named.create_config(
            "One", **PLACE | {"smtp_server": server.host}, smtp_port=server.port, use_tls=False, is_active=True
        )

        def send() -> bool:
            with app.app_context():
                return email_service.send_email("a@example.com", "s", "b")

        with ThreadPoolExecutor(1) as thread:
            sending = thread.submit(send)
            server.wait_for("DATA")
            configs.delete(stored.row.id)
            deleted.set()
            assert sending.result(PATIENCE) is True
    with reading() as session:
        assert session.scalars(select(EmailAttempt.config_id)).all() == [stored.row.id]
    assert configs.search() == []


def _send(mails: int, _barrier: Any, pipe: Any) -> None:
    """Send one mail after the other and tell of each; the last one only when asked to."""
    for number in range(mails):
        pipe.send(email_service.send_email("a@example.com", f"mail {number}", "b"))
    pipe.recv()
    pipe.send(email_service.send_email("a@example.com", "the last", "b"))


def test_flipping_between_two_servers_under_load_loses_no_mail_and_mixes_no_password(
    racers: list[Racer], app: Flask, environment: dict[str, str]
) -> None:
    passwords = {"One": "s3cret-of-one", "Two": "s3cret-of-two"}
    with (
        RecordingServer(users={"user": passwords["One"]}) as one,
        RecordingServer(users={"user": passwords["Two"]}) as two,
    ):
        servers = {"One": one, "Two": two}
        for name, server in servers.items():
            named.create_config(
                name,
                smtp_server=server.host,
                smtp_port=server.port,
                use_tls=False,
                smtp_username="user",
                smtp_password=passwords[name],
                from_email=f"{name.lower()}@example.com",
                failover=False,
                is_active=True,
            )
        sender, results, mails = racers[0], [], FLIPS * MAILS_BETWEEN_FLIPS
        sender.start(_send, environment, mails, times=1)
        for flip in range(FLIPS):
            named.activate_config(("One", "Two")[flip % 2])
            results += [sender.heard() for _ in range(MAILS_BETWEEN_FLIPS)]
        named.activate_config("One")
        sender.pipe.send("go")
        results.append(sender.heard())
        sender.heard()
        assert results == [True] * (mails + 1)
        assert len(one.mails) + len(two.mails) == mails + 1
        assert b"Subject: the last" in one.mails[-1].content
    for name, other in (("One", "Two"), ("Two", "One")):
        server = servers[name]
        assert server.mails
        assert {mail.sender for mail in server.mails} == {f"{name.lower()}@example.com"}
        assert {attempt.password for attempt in server.auth_attempts} == {passwords[name].encode()}
        foreign = passwords[other].encode()
        for encoded in (foreign, base64.b64encode(foreign), base64.b64encode(b"\0user\0" + foreign)):
            assert encoded not in server.data
