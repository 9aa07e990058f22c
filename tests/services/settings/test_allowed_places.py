"""SMTP_ALLOWED_CIDRS and SMTP_ALLOWED_PORTS bind everybody: in saving, testing, sending and discovery."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from services import local_inbox
from services.checks import connection_test
from services.checks.connection_test import TestResult
from services.delivery.attempt import policy_for
from services.email_service import send_email
from services.settings import configs, route
from services.settings.fields import parse_change
from services.smtp import probe
from services.smtp.settings import Security, SmtpSettings
from tests.loopback import free_port
from tests.recording_server import RecordingServer
from tests.scripted_server import ScriptedServer
from tests.server_form import FORM, NEW
from tests.visitors import make_alice, visit
from utils.allowed_places import AllowedPlaces
from utils.env_reader import ConfigurationError
from utils.env_utils import EXTENSION, load_settings
from utils.errors import Fault, InvalidInput

ELSEWHERE = {"SMTP_ALLOWED_CIDRS": "192.0.2.0/24"}
OTHER_PORTS = {"SMTP_ALLOWED_PORTS": "465,587"}
ROW: dict[str, object] = {"name": "One", "use_tls": False, "from_email": "a@example.com", "is_active": True}


@contextmanager
def running(environment: dict[str, str], folder: Path, variables: dict[str, str]) -> Iterator[Flask]:
    app = create_app({**environment, **variables}, instance_path=folder)
    with app.app_context():
        yield app


def allowed(environment: dict[str, str], **variables: str) -> AllowedPlaces:
    return load_settings({**environment, **variables}).smtp_allowed


def leads(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> Callable[[], None]:
    answer = [(0, 0, 0, "", (address, 0)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    return monkeypatch.undo


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("SMTP_ALLOWED_CIDRS", value) for value in ("all", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8;192.0.2.0/24")),
        *(
            ("SMTP_ALLOWED_CIDRS", value)
            for value in ("10.0.0.0/8 192.0.2.0/24", "smtp.example.com", "10.*", ",", "10/8")
        ),
        *(("SMTP_ALLOWED_CIDRS", value) for value in ("10.0.0.0/8,", "fe80::%eth0/64", "[::1]", "2001:db8::1/32", "-")),
        *(("SMTP_ALLOWED_PORTS", value) for value in ("smtp", "65536", "-1", "587;465", "587 465", "600-500", "587.5")),
        *(("SMTP_ALLOWED_PORTS", value) for value in (",", "587,", "0", "25-", "-25", "25--26", "0x19", "*", "٥٨٧")),
    ],
)
def test_a_bad_value_stops_the_start_with_its_name_and_the_remedy(
    environment: dict[str, str], name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({**environment, name: value})
    line = str(caught.value)
    assert line.startswith(f"{name} must be ")
    assert "Correct it, or leave it empty." in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("cidrs", "address", "is_allowed"),
    [
        ("", "10.0.0.1", True),
        ("", "127.0.0.1", True),
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("10.0.0.0/8", "::ffff:11.0.0.1", False),
        ("::ffff:10.0.0.0/104", "10.0.0.1", True),
        ("192.0.2.5", "192.0.2.5", True),
        ("192.0.2.5", "192.0.2.6", False),
        (" 10.0.0.0/8 , 2001:db8::/32 ", "2001:db8::25", True),
        ("10.0.0.0/8", "2001:db8::25", False),
        ("0.0.0.0/0", "::1", False),
        ("10.0.0.0/8", "127.0.0.1", False),
        ("0.0.0.0/0,::/0", "169.254.169.254", False),
        ("169.254.0.0/16", "169.254.169.254", False),
        ("::/0", "64:ff9b::a9fe:a9fe", False),
        ("224.0.0.0/4", "224.0.0.1", False),
    ],
)
def test_an_address_is_allowed_within_the_networks_and_never_against_todays_rule(
    environment: dict[str, str], cidrs: str, address: str, is_allowed: bool
) -> None:
    assert (allowed(environment, SMTP_ALLOWED_CIDRS=cidrs).refusal(ip_address(address)) is None) is is_allowed


@pytest.mark.parametrize(
    ("ports", "port", "is_allowed"),
    [
        *(("", port, True) for port in (1, 25, 65535)),
        *(("465, 587,2500-2599", port, True) for port in (465, 587, 2500, 2525, 2599)),
        *(("465, 587,2500-2599", port, False) for port in (25, 466, 2499, 2600)),
    ],
)
def test_a_port_is_allowed_among_those_that_are_named(
    environment: dict[str, str], ports: str, port: int, is_allowed: bool
) -> None:
    assert (allowed(environment, SMTP_ALLOWED_PORTS=ports).refusal_of_port(port) == "") is is_allowed


ABROAD = [
    (ELSEWHERE, "127.0.0.1", 587, "smtp_server"),
    (ELSEWHERE, "::1", 587, "smtp_server"),
    (ELSEWHERE, "localhost", 587, "smtp_server"),
    (ELSEWHERE, "10.0.0.1", 587, "smtp_server"),
    (OTHER_PORTS, "192.0.2.1", 25, "smtp_port"),
    (OTHER_PORTS, "localhost", 2525, "smtp_port"),
]


@pytest.mark.parametrize("place", ABROAD)
@pytest.mark.parametrize("path", ["/api/settings/smtp", "/api/settings/smtp/configs"])
def test_an_administrators_token_saves_no_server_elsewhere(
    environment: dict[str, str],
    tmp_path: Path,
    bearer: dict[str, str],
    path: str,
    place: tuple[dict[str, str], str, int, str],
) -> None:
    variables, host, port, field = place
    with running(environment, tmp_path, variables) as app:
        body = {**ROW, "smtp_server": host, "smtp_port": port}
        answer = app.test_client().post(path, json=body, headers=bearer)
        assert answer.status_code == 422
        assert "SMTP_ALLOWED_" in answer.get_json()["errors"][field][0]
        assert configs.search() == []


@pytest.mark.parametrize("place", ABROAD)
def test_nor_does_the_form(
    environment: dict[str, str], tmp_path: Path, place: tuple[dict[str, str], str, int, str]
) -> None:
    variables, host, port, _ = place
    with running(environment, tmp_path, variables) as app:
        make_alice(is_admin=True)
        visitor = visit(app)
        visitor.sign_in()
        form = {**FORM, "smtp_server": host, "smtp_port": str(port)}
        answer = visitor.post_form(NEW, form)
        assert answer.status_code == 422
        assert "SMTP_ALLOWED_" in answer.text
        assert configs.search() == []


def test_a_server_within_is_saved_tested_and_used(environment: dict[str, str], tmp_path: Path) -> None:
    with RecordingServer() as server:
        variables = {"SMTP_ALLOWED_CIDRS": "127.0.0.0/8", "SMTP_ALLOWED_PORTS": str(server.port)}
        with running(environment, tmp_path, variables):
            configs.save(parse_change({**ROW, "smtp_server": "localhost", "smtp_port": server.port}))
            assert send_email("b@example.com", "Hello", "Text")


def test_a_name_that_cannot_be_looked_up_now_is_saved_and_judged_later(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(environment, tmp_path, ELSEWHERE):
        leads(monkeypatch)
        configs.save(parse_change({**ROW, "smtp_server": "smtp.example.com", "smtp_port": 587}))
        assert len(configs.search()) == 1


@pytest.mark.parametrize("variables", [ELSEWHERE, OTHER_PORTS], ids=["networks", "ports"])
def test_what_was_saved_before_is_neither_tested_nor_sent_through(
    environment: dict[str, str], tmp_path: Path, bearer: dict[str, str], variables: dict[str, str]
) -> None:
    with RecordingServer() as server:
        with running(environment, tmp_path, {}):
            configs.save(parse_change({**ROW, "smtp_server": "127.0.0.1", "smtp_port": server.port}))
        with running(environment, tmp_path, variables) as app:
            assert not send_email("b@example.com", "Hello", "Text")
            answer = app.test_client().post("/api/settings/smtp/test", headers=bearer)
            assert answer.status_code == 422
            assert "SMTP_ALLOWED_" in answer.get_json()["data"]["remedy"]
            off = app.test_client().post("/api/settings/smtp", json={"is_active": False}, headers=bearer)
            assert off.status_code == 200
        assert server.data == b""


@pytest.mark.parametrize("variables", [ELSEWHERE, OTHER_PORTS], ids=["networks", "ports"])
def test_the_server_of_env_is_bound_as_well(
    environment: dict[str, str], tmp_path: Path, variables: dict[str, str]
) -> None:
    with RecordingServer() as server:
        own = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(server.port), "EMAIL_USE_TLS": "false"}
        with running(environment, tmp_path, {**variables, **own, "DEFAULT_FROM_EMAIL": "a@example.com"}):
            assert not send_email("b@example.com", "Hello", "Text")
            assert "SMTP_ALLOWED_" in list(route.steps())[-1].reason
        assert server.data == b""


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is within, the next would lead to a server beside us."""
    with ScriptedServer() as server, running(environment, tmp_path, {"SMTP_ALLOWED_CIDRS": "127.0.0.2/32"}):
        answers = iter(["127.0.0.2", "127.0.0.1", "127.0.0.1"])
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (next(answers), 0))])
        result = result_of(
            SmtpSettings(host="mail.test", port=server.port, security=Security.NONE, from_email="a@b.test")
        )
        assert server.connections == []
        assert result.error
        assert result.error.fault is Fault.REFUSED


