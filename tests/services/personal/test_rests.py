"""Whoever mends what has held up an account's mail waits for no rest: the change counts from the next mail on."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from services.outbox import promise
from services.outbox.reasons import Reason
from services.personal import oversight, own_server, policy_changes
from services.personal.oversight import Decision
from services.settings.fields import parse_change
from services.worker import groups, turns
from services.worker.lease import Pace
from tests.mails import queued
from tests.own_servers import PLACES, PORT, bring
from tests.visitors import make_bob
from utils import clock

HOST = "127.72.0.1"
SERVER = {
    "smtp_server": HOST,
    "smtp_port": PORT,
    "use_tls": True,
    "smtp_username": "bob@example.com",
    "smtp_password": "another",
}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, **PLACES}


CHANGES: dict[str, Callable[[int], object]] = {
    "its server is saved": lambda account_id: own_server.save(account_id, parse_change(SERVER)),
    "it goes back to the global one": own_server.delete,
    "its server is disabled": lambda account_id: oversight.decide(account_id, Decision.DISABLED),
    "the global server is to send": lambda account_id: oversight.decide(account_id, Decision.GLOBAL),
    "its server is deleted": oversight.delete_server,
    "it may send more": lambda account_id: oversight.limit(account_id, 0, 0),
    "the policy is another": lambda _: policy_changes.save({"fallback": "always"}, actor="tester"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_what_holds_up_an_accounts_mail_ends_its_rest(app: Flask, change: Callable[[int], object]) -> None:
    bob, told = make_bob().id, list[int]()
    bring(bob, HOST, PORT)
    mail_id = queued(account_id=bob)
    turns.rest(bob, clock.now() + timedelta(minutes=1), Reason.PAUSED)
    assert groups.claim_group("test", Pace()) is None

    def hear() -> None:
        told.append(1)

    promise.new_mail.add(hear)
    try:
        change(bob)
    finally:
        promise.new_mail.remove(hear)
    assert told
    group = groups.claim_group("test", Pace())
    assert group
    assert group.mail_ids == [mail_id]
