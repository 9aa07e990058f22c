"""The page about alerts: channels, their test, rules, and what fires now."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask

from services import audit
from services.alerts import channels, rules, watching
from services.alerts.rules import RuleName
from services.settings import configs
from services.settings.fields import parse_change
from tests.recording_server import RecordingServer
from tests.visitors import Visitor
from tests.web_hook import WebHook

LIST = "/settings/alerts"


@pytest.fixture
def hook() -> Iterator[WebHook]:
    with WebHook() as running:
        yield running


def post(admin: Visitor, path: str, **fields: str) -> tuple[int, str]:
    """Send a form; the status, and the text of the page where it leads."""
    answer = admin.post_form(path, dict(fields))
    page = admin.get(LIST) if answer.status_code == 303 else answer
    return answer.status_code, re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.get_data(as_text=True)))


def test_a_channel_is_added_tested_turned_off_and_deleted(admin: Visitor, hook: WebHook) -> None:
    status, page = post(admin, f"{LIST}/new/ntfy", url_secret=f"http://127.0.0.1:{hook.port}/t0pic", name="Phone")
    assert (status, "Phone" in page, "t0pic" in page) == (303, True, False)
    _, page = post(admin, f"{LIST}/1/test")
    assert "“Phone” works: the test was accepted." in page
    assert hook.calls[0].json["message"] == "This is a test. Alerts will arrive here."
    hook.status = 401
    _, page = post(admin, f"{LIST}/1/test")
    assert "The topic needs an access token (401). Create one at ntfy, and enter it." in page
    assert "t0pic" not in admin.get(f"{LIST}/1").get_data(as_text=True)
    _, page = post(admin, f"{LIST}/1", name="Pager", url_secret="", token="", version="1")
    assert "Pager" in page
    _, page = post(admin, f"{LIST}/1/switch", is_on="")
    assert "“Pager” is off." in page
    _, page = post(admin, f"{LIST}/1/delete")
    assert "No channel yet" in page
    names = [event.action for event in audit.events()]
    assert names.count("alert_channel_saved") == 3
    assert names[0] == "alert_channel_deleted"


def test_a_signing_secret_is_made_and_shown_once(admin: Visitor, hook: WebHook) -> None:
    status, page = post(admin, f"{LIST}/new/webhook", url_secret=hook.url)
    secret = re.search(r"whsec_[A-Za-z0-9+/=]{44}", page)
    assert (status, bool(secret)) == (201, True)
    assert secret
    for path in (LIST, f"{LIST}/1", "/settings/audit"):
        assert secret[0] not in admin.get(path).get_data(as_text=True)


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        ("webhook", {"url_secret": "ftp://a.example/x"}, "Enter a whole URL"),
        ("webhook", {"url_secret": "http://169.254.169.254/latest"}, "does not connect to this address"),
        ("slack", {"url_secret": "https://discord.com/api/webhooks/1/x"}, "a URL of Discord"),
        ("ntfy", {"url_secret": "https://ntfy.sh/"}, "with the topic"),
        ("telegram", {"token": "nonsense", "chat": "1"}, "the whole token from @BotFather"),
        ("telegram", {"token": "1:ab", "chat": ""}, "Enter the number of the chat"),
        ("telegram", {"token": "1:ab", "chat": "1:ab"}, "Enter the number of the chat"),
        ("telegram", {"token": "1:ab", "chat": "0"}, "Enter the number of the chat"),
        ("telegram", {"token": "1:ab", "chat": "https://t.me/shop"}, "Enter the number of the chat"),
        ("telegram", {"token": "1:ab", "chat": "shop"}, "Enter the number of the chat"),
        ("mail", {"config_id": "7", "recipients": "a@example.com"}, "Choose a mail server."),
        ("webhook", {"url_secret": "https://a.example/x", "secret": "short"}, "at least 16 characters"),
        ("webhook", {}, "Enter the URL."),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_remedy(
    admin: Visitor, kind: str, fields: dict[str, str], told: str
) -> None:
    status, page = post(admin, f"{LIST}/new/{kind}", **fields)
    assert (status, told in page) == (422, True)
    assert channels.every() == []


def test_mail_goes_through_the_server_that_was_chosen(admin: Visitor, server: RecordingServer) -> None:
    other = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "a@example.com"}
    stored = configs.create(parse_change({**other, "name": "Other", "is_active": False}))
    fields = {"config_id": str(stored.row.id), "recipients": "ops@example.com, b@example.org"}
    assert post(admin, f"{LIST}/new/mail", **fields)[0] == 303
    _, page = post(admin, f"{LIST}/1/test")
    assert "works: the test was accepted." in page
    assert "o***@example.com, b***@example.org through Other" in page
    assert server.wait_for_mail()[0].recipients == ("ops@example.com", "b@example.org")
    assert "ops@example.com, b@example.org" in admin.get(f"{LIST}/1").get_data(as_text=True)


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


def test_the_rules_are_saved_and_a_number_that_is_none_is_refused_and_stays(admin: Visitor) -> None:
    mark = rules.mark_of(rules.every())
    fields = {f"{rule.name}_amount": "7" for rule in rules.every()}
    fields |= {f"{rule.name}_on": "1" for rule in rules.every() if rule.name is not RuleName.WORKER}
    status, page = post(admin, f"{LIST}/rules", **fields, refusals_least="x", mark=mark)
    assert (status, "Enter a whole number from 1 to 1000000." in page) == (422, True)
    assert rules.mark_of(rules.every()) == mark
    assert post(admin, f"{LIST}/rules", **fields, refusals_least="60", mark=mark)[0] == 303
    known = {rule.name: rule for rule in rules.every()}
    assert (known[RuleName.WORKER].is_on, known[RuleName.REFUSALS].least, known[RuleName.NO_MAIL].hold) == (
        False,
        60,
        420.0,
    )
    assert post(admin, f"{LIST}/rules", **fields, refusals_least="60", mark=mark)[0] == 409


def test_the_page_says_that_nobody_watches_and_then_that_somebody_does(app: Flask, admin: Visitor) -> None:
    assert "Nothing has looked yet." in admin.get(LIST).get_data(as_text=True)
    watching.here().look()
    assert "No alert is firing." in admin.get(LIST).get_data(as_text=True)
