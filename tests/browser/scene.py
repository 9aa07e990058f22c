"""The pages in every state that they have, and the servers that stand for the states of an installation."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import expect_heading, expect_outcome, fill, press, report, session_of, state
from tests.running import Client, Sealpost
from tests.smtp_servers import RecordingServer, ScriptedServer, free_port


class Servers:
    """Sealpost without an administrator, with accounts alone, and with mail; and mail servers for it."""

    def __init__(
        self, browser: Browser, start_server: StartServer, mail_server: RecordingServer, silent: ScriptedServer
    ) -> None:
        self.mail_server = mail_server
        self.silent = silent
        self.untouched = start_server()
        self.new = start_server(with_accounts=True)
        self.working = start_server(with_accounts=True)
        self.reset_link = self._use_the_local_inbox()
        self._set_up_mail()
        self.sessions = {
            (server.url, login): session_of(browser, server.url, login)
            for server, login in ((self.new, "alice"), (self.new, "bob"), (self.working, "alice"))
        }

    def _use_the_local_inbox(self) -> str:
        """Have a reset mail in the local inbox; the path of its link."""
        client = Client(self.working.url)
        client.post_form("/forgot-password", {"email": "alice@example.com"})
        self.working.wait_for("email_attempt")
        link = re.search(r"/reset-password\?token=[\w-]+", client.get("/inbox/1").text)
        assert link
        return link[0]

    def _set_up_mail(self) -> None:
        """Save and verify a server."""
        change = {
            "smtp_server": "127.0.0.1",
            "smtp_port": self.mail_server.port,
            "use_tls": False,
            "from_email": "shop@example.com",
        }
        token, client = self.working.environment["ADMIN_TOKEN"], Client(self.working.url)
        for path in ("/api/settings/smtp", "/api/settings/smtp/test"):
            answer = client.post_json(path, json.dumps(change).encode(), token)
            assert answer.status == 200, answer.text


@dataclass
class Scene:
    """Where the states are shown: ``options`` go to every new page."""

    servers: Servers
    new_page: NewPage
    options: dict[str, Any] = field(default_factory=dict)

    def page(self, server: Sealpost, login: str = "", path: str = "/") -> Page:
        """A page of this server, as somebody who is signed in or as a guest."""
        session = self.servers.sessions.get((server.url, login))
        page = self.new_page(server.url, storage_state=session, **self.options)
        page.goto(path)
        return page


def set_up(scene: Scene) -> Page:
    page = scene.page(scene.servers.untouched)
    expect_heading(page, "Create the first administrator")
    return page


def set_up_refused(scene: Scene) -> Page:
    page = set_up(scene)
    press(page, "Create administrator")
    expect(page.get_by_role("alert")).to_contain_text("Check 4 fields")
    return page


def too_many_tries(scene: Scene) -> Page:
    page = scene.page(scene.servers.untouched, path="/forgot-password")
    client = Client(scene.servers.untouched.url)
    while client.post_form("/forgot-password", {"email": "nobody@example.com"}).status != 429:
        pass
    fill(page, {"Email": "nobody@example.com"})
    press(page, "Send the link")
    expect_heading(page, "Too many tries")
    expect(page.get_by_text(re.compile(r"Try again in \d+ minutes"))).to_be_visible()
    return page


def sign_in_form(scene: Scene) -> Page:
    return scene.page(scene.servers.new)


def sign_in_refused(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, path="/login")
    fill(page, {"User name or email": "alice", "Password": "wrong"})
    press(page, "Sign in")
    expect(page.get_by_role("alert")).to_contain_text("No account has this name and password.")
    return page


def forgot(scene: Scene) -> Page:
    return scene.page(scene.servers.new, path="/forgot-password")


def forgot_refused(scene: Scene) -> Page:
    page = forgot(scene)
    press(page, "Send the link")
    expect(page.get_by_label("Email")).to_have_attribute("aria-invalid", "true")
    return page


def forgot_sent(scene: Scene) -> Page:
    page = forgot(scene)
    fill(page, {"Email": "nobody@example.com"})
    press(page, "Send the link")
    expect_heading(page, "Look in your inbox")
    return page


def reset(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, path=scene.servers.reset_link)
    expect_heading(page, "Choose a new password")
    return page


def reset_refused(scene: Scene) -> Page:
    page = reset(scene)
    fill(page, {"New password": "short"})
    press(page, "Save the new password")
    expect(page.get_by_label("New password", exact=True)).to_have_attribute("aria-invalid", "true")
    return page


def reset_link_unknown(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, path="/reset-password")
    expect_heading(page, "This link no longer works")
    return page


def settings_empty(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, "alice", "/settings/smtp")
    expect(state(page)).to_contain_text("No server yet.")
    return page


def settings_with_a_provider(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, "alice", "/settings/smtp?preset=gmail")
    expect(page.get_by_label("Server", exact=True)).to_have_value("smtp.gmail.com")
    return page


def settings_refused(scene: Scene) -> Page:
    page = settings_empty(scene)
    press(page, "Save")
    expect(page.get_by_role("alert")).to_contain_text("fields")
    return page


def settings_saved(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", "/settings/smtp")
    expect(state(page)).to_contain_text("Verified")
    expect(page.get_by_label("Provider")).to_have_value("")
    return page


def settings_tested(scene: Scene) -> Page:
    page = settings_saved(scene)
    press(page, "Test Connection")
    expect_outcome(page, "Connection successful")
    return page


def settings_message_sent(scene: Scene) -> Page:
    page = settings_saved(scene)
    press(page, "Send test message")
    expect_outcome(page, "Test message accepted")
    return page


def settings_test_running(scene: Scene) -> Page:
    page = settings_saved(scene)
    fill(page, {"Port": str(scene.servers.silent.port)})
    press(page, "Test Connection")
    expect(report(page).get_by_role("listitem").filter(has_text="Greeting")).to_contain_text("Running")
    return page


def settings_test_failed(scene: Scene) -> Page:
    page = settings_saved(scene)
    fill(page, {"Port": str(free_port())})
    press(page, "Test Connection")
    expect_outcome(page, "Could not connect to server")
    return page


def account(scene: Scene) -> Page:
    return scene.page(scene.servers.new, "bob", "/account")


def account_refused(scene: Scene) -> Page:
    page = account(scene)
    press(page, "Change password")
    expect(page.get_by_label("Current password", exact=True)).to_have_attribute("aria-invalid", "true")
    return page


def inbox_empty(scene: Scene) -> Page:
    return scene.page(scene.servers.new, path="/inbox")


def inbox_with_mail(scene: Scene) -> Page:
    return scene.page(scene.servers.working, "alice", "/inbox")


def inbox_message(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", "/inbox/1")
    page.get_by_text("Headers").click()
    expect(page.frame_locator("iframe").get_by_role("link", name="Reset Password")).to_be_visible()
    return page


def api_document(scene: Scene) -> Page:
    return scene.page(scene.servers.new, "alice", "/api/docs")


def forbidden(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, "bob", "/settings/smtp")
    expect_heading(page, "Administrators only")
    return page


def not_found(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, path="/nowhere")
    expect_heading(page, "Nothing here")
    return page


State = Callable[[Scene], Page]
STATES: list[State] = [
    set_up,
    set_up_refused,
    too_many_tries,
    sign_in_form,
    sign_in_refused,
    forgot,
    forgot_refused,
    forgot_sent,
    reset,
    reset_refused,
    reset_link_unknown,
    settings_empty,
    settings_with_a_provider,
    settings_refused,
    settings_saved,
    settings_tested,
    settings_test_running,
    settings_message_sent,
    settings_test_failed,
    account,
    account_refused,
    inbox_empty,
    inbox_with_mail,
    inbox_message,
    api_document,
    forbidden,
    not_found,
]
