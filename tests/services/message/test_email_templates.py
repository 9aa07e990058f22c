"""Mails: the specified texts, values that stay values, HTML that every client can show."""

from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from jinja2 import TemplateNotFound, UndefinedError
from playwright.sync_api import Browser, sync_playwright

from services.message.draft import Sender, draft, serialise
from services.message.templates import FOLDER, Rendered, render
from tests.chromium import CHROMIUM, FLAGS
from utils.env_utils import EXTENSION

RESET_URL = "http://localhost:5000/reset-password?token=Zk3vJ0r2mQ7s9XyT1bWc5dEfGhIjKlMnOpQrStUvWxY"
VALUES: dict[str, dict[str, Any]] = {
    "password_reset": {"reset_url": RESET_URL},
    "order_notification": {
        "symbol": "RELIANCE",
        "action": "BUY",
        "quantity": 100,
        "price": 2501.5,
        "order_id": "240612000123456",
        "time": "2026-11-20 14:03:11",
    },
    "password_changed": {
        "changed_at": "20 November 2026 at 14:03 UTC",
        "forgot_url": "http://localhost:5000/forgot-password",
    },
    "second_factor": {
        "what": "A second factor was added: authenticator app",
        "changed_at": "20 November 2026 at 14:03 UTC",
        "forgot_url": "http://localhost:5000/forgot-password",
    },
    "new_sign_in": {
        "browser": "Firefox on Linux",
        "address": "192.0.2.14",
        "signed_in_at": "20 November 2026 at 14:03 UTC",
        "forgot_url": "http://localhost:5000/forgot-password",
    },
    "address_changed": {
        "new_address": "jane.new@example.com",
        "changed_at": "20 November 2026 at 14:03 UTC",
    },
    "address_change_asked": {
        "new_address": "j***@example.net",
        "asked_at": "20 November 2026 at 14:03 UTC",
        "forgot_url": "http://localhost:5000/forgot-password",
    },
    "address_confirmation": {
        "username": "jane",
        "confirm_url": RESET_URL.replace("reset-password", "confirm-address"),
    },
    "sender_confirmation": {
        "username": "jane",
        "email": "sales@example.com",
        "confirm_url": RESET_URL.replace("reset-password", "confirm-sender"),
    },
    "invitation": {"invited_by": "alice", "username": "jane", "reset_url": RESET_URL},
    "token_expiring": {
        "token_name": "deploy script",
        "prefix": "sealpost_Zk3vJ0",
        "ends_at": "2026-11-20 14:03 UTC",
        "tokens_url": "http://localhost:5000/account/tokens",
    },
    "needs_sign_in": {
        "server_name": "Primary",
        "host": "smtp.office365.com",
        "mailbox": "shop@example.com",
        "since": "20 November 2026 at 14:03 UTC",
        "used_name": "",
        "remedy": "Connect it again.",
        "connect_url": "http://localhost:5000/settings/smtp/1/connect",
    },
    "failover": {
        "down_name": "Primary",
        "down_host": "email-smtp.ap-southeast-2.amazonaws.com",
        "problem": "Could not connect to server",
        "used_name": "Backup",
        "used_host": "smtp.example.com",
        "settings_url": "http://localhost:5000/settings/smtp",
    },
    "own_server_broken": {
        "host": "smtp.accounts.example",
        "problem": "Could not connect to server.",
        "used_from": "noreply@example.com",
        "smtp_url": "http://localhost:5000/account/smtp",
    },
    "server_ends": {
        "headline": "client secret expires on 2027-03-01",
        "ends_on": "2027-03-01",
        "words": "The client secret expires on 2027-03-01 UTC.",
        "remedy": "Create a new one at Microsoft and enter it before that day.",
        "server_name": "Primary",
        "host": "smtp.office365.com",
        "page_url": "http://localhost:5000/settings/smtp/7",
    },
    "own_server_works": {"host": "smtp.accounts.example", "smtp_url": "http://localhost:5000/account/smtp"},
    "own_server_retired": {"smtp_url": "http://localhost:5000/account/smtp"},
    "test_message": {
        "config_name": "Primary",
        "server": "email-smtp.ap-southeast-2.amazonaws.com",
        "port": 587,
        "sent_at": "20 November 2026 at 14:03 UTC",
        "message_id": "<0f7706e37438bb5d73415ee69d5cb498@app.example.com>",
    },
}
HOSTILE = "\"><script>alert(1)</script><a href='https://evil.example'>{{ 7 * 7 }}{% raw %}&amp;"

pytestmark = pytest.mark.usefixtures("app")
# A mail is shown within a page that has landmarks and a first heading of its own.
PAGE_RULES = ("region", "page-has-heading-one", "landmark-one-main")

every_mail = pytest.mark.parametrize("name", VALUES)


