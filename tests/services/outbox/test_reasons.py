"""Reasons are codes in the row and for code; their words stand in one table, for people."""

import ast
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from flask import Flask

from database.outbox_claim_db import Settlement
from database.outbox_db import Recipient, RecipientState, State
from services.delivery import retry_policy
from services.diagnosis import diagnosis
from services.outbox import log, promise, reasons
from services.outbox.reasons import Reason, coded, recoded, words
from services.worker import unwritten
from services.worker.unwritten import News
from tests.mails import change, in_state, queued
from tests.outbox import row_of
from tests.test_architecture import name_of, sources
from tests.visitors import Visitor
from utils import clock
from utils.errors import Fault, Misconfigured, Permanent, Phase, Temporary

THE_TABLE = "services.outbox.reasons"
EARLIER = "The relay had the hiccups."  # of a version that nobody remembers


def texts_of(file: Path) -> Iterator[str]:
    """The strings in a file, but for its docstrings."""
    tree = ast.parse(file.read_text())
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


DUE = clock.now().replace(microsecond=0)


def settlement(reason: str) -> Settlement:
    """Of a mail that went to nobody."""
    recipients: list[Recipient] = [{"address": "a@example.com", "state": RecipientState.PENDING}]
    return Settlement(
        mail=1,
        token="t",
        state=State.EXPIRED,
        recipients=recipients,
        keep=True,
        due_at=DUE,
        settled_at=None,
        attempts=0,
        uncertain=0,
        pinned_to=None,
        reason=reason,
    )


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words_of_its_own(reason: Reason) -> None:
    assert words(reason) == reason.text
    assert reason.text
    assert [each.text for each in Reason].count(reason.text) == 1


@pytest.mark.parametrize("reason", Reason)
def test_a_code_is_none_of_the_words_and_holds_nothing_that_ends_it(reason: Reason) -> None:
    assert re.fullmatch("[a-z0-9_]+", reason)


@pytest.mark.parametrize("file", [file for file in sources() if name_of(file) != THE_TABLE], ids=name_of)
def test_no_other_module_holds_the_words_of_a_reason(file: Path) -> None:
    # The words of a refused place stand where places are judged, and the reason takes them from there.
    held = {reason.text for reason in Reason if reason is not Reason.NOT_FOR_ACCOUNTS}
    found = {text for text in texts_of(file) if text in held or text.rstrip(".") in held}
    assert found == set()


def test_every_verdict_gives_a_reason_that_has_words() -> None:
    kinds = (Temporary, Permanent, Misconfigured)
    for kind, phase, fault, unknown in product(kinds, Phase, Fault, (False, True)):
        error = kind(phase, fault, "451 4.3.0 later", code=451, may_have_been_sent=unknown)
        assert retry_policy.of_error(error).reason in Reason
        assert retry_policy.message_of(error) in [reason.text for reason in Reason]
        assert diagnosis.reason(error) in Reason
    rows = (*retry_policy._TABLE, *retry_policy._REST)
    assert {row.verdict.reason for row in rows} <= set(Reason)


@pytest.mark.parametrize("reason", log.HALTED)
def test_what_halts_all_mail_is_told_by_codes(reason: str) -> None:
    assert reason in set(Reason)


def test_a_detail_stays_behind_the_code_and_behind_the_words() -> None:
    stored = coded(Reason.FAILED_BEFORE_SENDING, "It tripped: twice. Reference: ab:12.")
    assert stored == "failed_before_sending:It tripped: twice. Reference: ab:12."
    assert words(stored) == "Sealpost failed before it was sent. It tripped: twice. Reference: ab:12."


@pytest.mark.parametrize("text", ["", EARLIER, "The mailbox: full.", "no_such_code", "no_such_code:detail", "Paused:"])
def test_what_is_no_code_of_ours_reads_as_it_stands(text: str) -> None:
    assert (words(text), recoded(text)) == (text, text)


@pytest.mark.parametrize("reason", Reason)
def test_words_of_a_result_that_waited_in_a_file_become_the_code_and_a_code_stays(reason: Reason) -> None:
    assert (recoded(reason.text), recoded(reason)) == (reason, reason)


def test_words_with_a_detail_that_waited_in_a_file_become_the_code_with_it() -> None:
    told = "Sealpost failed before it was sent. Sealpost failed. Reference: 1f2e."
    assert words(recoded(told)) == told
    assert recoded(told).startswith("failed_before_sending:")


def test_a_result_that_an_earlier_version_kept_in_a_file_is_written_as_a_code(tmp_path: Path) -> None:
    settled: list[News] = []
    unwritten.keep(tmp_path, News([settlement(Reason.TOO_LATE.text)], []))
    unwritten.replay(tmp_path, settled.append)
    assert settled == [News([settlement(Reason.TOO_LATE)], [], [])]


def test_a_row_holds_the_code_and_readers_see_the_words(app: Flask, admin: Visitor) -> None:
    mail_id = queued()
    promise.cancel(mail_id)
    assert row_of(mail_id).reason == Reason.CANCELLED
    assert log.story(mail_id).mail.reason == "Cancelled manually."
    page, one = admin.get("/emails").text, admin.get(f"/emails/{mail_id}").text
    assert "Cancelled manually." in page
    assert "Cancelled manually." in one


def test_the_status_counts_rows_with_a_code_and_such_with_its_words_as_one_reason(app: Flask) -> None:
    for reason in (Reason.THROTTLED, Reason.THROTTLED.text, EARLIER):
        in_state(State.DEFERRED, reason=reason, due_at=clock.now())
    assert log.summary().reasons == {Reason.THROTTLED.text: 2, EARLIER: 1}


@pytest.mark.parametrize("reason", [Reason.SOME_REFUSED, coded(Reason.FAILED_BEFORE_SENDING, "x"), EARLIER])
def test_every_list_shows_what_a_person_can_read(app: Flask, admin: Visitor, reason: str) -> None:
    mail_id = queued()
    change(mail_id, reason=reason)
    (mail,), _ = log.mails()
    assert mail.reason == reasons.words(reason)
    assert mail.reason in admin.get("/emails").text
