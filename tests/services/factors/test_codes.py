"""Codes of authenticator apps and recovery codes: each good once, and not tried without end."""

import multiprocessing
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from app import create_app
from database import factor_db
from database.engine import reading, transaction
from database.factor_db import TotpFactor
from services import audit
from services.accounts import accounts, sessions, signing_in
from services.accounts.proofs import Proof
from services.audit import Action
from services.factors import codes, enrolment, recovery, steps, totp, ways
from tests.patience import PATIENCE
from tests.second_factors import App, enrol
from tests.turned_clock import Now
from tests.visitors import make_alice
from utils import clock
from utils.encryption_utils import CannotDecrypt, encrypt_smtp_password
from utils.errors import Conflict, InvalidInput, NotFound, TooMany

pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    return turned


@pytest.fixture
def phone(now: Now) -> App:
    """Alice's app, two steps after it was taken into use."""
    app, _ = enrol(make_alice().id)
    now.turn(60)
    return app


def prove(code: str, client: str = "192.0.2.1") -> Proof:
    return codes.prove(1, code, client=client, device="", field="code")


def is_refused(code: str) -> bool:
    try:
        prove(code)
    except InvalidInput as refused:
        assert code not in str(refused)
        return True
    return False


def test_a_code_is_good_and_spaces_do_not_count(phone: App) -> None:
    code = phone.code()
    assert prove(f" {code[:3]} {code[3:]} ") is Proof.TOTP


def test_a_code_is_not_good_twice_nor_is_one_from_before(phone: App) -> None:
    former, code = phone.code(seconds=-30), phone.code()
    prove(code)
    assert is_refused(code)
    assert is_refused(former)


def test_the_code_by_which_an_app_was_taken_into_use_signs_nobody_in(now: Now) -> None:
    app, _ = enrol(make_alice().id)
    assert is_refused(app.code())


@pytest.mark.parametrize(("seconds", "is_good"), [(-30, True), (30, True), (-90, False), (90, False), (60, False)])
def test_a_clock_may_be_one_step_off(phone: App, seconds: int, is_good: bool) -> None:
    assert is_refused(phone.code(seconds=seconds)) is not is_good


def test_who_tries_thirty_codes_a_minute_is_stopped_after_ten(phone: App, now: Now) -> None:
    refused = 0
    for number in range(30):
        now.turn(2)
        with pytest.raises((InvalidInput, TooMany)) as told:
            prove(f"{number:06}")
        refused += told.type is TooMany
    assert refused == 20
    with pytest.raises(TooMany):
        prove(phone.code())
    assert len(audit.events(action=Action.SECOND_FACTOR_FAILED)) == 10


def test_who_is_not_signed_in_by_a_code_can_be_unlocked(phone: App, now: Now) -> None:
    for number in range(10):
        assert is_refused(f"{number:06}")
    signing_in.unlock("alice")
    assert prove(phone.code()) is Proof.TOTP


def test_a_recovery_code_is_good_once_however_it_is_typed() -> None:
    _, shown = enrol(make_alice().id)
    assert len({code[: recovery.GROUP_LENGTH] for code in shown}) == 10
    assert prove(f" {shown[0].lower().replace('-', ' ')} ") is Proof.RECOVERY_CODE
    assert is_refused(shown[0])
    assert ways.of_account(1).codes_left == 9
    assert prove(shown[1]) is Proof.RECOVERY_CODE


def test_recovery_codes_that_are_made_anew_replace_the_others() -> None:
    _, shown = enrol(make_alice().id)
    anew = enrolment.renew_codes(1)
    assert is_refused(shown[0])
    assert prove(anew[0]) is Proof.RECOVERY_CODE


def use_in_process(environment: dict[str, str], code: str, go: Any, answers: Any) -> None:
    with create_app(environment).app_context():
        go.wait(PATIENCE)
        answers.put(recovery.use(1, code))


