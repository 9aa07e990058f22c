"""`python app.py`, which `make run` runs: what it prints, that it ends, and what it says when it cannot start."""

import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.running import ROOT, Client, Sealpost, run_environment
from tests.visitors import PASSWORD


@dataclass(frozen=True)
class Run:
    """A start that is over: its exit status, and a page that was seen meanwhile."""

    server: Sealpost
    status: int
    page: str = ""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return run_environment(tmp_path / "run.db")


def set_up(server: Sealpost, code: str) -> None:
    """Become the first administrator with this code."""
    fields = {"code": code, "username": "alice", "email": "alice@example.com", "password": PASSWORD}
    page = Client(server.url).post_form("/setup", fields)
    assert page.status == 200
    assert "You are the administrator" in page.text


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


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A first start and its end by Ctrl-C."""
    environment = run_environment(tmp_path_factory.mktemp("first") / "run.db")
    with Sealpost(environment) as server:
        return Run(server, server.stop())


@pytest.fixture(scope="module")
def second_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A second start, after a first one in which Alice became the administrator; she signs in again."""
    environment = run_environment(tmp_path_factory.mktemp("second") / "run.db")
    with Sealpost(environment) as server:
        set_up(server, server.setup_code)
    with Sealpost(environment) as server:
        page = Client(server.url).post_form("/login", {"login": "alice", "password": PASSWORD})
        return Run(server, server.stop(), page.text)


def test_the_first_start_prints_where_it_is_and_how_to_set_it_up(first_run: Run) -> None:
    url, output = first_run.server.url, first_run.server.output
    assert f"Sealpost is at   {url}\n" in output
    assert f"Set it up at     {url}/setup\n" in output
    assert first_run.server.setup_code
    assert f"Local inbox at   {url}/inbox\n" in output


def test_the_setup_code_is_the_only_secret_that_a_start_prints(first_run: Run) -> None:
    environment, output = first_run.server.environment, first_run.server.output
    assert environment["APP_KEY"] not in output
    assert environment["ADMIN_TOKEN"] not in output


def test_ctrl_c_ends_it_cleanly(first_run: Run) -> None:
    assert first_run.status == 0
    assert "Traceback" not in first_run.server.output


def test_ctrl_c_frees_the_ports(first_run: Run) -> None:
    for port in (int(first_run.server.environment["PORT"]), first_run.server.inbox_port):
        socket.create_server(("127.0.0.1", port)).close()


def test_a_start_with_an_administrator_prints_no_set_up(second_run: Run) -> None:
    assert "Sealpost is at" in second_run.server.output
    assert "/setup" not in second_run.server.output
    assert "Set-up code" not in second_run.server.output


def test_a_second_start_finds_what_the_first_one_stored(second_run: Run) -> None:
    assert "Sign out" in second_run.page


@pytest.mark.parametrize("start", [0, 1], ids=["first", "second"])
def test_until_there_is_an_administrator_the_code_of_either_start_is_good(
    environment: dict[str, str], start: int
) -> None:
    with Sealpost(environment) as first, Sealpost(beside(environment)) as second:
        codes = [first.setup_code, second.setup_code]
        assert codes[0] != codes[1]
        set_up(first, codes[start])
        assert Client(second.url).get("/setup").status == 404


def test_kill_ends_it_cleanly_too(environment: dict[str, str]) -> None:
    with Sealpost(environment) as server:
        assert server.stop(signal.SIGTERM) == 0
        assert "Traceback" not in server.output


def test_ctrl_c_does_not_wait_for_clients_that_say_nothing(environment: dict[str, str]) -> None:
    with Sealpost(environment) as server:
        ports = (int(environment["PORT"]), server.inbox_port)
        browser, mailer = (socket.create_connection(("127.0.0.1", port)) for port in ports)
        with browser, mailer:
            assert mailer.recv(3) == b"220"
            assert server.stop() == 0


def test_a_taken_port_is_one_line_that_names_the_variable(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", int(environment["PORT"]))):
        line = refusal(environment)
    assert "Set another PORT " in line
    assert environment["PORT"] in line


def test_a_start_without_the_port_of_its_inbox_serves_and_says_so(environment: dict[str, str]) -> None:
    taken = environment["LOCAL_INBOX_PORT"]
    with socket.create_server(("127.0.0.1", int(taken))), Sealpost(environment) as server:
        page = Client(server.url).get("/inbox").text
        server.stop()
    assert f"Its port {taken} is already in use by another program" in page
    assert f"Its port {taken} is already in use by another program" in server.output
    assert "Set another LOCAL_INBOX_PORT" in server.output
    assert "Local inbox at" not in server.output


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
