"""`/emails`: the mail log in the browser."""

import re
from datetime import timedelta

import pytest

from blueprints.pages import email_list
from database.outbox_db import IN_HAND, SETTLED, Priority, State
from services.outbox import facts, log
from services.settings.named import create_config
from tests.mails import BODY, REFUSAL, SUBJECT, attempted, change, in_state, queued
from tests.outbox import row_of
from tests.visitors import Visitor
from utils import clock

URL = "/emails"


def test_an_empty_log_teaches(admin: Visitor) -> None:
    assert "No emails yet" in admin.get(URL).text
    assert "No email sent directly" in admin.get(f"{URL}?from=direct").text
    assert "No emails here" in admin.get(f"{URL}?state=failed").text


def test_a_mail_is_listed_with_whom_it_goes_to_and_how_it_stands(admin: Visitor) -> None:
    mail_id = in_state(State.DEFERRED, "a@example.com", "b@example.com", "c@example.com", reason="The server was busy.")
    page = admin.get(URL).text
    for fact in (
        f"/emails/{mail_id}",
        "a***@example.com, b***@example.com and 1 more",
        "Waiting",
        "The server was busy.",
    ):
        assert fact in page


def test_every_state_has_its_list_and_its_page(admin: Visitor) -> None:
    mails = {state: in_state(state) for state in State}
    for state, mail_id in mails.items():
        page = admin.get(f"{URL}?state={state}").text
        alike = [mails[other] for other in State if facts.STATES[other] == facts.STATES[state]]
        assert [other for other in mails.values() if other in page] == alike
        assert facts.STATES[state][1] in admin.get(f"{URL}/{mail_id}").text


def test_what_a_worker_has_is_sending_and_has_one_filter(admin: Visitor) -> None:
    for state in (State.LEASED, State.TRANSMITTING, State.TRANSMITTING):
        in_state(state)
    page = admin.get(f"{URL}?state=transmitting").text.partition('<nav aria-label="States"')[2].partition("</nav>")[0]
    assert re.findall(r'aria-current="true">.*?<span>(\w+)</span></span> <span class="count">(\d)</span>', page) == [
        ("Sending", "3")
    ]
    assert re.findall('state=([^"]+)', page) == ["leased,transmitting", "sent"]


def test_the_states_are_counted(admin: Visitor) -> None:
    for _ in range(3):
        in_state(State.FAILED)
    assert 'Failed</span></span> <span class="count">3</span>' in admin.get(URL).text


def test_a_mail_that_was_sent_to_some_is_not_called_sent(admin: Visitor) -> None:
    recipients = [
        {"address": "a@example.com", "state": "accepted", "code": 250, "enhanced": None},
        {"address": "b@example.com", "state": "refused", "code": 550, "enhanced": "5.1.1"},
    ]
    mail_id = in_state(State.SENT, recipients=recipients)
    assert "Partly sent" in admin.get(URL).text
    assert "550 5.1.1" in admin.get(f"{URL}/{mail_id}").text