def test_of_two_processes_with_one_recovery_code_one_gets_in(app: Flask, environment: dict[str, str]) -> None:
    _, shown = enrol(make_alice().id)
    context = multiprocessing.get_context("fork")
    go, answers = context.Barrier(2), context.Queue()
    children = [context.Process(target=use_in_process, args=(environment, shown[0], go, answers)) for _ in range(2)]
    for child in children:
        child.start()
    assert sorted(answers.get(timeout=PATIENCE) for _ in children) == [False, True]
    for child in children:
        child.join(PATIENCE)


def test_neither_secret_nor_codes_can_be_read_in_the_database(phone: App) -> None:
    with reading() as session:
        factor = factor_db.totp_of(session, 1)
    assert factor is not None
    secret = totp.secret_in(factor)
    assert secret not in factor.sealed
    with transaction() as session:
        session.execute(update(TotpFactor).values(sealed=encrypt_smtp_password(secret)))
    with reading() as session, pytest.raises(CannotDecrypt):
        found = factor_db.totp_of(session, 1)
        assert found is not None
        totp.secret_in(found)  # it is sealed with a key of its own, and nothing else is opened by that
    assert is_refused(phone.code())


def test_an_app_counts_only_after_its_first_code(now: Now) -> None:
    alice = make_alice()
    enrolment.begin_app(alice.id)
    app = App(enrolment.pending_app(alice.id).secret)
    assert not steps.is_needed(alice.id, [Proof.PASSWORD])
    with pytest.raises(InvalidInput):
        enrolment.confirm_app(alice.id, "000000", but="")
    assert is_refused(app.code())
    assert len(enrolment.confirm_app(alice.id, app.code(), but="")) == 10
    assert steps.is_needed(alice.id, [Proof.PASSWORD])
    with pytest.raises(Conflict):
        enrolment.begin_app(alice.id)


def test_an_app_that_was_only_begun_is_none_that_could_be_removed() -> None:
    alice = make_alice()
    enrolment.begin_app(alice.id)
    with pytest.raises(NotFound):
        enrolment.remove_app(alice.id, but="")
    assert audit.events(action=Action.FACTOR_REMOVED) == []


def test_what_was_begun_half_an_hour_ago_is_over(now: Now) -> None:
    alice = make_alice()
    enrolment.begin_app(alice.id)
    app = App(enrolment.pending_app(alice.id).secret)
    now.turn(1800)
    with pytest.raises(NotFound):
        enrolment.confirm_app(alice.id, app.code(), but="")


def test_a_first_factor_ends_every_other_session_and_is_told_by_mail() -> None:
    alice = make_alice()
    begun = [
        sessions.begin(alice.id, 1, proven_by=[Proof.PASSWORD], address="192.0.2.1", browser="Firefox")
        for _ in range(2)
    ]
    enrol(alice.id, but=sessions.hash_of(begun[0]))
    assert [sessions.resume(each, "192.0.2.1") is not None for each in begun] == [True, False]
    event = audit.events(action=Action.FACTOR_ENROLLED)[0]
    assert (event.subject, event.details) == ("account alice", "authenticator app")


def test_a_half_sign_in_is_for_ten_minutes_and_ends_with_the_sessions(phone: App, now: Now) -> None:
    handle = steps.begin(accounts.get(1), [Proof.PASSWORD], remember=True)
    assert steps.find(handle)
    now.turn(600)
    assert steps.find(handle) is None
    handle = steps.begin(accounts.get(1), [Proof.PASSWORD], remember=False)
    sessions.end_all(1)
    with pytest.raises(Conflict):
        steps.finish(handle, phone.code(), client="192.0.2.1", device="")


def test_a_half_sign_in_ends_once(phone: App, now: Now) -> None:
    handle = steps.begin(accounts.get(1), [Proof.PASSWORD], remember=True)
    half = steps.finish(handle, phone.code(), client="192.0.2.1", device="")
    assert (half.proven_by, half.is_remembered) == ((Proof.PASSWORD, Proof.TOTP), True)
    now.turn(30)
    with pytest.raises(Conflict):
        steps.finish(handle, phone.code(), client="192.0.2.1", device="")