class Tags(HTMLParser):
    """Collects tags, attributes and the visible text of a document."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def rendered(name: str, **changed: object) -> Rendered:
    return render(name, **(VALUES[name] | changed))


def test_every_mail_has_its_test_values() -> None:
    assert {folder.name for folder in FOLDER.iterdir() if folder.is_dir()} == set(VALUES)


def test_the_reset_mail_has_the_specified_text() -> None:
    mail = rendered("password_reset")
    assert mail.subject == "Reset Your OpenAlgo Password"
    assert mail.text == (
        "Hello,\n\n"
        "You requested to reset your OpenAlgo password.\n\n"
        "Click the link below to reset your password:\n"
        f"{RESET_URL}\n\n"
        "This link expires in 1 hour.\n\n"
        "If you didn't request this, please ignore this email.\n\n"
        "Best regards,\n"
        "OpenAlgo Team\n"
    )


def test_the_reset_mails_html_has_the_specified_parts() -> None:
    html = rendered("password_reset").html
    assert ">Reset Your Password</h2>" in html
    for paragraph in (
        "You requested to reset your OpenAlgo password.",
        "This link expires in 1 hour.",
        "If you didn't request this, please ignore this email.",
    ):
        assert f">{paragraph}</p>" in html
    (button,) = [link for link in Tags(html).all("a") if "display: inline-block" in str(link["style"])]
    assert button["href"] == RESET_URL
    assert ">Reset Password</a>" in html
    for rule in ("padding: 12px 24px", "background-color: #4F46E5", "color: white", "border-radius: 6px"):
        assert rule in str(button["style"])


def test_the_order_mail_has_the_specified_text() -> None:
    mail = rendered("order_notification")
    assert mail.subject == "Order Executed: BUY RELIANCE"
    assert mail.text == (
        "Order Executed\n\n"
        "Symbol: RELIANCE\n"
        "Action: BUY\n"
        "Quantity: 100\n"
        "Price: ₹2501.5\n"
        "Order ID: 240612000123456\n"
        "Time: 2026-11-20 14:03:11\n"
    )


def test_the_notice_of_a_changed_password_says_when_and_what_to_do() -> None:
    mail = rendered("password_changed")
    assert mail.subject == "Your OpenAlgo password was changed"
    for text in (mail.text, Tags(mail.html).text):
        assert "20 November 2026 at 14:03 UTC" in text
        assert "If it was not you" in text
        assert "http://localhost:5000/forgot-password" in text


def test_the_test_message_says_how_it_was_sent() -> None:
    mail = rendered("test_message")
    assert mail.subject == "Test email from OpenAlgo"
    for value in VALUES["test_message"].values():
        assert str(value) in mail.text
        assert str(value) in Tags(mail.html).text


@every_mail
def test_a_mail_names_the_application_and_nothing_else(name: str, app: Flask) -> None:
    app.extensions[EXTENSION] = replace(app.extensions[EXTENSION], app_name='A & B <"Trading">')
    mail = rendered(name)
    assert "OpenAlgo" not in mail.subject + mail.text + mail.html
    assert 'A & B <"Trading">' in Tags(mail.html).text


@every_mail
def test_a_missing_value_is_an_error(name: str) -> None:
    for missing in VALUES[name]:
        values = {key: value for key, value in VALUES[name].items() if key != missing}
        with pytest.raises(UndefinedError, match=missing):
            render(name, **values)


@pytest.mark.parametrize("name", ["no_such_mail", "../email/password_reset", ""])
def test_a_mail_that_is_not_there_is_an_error(name: str) -> None:
    with pytest.raises(TemplateNotFound):
        render(name)


@every_mail
def test_a_value_cannot_add_markup(name: str) -> None:
    expected = [tag for tag, _ in Tags(rendered(name).html).tags]
    for key in VALUES[name]:
        tags = Tags(rendered(name, **{key: HOSTILE}).html)
        assert [tag for tag, _ in tags.tags] == expected
        assert HOSTILE in tags.text


def test_a_url_is_escaped_as_an_attribute() -> None:
    url = 'https://x.example/?a=1&lt=2&token="onclick="alert(1)'
    links = Tags(rendered("password_reset", reset_url=url).html).all("a")
    assert [link["href"] for link in links] == [url, url]
    assert not any("onclick" in link for link in links)


@pytest.mark.parametrize("control", ["\r\n", "\n", "\r", "\0", "\x0b", "\x85", "\u2028", "\u2029"], ids=ascii)
def test_a_value_cannot_add_a_line(control: str) -> None:
    hostile = f"X{control}Bcc: e@e.example"
    plain = rendered("order_notification")
    mail = rendered("order_notification", symbol=hostile, action=hostile)
    assert mail.subject == "Order Executed: X Bcc: e@e.example X Bcc: e@e.example"
    assert len(mail.text.splitlines()) == len(plain.text.splitlines())


@every_mail
def test_a_rendered_mail_can_be_sent(name: str) -> None:
    mail = rendered(name)
    made = draft("a@x.example", mail.subject, mail.text, mail.html, message_id_domain="localhost")
    assert serialise(made, Sender(email="b@x.example")).isascii()


@every_mail
def test_a_mail_loads_nothing_from_anywhere(name: str) -> None:
    tags = {tag for tag, _ in Tags(rendered(name).html).tags}
    assert tags.isdisjoint({"img", "link", "script", "iframe", "form", "object", "video", "base"})
    assert "url(" not in rendered(name).html


@every_mail
def test_styles_are_inlined_and_only_media_rules_stay(name: str) -> None:
    html = rendered(name).html
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert "prefers-color-scheme: dark" in style
    assert style.lstrip().startswith("@media")
    assert len(style) < 8192  # Gmail drops a longer one
    assert 'style="margin: 0;' in html


@every_mail
def test_a_mail_is_accessible(name: str) -> None:
    tags = Tags(rendered(name).html)
    assert tags.all("html") == [{"lang": "en", "dir": "ltr"}]
    for table in tags.all("table"):
        assert table.get("role") == "presentation" or table.get("aria-label")
    assert all(cell.get("scope") == "row" for cell in tags.all("th"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed; run `make services`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@every_mail
def test_a_mail_fits_a_phone_and_reads_in_both_themes(
    name: str, theme: Literal["light", "dark"], browser: Browser
) -> None:
    longest = dict.fromkeys(VALUES[name], "x" * 120)
    page = browser.new_page(viewport={"width": 320, "height": 600}, color_scheme=theme)
    page.set_content(render(name, **longest).html)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(244, 244, 247)"
    assert dark is (theme == "dark")
    found = Axe().run(page, options={"rules": {rule: {"enabled": False} for rule in PAGE_RULES}})
    assert found.violations_count == 0, found.generate_report()
    page.close()