def test_older_mails_are_on_further_pages(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(email_list, "SIZES", (2,))
    oldest, *_ = [in_state(State.FAILED) for _ in range(3)]
    first = admin.get(f"{URL}?state=failed").text
    assert oldest not in first
    before = log.mails([State.FAILED], limit=2)[1]
    assert f"/emails?state=failed&amp;before={before}" in first
    assert oldest in admin.get(f"{URL}?state=failed&before={before}").text


def test_an_odd_place_to_go_on_from_is_no_error(admin: Visitor) -> None:
    for before in ("-1", "x", "9" * 30, "１２", "0"):
        assert admin.get(URL, query_string={"before": before, "rows": before}).status_code == 200


def test_the_page_of_a_mail_tells_of_each_try_and_of_the_next(admin: Visitor) -> None:
    due_at = clock.now() + timedelta(minutes=5)
    mail_id = in_state(State.DEFERRED, reason="The mailbox was busy.", due_at=due_at)
    attempted(mail_id, **{**REFUSAL, "outcome": "temporary", "code": 450, "reply": "Try again later"}, ms=1234)
    page = admin.get(f"{URL}/{mail_id}").text
    for fact in ("smtp.example.com:587", "450 Try again later", "1.2 s", "Not now", "The mailbox was busy."):
        assert fact in page
    assert f'Next attempt <time datetime="{due_at.isoformat()}"' in page


def test_the_page_tells_how_an_attempt_was_encrypted_and_what_the_server_calls_the_mail(admin: Visitor) -> None:
    told = {
        "TLSv1.3": "TLS 1.3, certificate verified",
        "TLSv1.2": "TLS 1.2, certificate verified",
        "none": "Unencrypted",
    }
    for tls, words in told.items():
        mail_id = in_state(State.SENT)
        attempted(mail_id, tls=tls, queue_id="4XyZ<b>1")
        page = admin.get(f"{URL}/{mail_id}").text
        assert f"<li>{words}</li>" in page
        assert "<code>4XyZ&lt;b&gt;1</code>" in page
    mail_id = in_state(State.SENT)
    attempted(mail_id)  # from before any of it was noted
    page = admin.get(f"{URL}/{mail_id}").text
    for word in ("certificate verified", "Unencrypted", "Queue ID", "Conversation"):
        assert word not in page


def test_a_page_stays_current_while_its_mail_is_not_settled(admin: Visitor) -> None:
    for state in State:
        page = admin.get(f"{URL}/{in_state(state)}").text
        is_settled = state in SETTLED
        assert ("live-mail.js" in page, "data-live-refresh" in page) == (not is_settled, not is_settled)
    due, later = queued(), queued()
    change(later, due_at=clock.now() + timedelta(hours=1))
    assert 'data-live-mail="soon"' in admin.get(f"{URL}/{due}").text
    assert 'data-live-mail="later"' in admin.get(f"{URL}/{later}").text


def test_a_mail_that_was_sent_directly_has_a_page_that_the_list_leads_to(admin: Visitor) -> None:
    attempted(None, **REFUSAL, message_id="<1@example.com>", server="First (a.example.com:587)")
    attempted(None, message_id="<1@example.com>", server="Second (b.example.com:587)", tls="TLSv1.3")
    link = re.search(r'href="(/emails/direct/\d+)[?"]', admin.get(f"{URL}?from=direct").text)
    assert link
    page = admin.get(link[1]).text
    for fact in ("First (a.example.com:587)", "Second (b.example.com:587)", "TLS 1.3, certificate verified", "j***@ex"):
        assert fact in page
    assert admin.get(f"{URL}/direct/{10**30}").status_code == 404


def test_what_was_sent_directly_stands_on_its_own_page(admin: Visitor) -> None:
    attempted(None, **REFUSAL)
    attempted(queued("joe@example.com"), recipients="q***@example.com")
    page = admin.get(f"{URL}?from=direct").text
    for fact in ("j***@example.com", "550 No such user here", "The recipient does not exist"):
        assert fact in page
    assert "q***@example.com" not in page


def test_a_mail_is_cancelled_after_a_question(admin: Visitor) -> None:
    mail_id = queued()
    assert "Cancel this email?" in admin.get(f"{URL}/{mail_id}/cancel").text
    assert row_of(mail_id).state == State.QUEUED
    assert admin.post_form(f"{URL}/{mail_id}/cancel").location == f"{URL}/{mail_id}"
    assert row_of(mail_id).state == State.CANCELLED
    assert "It will not be sent." in admin.get(f"{URL}/{mail_id}").text


def test_a_dead_letter_is_sent_again_after_a_question(admin: Visitor) -> None:
    mail_id = in_state(State.FAILED)
    assert "Send this email again?" in admin.get(f"{URL}/{mail_id}/retry").text
    assert row_of(mail_id).state == State.FAILED
    admin.post_form(f"{URL}/{mail_id}/retry")
    assert row_of(mail_id).state == State.QUEUED


def test_a_mail_that_waits_is_due_at_once_when_it_is_asked_for(admin: Visitor) -> None:
    mail_id = in_state(State.DEFERRED, due_at=clock.now() + timedelta(hours=2))
    admin.post_form(f"{URL}/{mail_id}/retry")
    assert row_of(mail_id).due_at <= clock.now()


def test_whoever_is_too_late_is_told_so(admin: Visitor) -> None:
    mail_id = in_state(State.SENT)
    assert "It is too late to do this." in admin.get(f"{URL}/{mail_id}/cancel").text
    for action in ("cancel", "retry"):
        admin.post_form(f"{URL}/{mail_id}/{action}")
        assert "This email is already sent." in admin.get(f"{URL}/{mail_id}").text


def test_sending_a_mail_of_unknown_fate_again_warns_of_a_double(admin: Visitor) -> None:
    mail_id = in_state(State.UNCERTAIN, uncertain=1, pinned_to="config 1")
    assert "may get it twice" in admin.get(f"{URL}/{mail_id}/retry").text


def test_nothing_is_claimed_of_a_mail_whose_fate_nobody_knows(admin: Visitor) -> None:
    told = [
        (State.FAILED, 0, "Not sent"),
        (State.FAILED, 3, "Uncertain"),
        (State.UNCERTAIN, 1, "Uncertain"),
        (State.DEFERRED, 0, "Waiting"),
    ]
    for state, uncertain, word in told:
        page = admin.get(f"{URL}/{in_state(state, uncertain=uncertain)}").text
        assert [known for known in ("Not sent", "Uncertain", "Waiting") if known in page] == [word]


def test_the_log_says_when_nobody_takes_mail_up(admin: Visitor) -> None:
    create_config("Primary", smtp_server="smtp.example.com", from_email="shop@example.com", is_active=True)
    mail_id = in_state(State.QUEUED, due_at=clock.now() - timedelta(minutes=14))
    assert "Some email is more than 15 minutes late" not in admin.get(URL).text
    change(mail_id, due_at=clock.now() - timedelta(minutes=16))
    assert f"Some email is more than 15 minutes late. {log.NOBODY_SENDS}<" in admin.get(URL).text


def test_the_log_says_first_that_nothing_can_be_sent(admin: Visitor) -> None:
    in_state(State.QUEUED, due_at=clock.now() - timedelta(minutes=16))
    page = admin.get(URL).text
    assert "No mail can be sent: no server is active, and 1 email is waiting, the oldest since" in page
    assert "minutes late" not in page


def test_a_mail_on_its_way_has_no_buttons(admin: Visitor) -> None:
    for state in IN_HAND:
        mail_id = in_state(state)
        assert f"/emails/{mail_id}/" not in admin.get(f"{URL}/{mail_id}").text


def test_a_dead_letter_whose_content_is_gone_says_so(admin: Visitor) -> None:
    mail_id = in_state(State.EXPIRED)
    change(mail_id, priority=Priority.SECURITY)
    page = admin.get(f"{URL}/{mail_id}").text
    assert "cannot be sent again" in page
    assert f"/emails/{mail_id}/retry" not in page


def test_what_servers_say_is_shown_as_text(admin: Visitor) -> None:
    mail_id = in_state(State.FAILED)
    attempted(mail_id, **{**REFUSAL, "reply": "<script>alert(1)</script>"})
    assert "<script>alert(1)" not in admin.get(f"{URL}/{mail_id}").text


def test_neither_subject_nor_content_is_shown(admin: Visitor) -> None:
    mail_id = queued()
    pages = [URL, f"{URL}/{mail_id}", f"{URL}/{mail_id}/retry", f"{URL}/{mail_id}/cancel"]
    shown = "".join(admin.get(page).text for page in pages)
    assert not [word for word in (SUBJECT, BODY) if word in shown]


def test_an_unknown_mail_is_not_found(admin: Visitor) -> None:
    for mail_id in ("1", "0" * 32, "%00" * 32, "x" * 5000):
        for more in ("", "/retry", "/cancel"):
            assert admin.get(f"{URL}/{mail_id}{more}").status_code == 404


def tries_of(admin: Visitor, mail_id: str) -> tuple[int, int]:
    """As the list tells them, and as the mail's page shows them."""
    listed = re.search(r'class="tries-label">Attempts: </span>(\d+)', admin.get(URL).text)
    assert listed
    page = admin.get(f"{URL}/{mail_id}").text
    return int(listed[1]), page.count('<li class="is-attempt">')


@pytest.mark.parametrize("charged", [0, 1, 2, 5])
@pytest.mark.parametrize("made", [0, 1, 3])
def test_the_list_and_the_page_tell_the_same_tries_whatever_was_charged(
    admin: Visitor, charged: int, made: int
) -> None:
    mail_id = in_state(State.DEFERRED)
    change(mail_id, attempts=charged)
    for _ in range(made):
        attempted(mail_id, **REFUSAL)
    assert tries_of(admin, mail_id) == (made, made)


@pytest.mark.parametrize("state", [State.LEASED, State.TRANSMITTING])
def test_a_mail_that_is_claimed_has_not_been_tried_yet(admin: Visitor, state: State) -> None:
    mail_id = in_state(state)
    change(mail_id, attempts=1)
    assert tries_of(admin, mail_id) == (0, 0)


def test_the_tries_of_each_mail_are_its_own(admin: Visitor) -> None:
    first, second, untried = (in_state(State.FAILED) for _ in range(3))
    attempted(first, **REFUSAL)
    for _ in range(2):
        attempted(second, **REFUSAL)
    told = {mail.id: mail.tries for mail in log.mails()[0]}
    assert told == {first: 1, second: 2, untried: 0}


def test_the_command_tells_the_same_tries(admin: Visitor) -> None:
    mail_id = in_state(State.DEFERRED)
    change(mail_id, attempts=4)
    attempted(mail_id, **REFUSAL)
    told = admin.application.test_cli_runner().invoke(args=["mail", "list"]).output
    assert re.search(rf"{mail_id}\s+deferred\s+Email\s+jane@example.com\s+1\b", told)
