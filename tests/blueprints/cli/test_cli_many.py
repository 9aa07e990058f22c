"""`flask mail retry`, `cancel` and `resend` with many emails: a preview, a question, and what it came to."""

import json

from click.testing import Result
from flask import Flask

from database.outbox_db import Recipient, RecipientState, State
from services.outbox import many
from tests.mails import in_state
from tests.outbox import row_of


def run(app: Flask, *words: str, answer: str | None = None) -> Result:
    return app.test_cli_runner().invoke(args=["mail", *words], input=answer)


def test_failed_mails_are_sent_again_by_a_filter_after_a_question(app: Flask) -> None:
    ids = [in_state(State.FAILED, reason="no_recipient") for _ in range(3)]
    words = ("retry", "--state", "failed", "--since", "2020-01-01", "--reason", "no_recipient")
    refused = run(app, *words, answer="n\n")
    assert (refused.exit_code, "3 of them can be sent again" in refused.stdout) == (1, True)
    assert "3  Failed: Recipient does not exist" in refused.stdout
    silent = run(app, *words)
    assert (silent.exit_code, "Pass --yes" in silent.stderr) == (2, True)
    assert {row_of(each).state for each in ids} == {State.FAILED}
    assert run(app, *words, answer="y\n").stdout.endswith("3 emails are being sent again.\n")
    assert {row_of(each).state for each in ids} == {State.QUEUED}
    again = run(app, *words, "--yes")
    assert (again.exit_code, again.stdout) == (0, "0 emails found, 0 of them can be sent again.\n")


def test_waiting_mails_are_cancelled_by_a_filter_as_json(app: Flask) -> None:
    kept, gone = in_state(State.DEFERRED, "ann@example.com"), in_state(State.DEFERRED, "bob@example.org")
    told = json.loads(run(app, "cancel", "--recipient", "example.org", "--yes", "--json").stdout)
    assert (told["stage"], told["found"], told["done"], told["to_do"]) == ("done", 1, 1, 0)
    assert (row_of(kept).state, row_of(gone).state) == (State.DEFERRED, State.CANCELLED)


def test_an_id_and_a_filter_are_one_or_the_other(app: Flask) -> None:
    mail_id = in_state(State.FAILED)
    for words in (["retry"], ["retry", mail_id, "--tag", "a"], ["cancel"], ["cancel", "--held", "--tag", "a"]):
        assert run(app, *words).exit_code == 2
    for words in (["--since", "yesterday"], ["--reason", "bad luck"], ["--recipient", "a@b@c"]):
        refused = run(app, "retry", *words, "--yes")
        assert (refused.exit_code, words[0].removeprefix("--") in refused.stderr) == (1, True)
    assert many.latest() == []


def refused(*addresses: str) -> list[Recipient]:
    return [{"address": each, "state": RecipientState.REFUSED, "code": 550, "enhanced": "5.1.1"} for each in addresses]


def test_a_mail_is_sent_to_a_corrected_address(app: Flask) -> None:
    old = in_state(State.FAILED, "ann@gmial.com", recipients=refused("ann@gmial.com"))
    assert run(app, "resend", old, "--to", "ann@gmail", "--from", "ann@", "--yes").exit_code == 1
    done = run(app, "resend", old, "--to", "ann@gmail.com", "--yes")
    assert (done.exit_code, done.stdout.endswith("1 email is being sent to a corrected address.\n")) == (0, True)
    again = run(app, "resend", old, "--to", "ann@gmail.com", "--yes")
    assert "not: Already sent to a corrected address" in again.stdout
    assert run(app, "resend", "0" * 32, "--to", "ann@gmail.com", "--yes").exit_code == 1
