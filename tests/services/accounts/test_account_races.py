"""Races in separate processes on one database: of two who are equally fast, one wins."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from app import create_app
from services.accounts import accounts, password_reset
from tests.outbox import answer_requests, drain
from tests.patience import PATIENCE
from tests.processes import CONTEXT
from tests.recording_server import RecordingServer
from tests.visitors import PASSWORD, link_in, mail_through, make_alice
from utils.errors import AppError

pytestmark = pytest.mark.usefixtures("app")

PROCESSES = 2
THREADS = 25

Attempt = Callable[[int, str], bool]


@pytest.fixture
def mail_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], mail_server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(mail_server)


def use_token(number: int, token: str) -> bool:
    return password_reset.redeem(token, f"password of attempt number {number}")


def set_up(number: int, code: str) -> bool:
    try:
        accounts.create_first_administrator(code, f"admin{number}", f"admin{number}@example.com", PASSWORD)
    except AppError:
        return False
    return True


def answer(_number: int, _argument: str) -> bool:
    return password_reset.process_requests() > 0


@dataclass(frozen=True)
class Race:
    """What one process does: an attempt for each argument, all of them at the barrier's signal."""

    environment: dict[str, str]
    folder: Path
    barrier: Barrier
    attempt: Attempt
    arguments: list[str]


def run_in_process(race: Race, first: int, results: "Queue[list[int]]") -> None:
    """Make an application of its own and attempt in several threads; ``first`` is the first attempt's number."""
    app = create_app(race.environment, instance_path=race.folder)

    def once(number: int, argument: str) -> int | None:
        with app.app_context():
            accounts.find(0)  # so that the connection is open before the signal
            race.barrier.wait()
            return number if race.attempt(number, argument) else None

    with ThreadPoolExecutor(len(race.arguments)) as pool:
        won = list(pool.map(once, range(first, first + len(race.arguments)), race.arguments))
    results.put([number for number in won if number is not None])


def winners(
    environment: dict[str, str], folder: Path, attempt: Attempt, arguments: list[str], processes: int = PROCESSES
) -> list[int]:
    """The numbers of the attempts that succeeded, one attempt for each argument and process."""
    barrier = CONTEXT.Barrier(processes * len(arguments), timeout=PATIENCE)
    race = Race(environment, folder, barrier, attempt, arguments)
    results: Queue[list[int]] = CONTEXT.Queue()
    children = [
        CONTEXT.Process(target=run_in_process, args=(race, at * len(arguments), results)) for at in range(processes)
    ]
    for child in children:
        child.start()
    won = [number for _ in children for number in results.get(timeout=PATIENCE)]
    for child in children:
        child.join()
    return won


def test_of_50_uses_of_a_token_in_two_processes_one_wins(
    environment: dict[str, str], tmp_path: Path, mail_server: RecordingServer
) -> None:
    make_alice()
    password_reset.request_reset("alice@example.com")
    answer_requests()
    token = link_in(mail_server.mails[0])[1]
    won = winners(environment, tmp_path, use_token, [token] * THREADS)
    assert len(won) == 1
    assert accounts.authenticate("alice", f"password of attempt number {won[0]}")


def test_of_two_set_ups_with_two_codes_in_two_processes_one_makes_the_administrator(
    environment: dict[str, str], tmp_path: Path
) -> None:
    codes = [accounts.issue_setup_code() or "", accounts.issue_setup_code() or ""]
    won = winners(environment, tmp_path, set_up, codes, processes=2)
    assert len(won) == 1
    assert [person.username for person in accounts.everybody()] == [f"admin{won[0]}"]


def test_each_request_is_answered_by_one_process_only(
    environment: dict[str, str], tmp_path: Path, mail_server: RecordingServer
) -> None:
    addresses = [f"person{number}@example.com" for number in range(8)]
    for number, address in enumerate(addresses):
        accounts.create(f"person{number}", address, PASSWORD)
        password_reset.request_reset(address)
    winners(environment, tmp_path, answer, [""] * 4)
    drain()
    assert sorted(mail.recipients[0] for mail in mail_server.mails) == addresses
