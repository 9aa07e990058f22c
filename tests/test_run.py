"""`python app.py`, which `make run` runs: what it prints, that it ends, and what it says when it cannot start."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import PATIENCE, ROOT, Client, Sealpost, run_environment
from tests.smtp_servers import free_port
from tests.visitors import PASSWORD


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return run_environment(tmp_path / "run.db")


def set_up(server: Sealpost, code: str) -> None:
    """Become the first administrator with this code."""
    fields = {"code": code, "username": "alice", "email": "alice@example.com", "password": PASSWORD}
    page = Client(server.url).post_form("/setup", fields)
    assert page.status == 200
    assert "You are the administrator now" in page.text


def beside(environment: dict[str, str]) -> dict[str, str]:
    """The same, for a second process on ports of its own."""
    return {**environment, "PORT": str(free_port()), "LOCAL_INBOX_PORT": str(free_port())}


def refusal(environment: dict[str, str]) -> str:
    """The one line with which a start fails."""
    ended = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    lines = (ended.stdout + ended.stderr).splitlines()
    assert (ended.returncode, len(lines)) == (1, 1), "\n".join(lines)
    return lines[0]


def test_the_first_start_prints_where_it_is_and_how_to_set_it_up(environment: dict[str, str]) -> None:
    with Sealpost(environment) as server:
        assert f"Sealpost is at   {server.url}\n" in server.output
        assert f"Set it up at     {server.url}/setup\n" in server.output
        assert server.setup_code
        assert f"Local inbox at   {server.url}/inbox\n" in server.output


def test_the_setup_code_is_the_only_secret_that_a_start_prints(environment: dict[str, str]) -> None:
    with Sealpost(environment) as server:
        server.stop()
        assert environment["APP_KEY"] not in server.output
        assert environment["ADMIN_TOKEN"] not in server.output


def test_a_start_with_an_administrator_prints_no_set_up(environment: dict[str, str]) -> None:
    with Sealpost(environment) as server:
        set_up(server, server.setup_code)
    with Sealpost(environment) as server:
        server.stop()
        assert "Sealpost is at" in server.output
        assert "setup" not in server.output
        assert "One-time code" not in server.output


def test_a_second_start_finds_what_the_first_one_stored(environment: dict[str, str]) -> None:
    with Sealpost(environment) as server:
        set_up(server, server.setup_code)
    with Sealpost(environment) as server:
        page = Client(server.url).post_form("/login", {"login": "alice", "password": PASSWORD})
        assert "Mail server" in page.text


@pytest.mark.parametrize("start", [0, 1], ids=["first", "second"])
def test_until_there_is_an_administrator_the_code_of_either_start_is_good(
    environment: dict[str, str], start: int
) -> None:
    with Sealpost(environment) as first, Sealpost(beside(environment)) as second:
        codes = [first.setup_code, second.setup_code]
        assert codes[0] != codes[1]
        set_up(first, codes[start])
        assert Client(second.url).get("/setup").status == 404


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_kill_end_it_cleanly(environment: dict[str, str], by: signal.Signals) -> None:
    with Sealpost(environment) as server:
        assert server.stop(by) == 0
        assert "Traceback" not in server.output


def test_ctrl_c_frees_the_ports(environment: dict[str, str]) -> None:
    with Sealpost(environment) as server:
        server.stop()
    for port in (int(environment["PORT"]), server.inbox_port):
        socket.create_server(("127.0.0.1", port)).close()


def test_ctrl_c_does_not_wait_for_clients_that_say_nothing(environment: dict[str, str]) -> None:
    with Sealpost(environment) as server:
        ports = (int(environment["PORT"]), server.inbox_port)
        browser, mailer = (socket.create_connection(("127.0.0.1", port)) for port in ports)
        with browser, mailer:
            assert mailer.recv(3) == b"220"
            assert server.stop() == 0


@pytest.mark.parametrize("variable", ["PORT", "LOCAL_INBOX_PORT"])
def test_a_taken_port_is_one_line_that_names_the_variable(environment: dict[str, str], variable: str) -> None:
    with socket.create_server(("127.0.0.1", int(environment[variable]))):
        line = refusal(environment)
    assert f"Set {variable} " in line
    assert environment[variable] in line


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "five-thousand"),
        ("APP_KEY", "correct horse"),
        ("BASE_URL", "app.example.com/sealpost"),
        ("SMTP_CA_FILE", "/nowhere/ca.pem"),
    ],
)
def test_a_wrong_variable_is_one_line_that_names_it_without_its_value(
    environment: dict[str, str], variable: str, value: str
) -> None:
    line = refusal({**environment, variable: value})
    assert line.startswith(f"{variable} ")
    assert value not in line