def test_of_a_name_that_leads_to_several_only_those_within_are_used(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer() as server, running(environment, tmp_path, {"SMTP_ALLOWED_CIDRS": "127.0.0.1"}):
        leads(monkeypatch, "127.0.0.9", "10.9.8.7", "127.0.0.1")
        result = result_of(
            SmtpSettings(host="mail.test", port=server.port, security=Security.NONE, from_email="a@b.test")
        )
        assert result.ok
        assert [str(result.peer and result.peer[0])] == ["127.0.0.1"]
        left_out = "127.0.0.9 is outside SMTP_ALLOWED_CIDRS; Sealpost does not connect to it, so it is not used"
        assert left_out in [step.fact for step in result.steps]


def result_of(settings: SmtpSettings) -> TestResult:
    *_, result = connection_test.stream(connection_test.plan(settings))
    assert isinstance(result, TestResult)
    return result


@pytest.mark.parametrize("variables", [ELSEWHERE, OTHER_PORTS], ids=["networks", "ports"])
def test_discovery_looks_nowhere_else(environment: dict[str, str], tmp_path: Path, variables: dict[str, str]) -> None:
    with ScriptedServer() as server, running(environment, tmp_path, variables):
        settings = SmtpSettings(host="127.0.0.1", port=server.port, security=Security.STARTTLS, from_email="a@b.test")
        ways = [(server.port, Security.STARTTLS), (server.port, Security.TLS)]
        assert probe.open_ways("127.0.0.1", ways, policy_for(settings, 5.0), 5.0) == []
        assert server.connections == []


def test_a_setting_that_is_refused_changes_nothing_of_what_is_stored(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with running(environment, tmp_path, OTHER_PORTS):
        stored = configs.save(parse_change({**ROW, "smtp_server": "192.0.2.1", "smtp_port": 587}))
        with pytest.raises(InvalidInput):
            configs.update(stored.row.id, parse_change({"smtp_port": 25}))
        assert configs.get(stored.row.id).settings.port == 587


def test_the_local_inbox_is_our_own_and_not_bound(environment: dict[str, str], tmp_path: Path) -> None:
    variables = {**ELSEWHERE, **OTHER_PORTS, "LOCAL_INBOX_PORT": str(free_port())}
    with running(environment, tmp_path, variables) as app:
        inbox = local_inbox.start(app.extensions[EXTENSION])
        try:
            assert send_email("b@example.com", "Hello", "Text")
        finally:
            local_inbox.stop(inbox)
            local_inbox.inbox.clear()
