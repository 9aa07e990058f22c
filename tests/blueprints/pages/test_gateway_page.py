"""The page of the gateway: how it stands, connecting an application, who sends, and revoking."""

import re

import pytest

from database.engine import transaction
from services.accounts import api_tokens
from services.accounts.api_tokens import Scope
from services.gateway import presence, uses
from services.gateway.uses import Refused, Visit, Who
from tests import mails
from tests.turned_clock import Now
from tests.visitors import Visitor, make_bob
from utils import clock

PAGE = "/settings/gateway"
TOKEN = re.compile(r"sealpost_[\w-]{43}")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "SUBMISSION_LISTEN": "127.0.0.1:2525"}


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def connect(admin: Visitor, **fields: str) -> tuple[int, str]:
    """Send the form as the page has it; the status, and the page that comes."""
    mark = re.search(r'name="mark" value="([^"]+)"', admin.get(PAGE).text)
    assert mark
    typed = {"application": "grafana", "name": "", "account": "alice", "sender": "", "mark": mark[1], **fields}
    answer = admin.post_form(PAGE, typed)
    return answer.status_code, answer.text


def visit(token_id: int, **what: object) -> None:
    with transaction() as session:
        known = Visit(who=Who(token_id=token_id), address="10.0.0.5", ehlo="grafana.lan", **what)  # type: ignore[arg-type]
        uses.note(session, [known])


def test_the_lines_with_the_token_are_shown_once(admin: Visitor) -> None:
    status, page = connect(admin, name="Dashboards")
    assert status == 201
    (token,) = set(TOKEN.findall(page))
    assert f"GF_SMTP_PASSWORD={token}" in page
    assert api_tokens.find_good(token)
    assert "Waiting for its first email" in page
    for path in (PAGE, f"{PAGE}/1", f"{PAGE}/live", f"{PAGE}/1/live", "/settings/audit"):
        answer = admin.get(path)
        assert token not in answer.text
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_form_that_is_sent_twice_shows_the_same_token_again_and_later_none(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = "0123456789abcdefghij"
    _, first = connect(admin, mark=mark)
    status, second = connect(admin, mark=mark)
    assert (status, TOKEN.findall(second)) == (201, TOKEN.findall(first))
    assert len(api_tokens.every()) == 1
    now = Now()
    monkeypatch.setattr(clock, "now", now)
    now.turn(120)
    status, late = connect(admin, mark=mark)
    assert (status, TOKEN.findall(late)) == (409, [])
    assert "This form was already sent" in late


def test_what_is_wrong_stands_at_its_field_and_what_was_typed_stays(admin: Visitor) -> None:
    status, page = connect(admin, application="", account="nobody", name="Dashboards")
    assert status == 422
    assert "Choose an application." in page
    assert "No such account." in page
    assert 'value="Dashboards"' in page
    assert api_tokens.every() == []


def test_the_page_says_that_it_came_with_a_link_to_the_log(admin: Visitor) -> None:
    connect(admin)
    visit(1)
    assert "It signed in from 10.0.0.5." in words(admin.get(f"{PAGE}/1").text)
    mail_id = mails.queued()
    visit(1, mail_ids=[mail_id])
    page = admin.get(f"{PAGE}/1").text
    assert "Its first email came" in words(page)
    assert f'href="/emails/{mail_id}"' in page
    assert "as grafana.lan" in words(admin.get(PAGE).text)


def test_the_page_says_why_it_was_refused_and_what_to_do(admin: Visitor) -> None:
    connect(admin)
    visit(1, refused=Refused(code=550, words="Your account may not send from the From address. Add it."))
    told = words(admin.get(f"{PAGE}/1").text)
    assert "It connected from 10.0.0.5 and was refused" in told
    assert "550: Your account may not send from the From address. Add it." in told


def test_a_wrong_token_in_the_accounts_name_is_told_where_its_application_is_waited_for(admin: Visitor) -> None:
    connect(admin)
    with transaction() as session:
        refused = Refused(code=535, words="The account or the token is wrong.")
        uses.note(session, [Visit(who=Who(account_id=1), address="10.0.0.7", ehlo="x", refused=refused)])
    told = words(admin.get(f"{PAGE}/1").text)
    assert "It connected from 10.0.0.7 and was refused" in told
    assert "535: The account or the token is wrong." in told


def test_an_application_that_sends_over_http_is_seen(admin: Visitor) -> None:
    _, page = connect(admin, application="http")
    (token,) = set(TOKEN.findall(page))
    api_tokens.find_good(token)
    assert "It sends over HTTP." in words(admin.get(PAGE).text)


def test_its_token_is_revoked_after_a_question(admin: Visitor) -> None:
    connect(admin, name="Old wiki")
    assert "Revoke “Old wiki”?" in admin.get(f"{PAGE}/1/revoke").text
    assert admin.post_form(f"{PAGE}/1/revoke").headers["Location"] == PAGE
    assert "Revoked “Old wiki”." in admin.get(PAGE).text
    assert not api_tokens.every()[0].is_good
    assert [admin.get(f"{PAGE}/1{part}").status_code for part in ("", "/live", "/revoke")] == [404, 404, 404]


def test_tokens_that_cannot_send_and_are_not_used_here_are_not_shown(admin: Visitor) -> None:
    bob = make_bob()
    api_tokens.create(bob.id, "reader", None, [Scope.READ])
    assert "reader" not in admin.get(PAGE).text
    assert admin.get(f"{PAGE}/1").status_code == 404


def test_it_is_told_whether_the_gateway_runs_and_what_to_do(admin: Visitor) -> None:
    assert "The gateway is set up, but not running." in admin.get(PAGE).text
    presence.beat("p", clock.now(), ("0.0.0.0:587",), trouble="The certificate cannot be read.")
    told = words(admin.get(PAGE).text)
    assert "The gateway is on." in told
    assert "The certificate cannot be read." in told
    assert "localhost, port 587, STARTTLS" in told
    assert "BASE_URL names this machine only" in told


class TestOff:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "SUBMISSION_LISTEN": ""}

    def test_how_to_turn_it_on_is_told_in_exact_lines(self, admin: Visitor) -> None:
        page = admin.get(PAGE).text
        assert "The gateway is off." in page
        assert "SUBMISSION_LISTEN=127.0.0.1:2525" in page
        assert 'value="grafana"' not in page
        assert 'value="http"' in page
