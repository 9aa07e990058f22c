"""Limits on signing in: who guesses is stopped, and nobody shuts others out of a browser that they use."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask

from services import audit
from services.accounts import accounts, tries
from services.accounts.tries import LOCKED_AFTER
from services.audit import Action
from tests.turned_clock import Now
from tests.visitors import NEW_PASSWORD, PASSWORD, Visitor, make_alice, make_bob, visit
from utils import clock

WINDOW = 15 * 60


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    return turned


def guess(visitor: Visitor, login: str = "alice", password: str = "wrong", address: str = "127.0.0.1") -> int:
    fields = {"login": login, "password": password}
    return visitor.post_form("/login", fields, environ_base={"REMOTE_ADDR": address}).status_code


def fail_in_a_row(app: Flask, now: Now, times: int, login: str = "alice") -> None:
    """Wrong passwords from ever new networks, each as soon as it is let in."""
    for number in range(times):
        now.turn(60)
        assert guess(visit(app), login, address=f"198.51.100.{number}") == 401


def test_the_names_of_one_account_are_one_count(app: Flask, now: Now) -> None:
    make_alice()
    visitor = visit(app)
    logins = ["alice", "ALICE", " alice ", "alice@example.com", "Alice@Example.com"]
    answers = [guess(visitor, logins[number % len(logins)]) for number in range(11)]
    assert answers == [401] * 10 + [429]
    assert visitor.sign_in().status_code == 429
    now.turn(WINDOW)
    assert visitor.sign_in().status_code == 303


def test_failed_sign_ins_of_an_unknown_name_are_limited_alike(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    assert [guess(visitor, "nobody") for _ in range(11)] == [401] * 10 + [429]


@pytest.mark.parametrize("addresses", [["192.0.2.1"], ["2001:db8::1", "2001:db8::ffff:2"]])
def test_failed_sign_ins_are_limited_per_network(app: Flask, addresses: list[str]) -> None:
    make_alice()
    visitor = visit(app)
    answers = [guess(visitor, f"nobody{number}", address=addresses[number % len(addresses)]) for number in range(21)]
    assert answers == [401] * 20 + [429]
    assert guess(visitor, password=PASSWORD, address=addresses[0]) == 429
    assert guess(visitor, password=PASSWORD, address="192.0.2.2") == 303


def test_a_locked_account_does_not_lock_another(app: Flask) -> None:
    make_alice()
    make_bob()
    visitor = visit(app)
    for _ in range(10):
        guess(visitor)
    assert visitor.sign_in("alice").status_code == 429
    assert visitor.sign_in("bob").status_code == 303


def test_successful_sign_ins_are_not_counted(app: Flask) -> None:
    make_alice()
    assert {visit(app).sign_in().status_code for _ in range(25)} == {303}


def test_a_right_password_gives_its_place_back_and_ends_the_row(app: Flask) -> None:
    make_alice()
    for _ in range(4):
        assert [guess(visit(app)) for _ in range(2)] == [401, 401]
        assert guess(visit(app), password=PASSWORD) == 303
    assert [guess(visit(app)) for _ in range(3)] == [401, 401, 429]


@pytest.mark.parametrize("address", ["127.0.0.1", "203.0.113.9"])
def test_a_browser_that_signed_in_before_is_never_shut_by_others(app: Flask, now: Now, address: str) -> None:
    make_alice()
    own = visit(app)
    own.sign_in()
    own.post_form("/logout")
    for _ in range(20):
        guess(visit(app), address=address)
    fail_in_a_row(app, now, 30)
    assert guess(visit(app), password=PASSWORD, address=address) == 429
    assert guess(own, password=PASSWORD, address=address) == 303


def test_that_browser_has_a_count_of_its_own(app: Flask, now: Now) -> None:
    make_alice()
    own = visit(app)
    own.sign_in()
    addresses = [f"192.0.2.{number}" for number in range(11)]
    assert [guess(own, address=address) for address in addresses] == [401] * 10 + [429]
    assert guess(visit(app), password=PASSWORD) == 303
    now.turn(WINDOW)
    assert guess(own, password=PASSWORD) == 303


def test_that_browser_is_known_for_every_account_that_signed_in_there_and_no_other(app: Flask, now: Now) -> None:
    make_alice()
    make_bob()
    own = visit(app)
    own.sign_in("alice")
    for _ in range(20):
        guess(visit(app), "bob")
    assert guess(own, "bob", PASSWORD) == 429
    now.turn(WINDOW)
    assert guess(own, "bob", PASSWORD) == 303
    for login in ("alice", "bob"):
        for _ in range(11):
            guess(visit(app), login)
    assert guess(own, "alice", PASSWORD) == 303
    assert guess(own, "bob", PASSWORD) == 303


@pytest.mark.parametrize("forge", ["another account", "another signature", "not ours", "too long"])
def test_a_forged_device_cookie_is_no_browser_that_is_known(app: Flask, forge: str) -> None:
    make_alice()
    bob = make_bob()
    own = visit(app)
    own.sign_in("alice")
    held = own.get_cookie("sealpost_device")
    assert held is not None
    name, _accounts, signature = held.value.split(".")
    forged = {
        "another account": f"{name}.{bob.id}.{signature}",
        "another signature": f"{name}.1.{'0' * 64}",
        "not ours": "true",
        "too long": "1-" * 400,
    }[forge]
    for _ in range(10):
        guess(visit(app), "bob")
        guess(visit(app), "alice")
    thief = visit(app)
    thief.set_cookie("sealpost_device", forged)
    assert {guess(thief, login, PASSWORD) for login in ("alice", "bob")} == {429}


def test_an_account_is_slowed_over_all_networks(app: Flask, now: Now) -> None:
    make_alice()
    for number in range(10):
        assert guess(visit(app), address=f"192.0.2.{number}") == 401
    waits = []
    for number in range(20, 27):
        answer = visit(app).post_form(
            "/login", {"login": "alice", "password": PASSWORD}, environ_base={"REMOTE_ADDR": f"192.0.2.{number}"}
        )
        assert answer.status_code == 429
        waits.append(int(answer.headers["Retry-After"]))
        now.turn(waits[-1])
        assert guess(visit(app), address=f"192.0.2.{number}") == 401
    assert waits == [2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("login", ["alice", "nobody"])
def test_after_a_hundred_in_a_row_waiting_does_not_help(app: Flask, now: Now, login: str) -> None:
    make_alice()
    fail_in_a_row(app, now, LOCKED_AFTER, login)
    now.turn(40 * 86_400)
    tries.tidy()
    answer = visit(app).sign_in(login)
    assert answer.status_code == 429
    assert "Forgot your password?" in answer.text
    assert "ask an administrator to unlock the account" in answer.text
    assert f'value="{login}"' in answer.text


def test_a_browser_that_is_known_signs_in_all_the_same(app: Flask, now: Now) -> None:
    make_alice()
    own = visit(app)
    own.sign_in()
    fail_in_a_row(app, now, LOCKED_AFTER)
    assert own.sign_in().status_code == 303
    assert visit(app).sign_in().status_code == 429  # which tells nothing of the others


@pytest.mark.parametrize("way", ["reset", "unlock", "unlock by address"])
def test_a_new_password_and_an_administrator_unlock(app: Flask, now: Now, way: str) -> None:
    make_alice()
    fail_in_a_row(app, now, LOCKED_AFTER)
    assert visit(app).sign_in().status_code == 429
    password = PASSWORD
    if way == "reset":
        accounts.reset_password("alice", password := NEW_PASSWORD)
    else:
        name = "alice" if way == "unlock" else "alice@example.com"
        done = app.test_cli_runner().invoke(args=["account", "unlock", name])
        assert (done.exit_code, done.output) == (0, "alice can sign in from any browser again.\n")
        assert [event.subject for event in audit.events(action=Action.UNLOCKED)] == ["account alice"]
    assert visit(app).sign_in(password=password).status_code == 303


def test_whoever_keeps_failing_in_a_browser_that_was_known_is_a_stranger(app: Flask, now: Now) -> None:
    make_alice()
    own = visit(app)
    own.sign_in()
    for _ in range(LOCKED_AFTER):
        now.turn(WINDOW)
        assert guess(own) == 401
    assert tries.in_a_row(tries.Count(tries.of_account(1))) == 0
    now.turn(WINDOW)
    assert guess(own) == 401
    assert tries.in_a_row(tries.Count(tries.of_account(1))) == 1


def test_a_lock_out_stands_in_the_audit_trail_once(app: Flask) -> None:
    make_alice()
    for _ in range(15):
        guess(visit(app))
    told = [(event.subject, event.details, event.source) for event in audit.events(action=Action.LOCKED_OUT)]
    assert told == [("account alice", "this network", "127.0.0.1")]


def at_once(app: Flask, number: int, password: str) -> list[int]:
    """The answers to so many sign-ins from one network that are all under way together."""
    visitors = [visit(app) for _ in range(number)]
    tokens = [visitor.csrf_token("/login") for visitor in visitors]

    def try_it(visitor: Visitor, token: str) -> int:
        fields = {"login": "alice", "password": password, "csrf_token": token}
        return visitor.post("/login", data=fields).status_code

    with ThreadPoolExecutor(number) as pool:
        return sorted(pool.map(try_it, visitors, tokens))


def are_held_to_ten(answers: list[int], wrong: int) -> bool:
    """Whether ten guesses were looked at; fewer where a slow disk kept some from their turn to write."""
    late = answers.count(503)
    return set(answers) <= {wrong, 429, 503} and 10 - late <= answers.count(wrong) <= 10


def test_forty_at_once_cannot_pass_a_limit_of_ten(app: Flask) -> None:
    make_alice()
    assert are_held_to_ten(at_once(app, 40, "wrong"), wrong=401)


def test_nor_can_forty_guesses_of_the_own_password(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    visitor.sign_in()
    token = visitor.csrf_token()
    held = {name: visitor.get_cookie(f"sealpost_{name}") for name in ("session", "pages")}

    def guess_own(_number: int) -> int:
        thief = visit(app)
        for name, cookie in held.items():
            assert cookie is not None
            thief.set_cookie(f"sealpost_{name}", cookie.value)
        fields = {"current_password": "wrong", "password": NEW_PASSWORD, "csrf_token": token}
        return thief.post("/account/password", data=fields).status_code

    with ThreadPoolExecutor(40) as pool:
        assert are_held_to_ten(list(pool.map(guess_own, range(40))), wrong=422)


def test_what_broke_off_is_given_back(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    count = tries.Count("broken", most=1, slows=True)
    for _ in range(3):
        with pytest.raises(RuntimeError), tries.counted([count], "nobody"):
            raise RuntimeError
    assert tries.in_a_row(count) == 0


def test_no_name_that_was_typed_is_in_the_database(app: Flask, tmp_path: Path) -> None:
    make_alice()
    guess(visit(app), "a password in the wrong field")
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("test.db*"))
    assert b"in the wrong field" not in stored


def test_counts_that_are_not_used_any_more_are_tidied_away(app: Flask, now: Now) -> None:
    make_alice()
    guess(visit(app))
    now.turn(31 * 86_400)
    tries.tidy()
    assert tries.in_a_row(tries.Count(tries.of_account(1))) == 0
