"""Sessions and limits under gunicorn with two worker processes: what one of them ends has ended in the other."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live_server import DATABASE, Browser, LiveServer, gunicorn, start
from tests.loopback import free_port
from tests.visitors import PASSWORD

ASKED = 12  # requests, among which both workers are
GUESSERS = 40


@pytest.fixture
def live(tmp_path: Path, migrated_database: Path) -> Iterator[LiveServer]:
    shutil.copy(migrated_database, tmp_path / DATABASE)
    port = free_port()
    with start(gunicorn(port, "--workers", "2", "--threads", "20"), tmp_path, PORT=str(port), EMAIL_HOST="") as server:
        yield server


@pytest.fixture
def alice(live: LiveServer) -> Browser:
    """The first administrator, signed in."""
    browser = Browser(live)
    code = live.wait_for_output(r"Set-up code +((?:[A-Z2-9]{5}-?){4})")[1]
    person = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
    assert browser.post_form("/setup", {**person, "code": code}).status == 303
    return browser


def statuses(browser: Browser) -> set[int]:
    with ThreadPoolExecutor(ASKED) as pool:
        return {answer.status for answer in pool.map(browser.get, ["/account"] * ASKED)}


def test_a_copied_cookie_is_worth_nothing_to_any_worker(live: LiveServer, alice: Browser) -> None:
    thief = Browser(live)
    thief.cookies = dict(alice.cookies)
    assert statuses(thief) == {200}
    assert alice.post_form("/logout", {}, form="/account").status == 303
    assert statuses(thief) == {303}


def test_forty_guesses_at_once_share_one_limit_and_memory_stays_small(live: LiveServer, alice: Browser) -> None:
    browsers = [Browser(live, "127.0.0.7") for _ in range(GUESSERS)]
    tokens = [browser.csrf_token("/login") for browser in browsers]

    def guess(browser: Browser, token: str) -> int:
        return browser.post("/login", {"login": "alice", "password": "wrong", "csrf_token": token}).status

    before = [resident(pid) for pid in live.pids]
    with ThreadPoolExecutor(GUESSERS) as pool:
        answers = sorted(pool.map(guess, browsers, tokens))
    assert answers == [401] * 10 + [429] * 30
    assert max(now - then for now, then in zip(map(resident, live.pids), before, strict=True)) < 200
    assert live.stderr.count(b"security_refusal") == GUESSERS
    assert alice.post_form("/login", {"login": "alice", "password": PASSWORD}, form="/account").status == 303


def resident(pid: int) -> int:
    """How much memory a process has held at most, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))
