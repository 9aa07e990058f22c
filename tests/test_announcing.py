"""What a start prints: addresses that work, one set-up code a start, and that `flask run` sends nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from blueprints import announcing
from blueprints.serving import NOTHING_SENDS
from services import email_service
from services.settings import named
from tests.live_server import gunicorn, start
from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.running import ROOT, Sealpost, run_environment
from tests.visitors import make_alice, visit
from utils import interpreter, own_addresses
from utils.env_utils import load_settings, read_environment, write_first_env


def test_of_many_workers_one_prints_a_set_up_code(tmp_path: Path, migrated_database: Path) -> None:
    (tmp_path / "test.db").write_bytes(migrated_database.read_bytes())
    port = free_port()
    with start(gunicorn(port, "--workers", "3"), tmp_path, PORT=str(port), APP_ENV="production") as server:
        server.wait_for_output(r"(?s)(Sealpost is at.*){3}")
    printed = server.stdout.decode()
    assert len(re.findall("Set-up code", printed)) == 1
    assert len(re.findall("/setup", printed)) == 1


def test_on_every_address_the_first_that_others_can_open_is_the_base_url_of_the_first_env(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    assert write_first_env(env, {"HOST": "0.0.0.0", "PORT": "5080"})
    settings = load_settings(read_environment(env))
    assert settings.base_url == f"http://{own_addresses.reachable('0.0.0.0')[0]}:5080"
    assert (settings.host, settings.port) == ("0.0.0.0", 5080)


@pytest.mark.parametrize("host", ["", "127.0.0.1", "192.0.2.7"])
def test_on_one_address_the_first_env_says_nothing_of_it(tmp_path: Path, host: str) -> None:
    env = tmp_path / ".env"
    assert write_first_env(env, {"HOST": host})
    assert "BASE_URL" not in env.read_text()


def test_the_port_of_the_first_start_is_that_of_the_commands_in_another_terminal(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    assert write_first_env(env, {"PORT": "5080"})
    assert load_settings(read_environment(env)).base_url == "http://127.0.0.1:5080"


@pytest.mark.parametrize("port", ["", "0", "70000", "http"])
def test_a_port_that_is_none_is_not_kept(tmp_path: Path, port: str) -> None:
    env = tmp_path / ".env"
    assert write_first_env(env, {"PORT": port})
    assert "PORT=" not in env.read_text()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_on_every_address_those_are_printed_that_work(tmp_path: Path, host: str) -> None:
    environment = run_environment(tmp_path / "run.db", LOCAL_INBOX_PORT="0", HOST=host)
    with Sealpost(environment) as server:
        printed = re.findall(r"(?:Sealpost is|Also) at +(\S+)", server.output)
    urls = [
        f"http://{f'[{each}]' if ':' in each else each}:{environment['PORT']}" for each in own_addresses.reachable(host)
    ]
    assert printed == urls
    assert not [url for url in printed if "0.0.0.0" in url or "[::]" in url]


def test_flask_run_says_that_it_sends_nothing(environment: dict[str, str]) -> None:
    port = str(free_port())
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "app", "run", "--port", port],
        cwd=ROOT,
        env={**os.environ, **environment, "FLASK_SKIP_DOTENV": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    with process, process.stderr:
        said = [line.strip() for line in iter(process.stderr.readline, f"{NOTHING_SENDS}\n") if line]
        process.terminate()
        process.wait(PATIENCE)
    assert "Traceback" not in "".join(said)


def test_the_shell_has_the_promised_names(app: Flask) -> None:
    names = app.make_shell_context()
    assert names["send_email"] is email_service.send_email
    assert names["get_active_config"] is named.get_active_config
    promised = {
        "send_password_reset_email",
        "send_order_notification",
        "queue_email",
        "create_config",
        "activate_config",
    }
    assert promised <= set(names)


def test_a_doubt_and_a_fault_of_the_interpreter_are_in_the_log(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = create_app({**environment, "EMAILS_PER_MINTUE": "2"}, instance_path=tmp_path)
    with app.app_context():
        announcing.announce(app)
    logged = capsys.readouterr().err
    assert "EMAILS_PER_MINTUE is no variable of Sealpost" in logged
    assert ("CVE-2024-6923" in logged) is bool(interpreter.faults())


def test_a_doubt_is_on_the_page_and_in_validate(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, "EMAILS_PER_MINTUE": "2"}, instance_path=tmp_path)
    with app.app_context():
        make_alice(is_admin=True)
        visitor = visit(app)
        visitor.sign_in()
        assert "EMAILS_PER_MINTUE" in visitor.get("/settings/smtp").text
        result = app.test_cli_runner().invoke(args=["smtp", "validate"])
        assert "EMAILS_PER_MINTUE" in result.output


@pytest.mark.parametrize("call", [email_service.send_email, email_service.queue_email])
def test_outside_of_an_application_a_call_says_so_in_one_line(call: object) -> None:
    with pytest.raises(RuntimeError, match="needs the application") as caught:
        call("a@example.com", "Subject", "Text")  # type: ignore[operator]
    assert "\n" not in str(caught.value)
