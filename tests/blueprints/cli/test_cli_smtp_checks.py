"""`flask smtp test`, `route` and `validate`: their words, their exit codes, and nothing secret among them."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from app import create_app
from blueprints.cli.frame import NOT_WELL
from services import audit
from services.accounts import administration
from services.audit import Action
from services.checks import connection_test
from services.settings import configs, personal_route
from services.settings.fields import parse_change
from services.settings.personal_policy import Fallback
from tests import certificates
from tests.loopback import free_port
from tests.own_servers import PLACES, PORT, bring, change
from tests.recording_server import RecordingServer
from tests.scripted_server import ScriptedServer, close, late
from tests.visitors import mail_through, make_alice, make_bob
from utils.version import VERSION

SECRET = "p4ssw0rd-of-the-server"
NAME = "Primary Mail Server"


def run(app: Flask, *words: str) -> Result:
    return app.test_cli_runner().invoke(args=["smtp", *words])


def store(host: str, port: int, **more: object) -> None:
    login = {"smtp_username": "user", "smtp_password": SECRET}
    fields = {"name": NAME, "smtp_server": host, "smtp_port": port, "use_tls": False, "is_active": True}
    configs.create(parse_change({**fields, "from_email": "noreply@example.com", **login, **more}))


def test_a_right_server_gives_the_specified_lines_and_exit_code_0(app: Flask) -> None:
    with RecordingServer(users={"user": SECRET}) as server:
        store(server.host, server.port)
        result = run(app, "validate", "--test-email", "admin@example.com")
        assert result.stdout.startswith(
            "1. Checking Email/SMTP Configuration...\n"
            "   ℹ Using SMTP config from database: Primary Mail Server\n"
            "   ✓ SMTP configuration looks valid\n"
            "\n"
            "   Testing SMTP connection...\n"
            "   ✓ Test email sent successfully to admin@example.com\n"
            "\n"
            "2. "
        )
        assert (result.exit_code, result.stderr) == (0, "")
        assert server.mails[0].recipients == ("admin@example.com",)


def test_env_stands_where_the_specification_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    with RecordingServer() as server:
        app = create_app({**environment, **mail_through(server)}, instance_path=tmp_path)
        lines = run(app, "validate", "--test-email", "admin@example.com").stdout.splitlines()
        assert lines[1] == "   ℹ Using SMTP config from .env"
        assert lines[5] == "   ✓ Test email sent successfully to admin@example.com"


def test_a_wrong_password_gives_the_remedy_and_exit_code_3(app: Flask) -> None:
    with RecordingServer(users={"user": "another password"}) as server:
        store(server.host, server.port)
        result = run(app, "validate", "--test-email", "admin@example.com")
    lines = result.stdout.splitlines()
    assert lines[5] == "   ✗ Authentication failed"
    assert lines[6].startswith("     Check both, including spaces")
    assert "The server said: 535 5.7.8" in lines[6]
    assert result.exit_code == 3
    assert SECRET not in result.output


def test_a_dead_server_is_told(app: Flask) -> None:
    store("127.0.0.1", free_port())
    result = run(app, "validate", "--test-email", "admin@example.com")
    told = result.stdout.partition("   ✗ Could not connect to server\n     Check ")[2]
    assert told.startswith(
        ("the server name, and that the server is running", "server name and port (usually 587 or 465)")
    )
    assert result.exit_code == 3


def test_an_absent_server_is_told_by_the_test_and_by_dns(app: Flask) -> None:
    store("nowhere.example", 587, use_tls=True)
    result = run(app, "validate")
    assert result.stdout.count("Check the server name for typos") == 2
    assert result.exit_code == 3


def test_no_server_at_all_is_told(app: Flask) -> None:
    result = run(app, "validate")
    assert "   ✗ SMTP not configured\n" in result.stdout
    assert result.exit_code == 3


def test_the_validation_is_numbered_from_1_to_6(app: Flask) -> None:
    lines = run(app, "validate").stdout.splitlines()
    headings = [line for line in lines if line[:1].isdigit()]
    assert [line.split(". ")[0] for line in headings] == ["1", "2", "3", "4", "5", "6"]


def test_the_validation_as_json_says_what_holds(app: Flask) -> None:
    result = run(app, "validate", "--json")
    told = json.loads(result.stdout)
    assert (told["ok"], result.exit_code) == (False, 3)
    assert {check["title"]: check["ok"] for check in told["checks"]}["BASE_URL"] is True


def test_what_is_no_address_is_one_line_and_no_test(app: Flask) -> None:
    result = run(app, "validate", "--test-email", "nobody")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)


def test_each_step_of_a_test_is_a_line(app: Flask) -> None:
    with RecordingServer(users={"user": SECRET}) as server:
        store(server.host, server.port)
        result = run(app, "test")
        labels = [line[2:12].strip() for line in result.stdout.splitlines()[:9]]
        assert labels == [
            "Settings", "DNS", "Connect", "Greeting", "EHLO", "Encryption", "Sign-in", "Sender", "Recipient",
        ]  # fmt: skip
        assert result.stdout.endswith(f"\n✓ Connection successful; no email was sent\n  Sealpost {VERSION}\n")
        assert (result.exit_code, server.mails) == (0, [])


def test_a_test_mail_is_delivered_where_it_is_asked_for(app: Flask) -> None:
    with RecordingServer(users={"user": SECRET}) as server:
        store(server.host, server.port, is_active=False)
        assert run(app, "test", NAME.upper(), "--to", "a@example.com").exit_code == 0
        assert server.mails[0].recipients == ("a@example.com",)


def test_a_test_stands_in_the_audit_trail_and_on_the_configuration(app: Flask) -> None:
    with RecordingServer(users={"user": SECRET}) as server:
        store(server.host, server.port)
        run(app, "test")
    (event,) = audit.events(action=Action.TESTED)
    assert event.source == "command line"
    assert configs.named(NAME).is_verified


@pytest.mark.parametrize(
    ("script", "more", "code"),
    [
        ({"GREETING": "554 no service"}, {}, 13),
        ({"EHLO": "550 no", "HELO": "550 no"}, {}, 14),
        ({}, {"use_tls": True}, 15),
        ({"EHLO": "250-x\n250 AUTH PLAIN", "AUTH": "535 5.7.8 no"}, {}, 16),
        ({"EHLO": "250-x\n250 AUTH PLAIN", "MAIL": "553 5.7.1 not yours"}, {}, 17),
        ({"EHLO": "250-x\n250 AUTH PLAIN", "RCPT": "550 5.1.1 nobody"}, {}, 18),
        ({"EHLO": "250-x\n250 AUTH PLAIN", "DATA": "554 no"}, {}, 19),
        ({"EHLO": "250-x\n250 AUTH PLAIN", "MESSAGE": "554 spam"}, {}, 19),
        ({"EHLO": "250-x\n250 AUTH PLAIN", "MESSAGE": (close,)}, {}, 19),
    ],
)
def test_each_phase_of_a_failed_test_has_its_exit_code(
    app: Flask, script: dict[str, str], more: dict[str, object], code: int
) -> None:
    with ScriptedServer(script) as server:
        store(server.host, server.port, **more)
        result = run(app, "test", "--to", "a@example.com")
    assert result.exit_code == code
    assert "\n✗ " in result.stdout
    assert SECRET not in result.output


def test_a_failed_test_says_what_it_means_what_to_do_and_what_the_server_said(app: Flask) -> None:
    with ScriptedServer({"EHLO": "250-x\n250 AUTH PLAIN", "AUTH": "535 5.7.8 no"}) as server:
        store(server.host, server.port)
        told = run(app, "test").stdout.rpartition("\n\n✗ ")[2].splitlines()
    assert told[0] == "Authentication failed"
    assert len(told) >= 4
    assert all(line.startswith("  ") for line in told[1:])
    assert told[-2:] == ["  The server said: 535 5.7.8 no", f"  Sealpost {VERSION}"]


def test_a_way_that_would_work_is_told_in_words(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, "SMTP_CA_FILE": str(certificates.ca_file())}, instance_path=tmp_path)
    hello = "250-x\n250-STARTTLS\n250 AUTH PLAIN"
    with ScriptedServer({"EHLO": hello}, tls=certificates.good_context()) as server, app.app_context():
        store(server.host, server.port, use_ssl=True)
        told = run(app, "test")
    assert told.exit_code == 15
    assert f"This host also answers on port {server.port} with STARTTLS." in told.stdout
    assert "\n  Or: Use STARTTLS\n" in told.stdout


def test_a_name_that_is_not_found_is_exit_code_11_and_a_closed_port_12(app: Flask) -> None:
    store("nowhere.example", 587, use_tls=True)
    store("127.0.0.1", free_port(), name="Dead")
    assert run(app, "test", NAME).exit_code == 11
    assert run(app, "test", "Dead").exit_code == 12


def test_nothing_to_test_is_exit_code_10(app: Flask) -> None:
    result = run(app, "test")
    assert result.exit_code == 10
    assert result.stdout.startswith("✗ SMTP not configured")


def test_a_configuration_that_cannot_be_read_is_exit_code_10_with_the_remedy(
    environment: dict[str, str], app: Flask, tmp_path: Path
) -> None:
    store("127.0.0.1", 25)
    other = create_app({**environment, "APP_KEY": "An0ther-K3y-9vXqLw2RbT7yNc5MdJ8hPf"}, instance_path=tmp_path)
    with other.app_context():
        result = run(other, "test", NAME)
    assert result.exit_code == 10
    assert "Restore APP_KEY or enter the password again." in result.stdout


def test_a_test_as_json_is_one_object_with_the_steps(app: Flask) -> None:
    store("127.0.0.1", free_port())
    result = run(app, "test", "--json")
    told = json.loads(result.stdout)
    assert (told["ok"], told["phase"], result.exit_code) == (False, "connect", 12)
    assert told["steps"][-1]["status"] == "failed"


def test_the_exit_codes_stand_in_the_help(app: Flask) -> None:
    text = run(app, "test", "--help").stdout
    assert all(f"  {code}  " in text for code in range(10, 20))


def test_the_route_shows_each_step_with_its_reason(environment: dict[str, str], tmp_path: Path) -> None:
    with RecordingServer() as server:
        app = create_app({**environment, **mail_through(server)}, instance_path=tmp_path)
        with app.app_context():
            store("smtp.example.com", 587, use_tls=True)
        result = run(app, "route")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split() == [
        "1", *NAME.split(), "smtp.example.com:587", "in", "use", "The", "active", "server.",
        "These", "settings", "have", "not", "been", "tested", "yet.",
    ]  # fmt: skip
    assert "standby" in result.stdout
    assert f"Mail goes through {NAME} (smtp.example.com:587)." in result.stdout


def test_the_route_says_that_a_server_in_reserve_would_protect_mail_less(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with RecordingServer() as server:
        app = create_app({**environment, **mail_through(server)}, instance_path=tmp_path)
        with app.app_context():
            store("smtp.example.com", 587, use_tls=True)
        steps = json.loads(run(app, "route", "--json").stdout)["steps"]
        assert f"email waits while {NAME} is down" in steps[1]["reason"]
        assert f"email waits while {NAME} is down" in run(app, "route").stdout


def test_a_slow_step_is_shown_to_be_waited_for(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_test, "WAITING", 1)
    with ScriptedServer({"GREETING": late("220 a.test", 2.5)}) as server:
        store(server.host, server.port, smtp_username="", smtp_password="")
        result = run(app, "test")
    assert "… Greeting   waiting for a reply, 1 s" in result.stdout.splitlines()
    assert result.exit_code == 0


def test_a_route_without_a_server_is_exit_code_3(app: Flask) -> None:
    result = run(app, "route", "--json")
    assert result.exit_code == 3
    assert [step["status"] for step in json.loads(result.stdout)["steps"]] == ["skipped", "skipped"]


@pytest.mark.parametrize(
    ("fallback", "status", "why"),
    [
        (Fallback.ALWAYS, "standby", "Used for this account while its own server fails."),
        (Fallback.CONNECTION, "standby", "while Sealpost cannot connect or sign in to its own server."),
        (Fallback.NEVER, "skipped", "Never used for this account instead of its own server."),
    ],
)
def test_the_route_of_an_account_begins_with_its_own_server(
    environment: dict[str, str], tmp_path: Path, fallback: Fallback, status: str, why: str
) -> None:
    with RecordingServer() as server:
        variables = {**environment, **mail_through(server), **PLACES, "PERSONAL_SMTP_FALLBACK": str(fallback)}
        app = create_app(variables, instance_path=tmp_path)
        with app.app_context():
            alice = make_alice()
            config_id = bring(alice.id, "127.3.3.3", PORT)
        told = run(app, "route", "alice", "--json")
        first, _, last = json.loads(told.stdout)["steps"]
        assert told.exit_code == 0
        assert (first["source"], first["status"], first["reason"]) == ("personal", "in use", personal_route.SENDS)
        assert (last["source"], last["status"]) == ("env", status)
        assert why in last["reason"]
        assert "Mail goes through Own server (127.3.3.3:2525)." in run(app, "route", "alice@example.com").stdout
        with app.app_context():
            change(config_id, is_active=False)
        told = run(app, "route", "alice", "--json")
        assert told.exit_code == (0 if fallback is Fallback.ALWAYS else NOT_WELL)
        assert run(app, "route").exit_code == 0


def test_there_is_no_route_for_who_has_no_account_or_a_disabled_one(app: Flask) -> None:
    make_alice(is_admin=True)
    administration.disable(make_bob().id)
    for name, told in (("carol", "No such account."), ("bob", "This account is disabled.")):
        result = run(app, "route", name)
        assert result.exit_code == 1
        assert told in result.stderr
