"""The local inbox as a step of the route: known to every process of the installation, and never somebody else."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import create_app
from services import local_inbox
from services.email_service import send_email
from services.settings import route
from services.settings.route import RouteStep
from tests.loopback import free_port
from tests.recording_server import RecordingServer
from tests.running import ROOT
from tests.scripted_server import ScriptedServer
from utils import inbox_place
from utils.env_utils import EXTENSION
from utils.inbox_place import InboxPlace

FIRST_ENV = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": "1025", "EMAIL_USE_TLS": "false"}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "LOCAL_INBOX_PORT": str(free_port())}


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    local_inbox.inbox.clear()
    local_inbox.inbox.mark = ""


@contextmanager
def listening(app: Flask) -> Iterator[None]:
    with app.app_context():
        running = local_inbox.start(app.extensions[EXTENSION])
        try:
            yield
        finally:
            local_inbox.stop(running)


def last_step() -> RouteStep:
    return list(route.steps())[-1]


def port_of(app: Flask) -> int:
    return int(app.extensions[EXTENSION].local_inbox_port)


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({}, id="nothing of it in .env"),
        pytest.param({"DEFAULT_FROM_EMAIL": "Shop <shop@example.com>"}, id="a sender"),
        pytest.param(FIRST_ENV, id="an .env of earlier"),
        pytest.param(FIRST_ENV | {"EMAIL_HOST": "localhost"}, id="by name"),
        pytest.param(FIRST_ENV | {"DEFAULT_FROM_EMAIL": "a@example.com"}, id="earlier, with a sender"),
    ],
)
def test_one_variable_is_enough(environment: dict[str, str], tmp_path: Path, variables: dict[str, str]) -> None:
    sender = {"DEFAULT_FROM_EMAIL": "noreply@sealpost.example"} if "EMAIL_HOST" in variables else {}
    app = create_app({**environment, **sender, **variables}, instance_path=tmp_path)
    with listening(app):
        step = last_step()
        assert (step.name, step.settings and step.settings.port) == ("Local inbox", port_of(app))
        assert send_email("b@example.com", "Hello", "Text")
        assert [mail.subject for mail in local_inbox.inbox.all()] == ["Hello"]


def test_mail_waits_while_nobody_has_the_inbox(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app(environment, instance_path=tmp_path)
    with app.app_context(), RecordingServer(port=port_of(app)) as stranger:
        assert (last_step().settings, last_step().reason) == (None, inbox_place.NOT_RUNNING)
        assert not send_email("b@example.com", "Hello", "Text")
        assert stranger.data == b""


@pytest.mark.parametrize("variables", [{}, FIRST_ENV], ids=["now", "an .env of earlier"])
def test_a_stranger_at_its_port_gets_no_mail_and_the_step_says_so(
    environment: dict[str, str], tmp_path: Path, variables: dict[str, str]
) -> None:
    app = create_app(
        {**environment, "DEFAULT_FROM_EMAIL": "a@example.com", **variables},
        instance_path=tmp_path,
    )
    with RecordingServer(port=port_of(app)) as stranger, listening(app):
        assert f"Its port {port_of(app)} is already in use by another program" in last_step().reason
        assert "LOCAL_INBOX_PORT" in last_step().reason
        assert last_step().is_broken
        assert not send_email("b@example.com", "Hello", "Text")
        assert stranger.data == b""


def test_two_installations_on_one_machine_do_not_get_each_others_mail(
    environment: dict[str, str], tmp_path: Path
) -> None:
    one = create_app(environment, instance_path=tmp_path)
    other = create_app({**environment, "APP_KEY": os.urandom(32).hex()}, instance_path=tmp_path)
    with listening(one), listening(other):  # of one folder, on one port
        assert not send_email("b@example.com", "Hello", "Text")
        assert "is already in use by another program" in last_step().reason
    assert local_inbox.inbox.all() == []


def test_a_second_process_of_one_installation_uses_the_inbox_of_the_first(
    environment: dict[str, str], tmp_path: Path
) -> None:
    app = create_app(environment, instance_path=tmp_path)
    beside = create_app({**environment, "LOCAL_INBOX_PORT": "1025"}, instance_path=tmp_path)
    with listening(app), listening(beside):
        settings = last_step().settings
        assert settings and settings.port == port_of(app)
        assert send_email("b@example.com", "Hello", "Text")


def test_a_command_in_another_process_finds_it_whatever_its_own_port_says(
    environment: dict[str, str], tmp_path: Path
) -> None:
    app = create_app(environment, instance_path=tmp_path)
    with listening(app):
        assert asked_by_a_command(environment, tmp_path) == ["Local inbox", port_of(app)]
    assert asked_by_a_command(environment, tmp_path) == ["Local inbox", None]


def asked_by_a_command(environment: dict[str, str], folder: Path) -> list[Any]:
    program = (
        "import json, sys; from pathlib import Path; from app import create_app; from services.settings import route\n"
        "environment, folder = json.loads(sys.argv[1]), Path(sys.argv[2])\n"
        "with create_app(environment, instance_path=folder).app_context():\n"
        "    step = list(route.steps())[-1]\n"
        "    print(json.dumps([step.name, step.settings and step.settings.port]))\n"
    )
    known = json.dumps({**environment, "LOCAL_INBOX_PORT": "1025"})
    run = subprocess.run(
        [sys.executable, "-c", program, known, str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found: list[Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def test_a_server_that_took_the_port_over_hears_of_no_mail(environment: dict[str, str], tmp_path: Path) -> None:
    """The step is as it was a moment ago, or its process runs in another network than the inbox."""
    app = create_app(environment, instance_path=tmp_path)
    with ExitStack() as stack:
        stack.enter_context(app.app_context())
        stranger = stack.enter_context(ScriptedServer())
        claim = inbox_place.claim(tmp_path, app.extensions[EXTENSION])
        assert claim
        stack.callback(claim.let_go)
        claim.tell(InboxPlace(port=stranger.port, mark=claim.mark))
        assert last_step().settings
        assert not send_email("b@example.com", "Hello", "Text")
        assert stranger.commands == []


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"port": 1}x', b'{"other": 1}'])
def test_a_file_that_nobody_holds_or_understands_names_no_inbox(
    environment: dict[str, str], tmp_path: Path, text: bytes
) -> None:
    settings = create_app(environment, instance_path=tmp_path).extensions[EXTENSION]
    claim = inbox_place.claim(tmp_path, settings)
    assert claim
    claim.tell(InboxPlace(port=1, mark="m"))
    [file] = tmp_path.glob("local-inbox-*")
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(text)
    assert inbox_place.find(tmp_path, settings) is None
    file.write_text('{"port": 1025, "mark": "m", "fault": ""}')
    assert inbox_place.find(tmp_path, settings) is not None
    claim.let_go()
    file.write_text('{"port": 1025, "mark": "m", "fault": ""}')  # as after a crash
    assert inbox_place.find(tmp_path, settings) is None
    again = inbox_place.claim(tmp_path, settings)
    assert again
    again.let_go()


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"DEFAULT_FROM_EMAIL": "nobody"}, "DEFAULT_FROM_EMAIL in .env"),
        ({"LOCAL_INBOX_PORT": "0"}, "EMAIL_HOST is not set."),
        ({"APP_ENV": "production", "BASE_URL": "https://app.example.com"}, "EMAIL_HOST is not set."),
        ({"EMAIL_HOST": "smtp.example.com"}, "DEFAULT_FROM_EMAIL in .env"),
    ],
)
def test_it_serves_only_in_development_where_nothing_else_is_set_up(
    environment: dict[str, str], tmp_path: Path, variables: dict[str, str], reason: str
) -> None:
    app = create_app({**environment, **variables}, instance_path=tmp_path)
    with listening(app):
        assert last_step().settings is None
        assert reason in last_step().reason


def test_a_server_of_its_own_at_the_usual_port_is_a_server(environment: dict[str, str], tmp_path: Path) -> None:
    login = {"EMAIL_HOST_USER": "u", "EMAIL_HOST_PASSWORD": "p", "DEFAULT_FROM_EMAIL": "a@example.com"}
    with create_app({**environment, **FIRST_ENV, **login}, instance_path=tmp_path).app_context():
        assert last_step().name == ".env"
    switched_off = {"LOCAL_INBOX_PORT": "0", "DEFAULT_FROM_EMAIL": "a@example.com"}
    with create_app({**environment, **FIRST_ENV, **switched_off}, instance_path=tmp_path).app_context():
        assert last_step().name == ".env"
