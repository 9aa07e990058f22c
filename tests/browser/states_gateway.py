"""The page of the gateway in every state: off, with applications that came so far, and the lines for one."""

from datetime import timedelta

from playwright.sync_api import Page, expect
from sqlalchemy import delete

from database.api_token_db import ApiToken
from database.engine import transaction
from services.accounts import accounts, api_tokens
from services.accounts.api_tokens import Scope
from services.gateway import presence, uses
from services.gateway.uses import Refused, Visit, Who
from tests.browser.scene import Scene, State
from tests.browser.steps import expect_heading, fill, press
from tests.mails import queued
from utils import clock

GATEWAY = "/settings/gateway"
NOT_YOURS = "Your account may not send from the From address. Add it to your senders, and confirm it."


def prepare(scene: Scene) -> None:
    """A gateway that runs, and applications that have come so far."""
    later = clock.now() + timedelta(days=1)
    with scene.inside(scene.servers.peopled):
        with transaction() as session:
            session.execute(delete(ApiToken))
        presence.beat("p", clock.now(), ("127.0.0.1:2525", "0.0.0.0:587", "smtps://0.0.0.0:465"))
        alice = accounts.find_by_login("alice")
        assert alice
        names = "Uptime Kuma in the cellar", "Nextcloud", "Gitea", "Grafana"
        waits, connected, refused, came = (
            api_tokens.create(alice.id, name, None, [Scope.SEND])[1].id for name in names
        )
        mail = queued("jane@example.com", send_at=later)
        visits = [
            Visit(who=Who(token_id=connected), address="10.0.0.5", ehlo="cloud.example.com"),
            Visit(who=Who(token_id=refused), address="2001:db8::5", ehlo="[127.0.0.1]",
                  refused=Refused(code=550, words=NOT_YOURS)),
            Visit(who=Who(token_id=came), address="10.0.0.6", ehlo="grafana", mail_ids=[mail]),
            Visit(who=Who(network="10.1.0.0/16"), address="10.1.0.9", ehlo="printer"),
        ]  # fmt: skip
        with transaction() as session:
            uses.note(session, visits)
        assert waits


def gateway_off(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, "alice", GATEWAY)
    expect(page.get_by_text("The gateway is off.")).to_be_visible()
    return page


def gateway_on(scene: Scene) -> Page:
    prepare(scene)
    page = scene.page(scene.servers.peopled, "alice", GATEWAY)
    expect(page.get_by_text(NOT_YOURS)).to_be_visible()
    return page


def gateway_refused(scene: Scene) -> Page:
    page = gateway_on(scene)
    fill(page, {"Sends as": "nobody"})
    press(page, "Connect")
    expect(page.get_by_role("alert")).to_contain_text("Check 2 fields")
    return page


def gateway_lines(scene: Scene) -> Page:
    page = gateway_on(scene)
    page.get_by_label("Application", exact=True).select_option(label="WordPress")
    press(page, "Connect")
    expect_heading(page, "Connect WordPress")
    expect(page.get_by_text("Waiting for its first email…")).to_be_visible()
    return page


def gateway_fields(scene: Scene) -> Page:
    page = gateway_on(scene)
    page.get_by_label("Application", exact=True).select_option(label="Another program")
    page.get_by_label("Server", exact=True).select_option(index=2)
    press(page, "Connect")
    page.locator("summary", has_text="Or over HTTP").click()
    expect(page.get_by_text("only programs on this machine reach")).to_be_visible()
    return page


def gateway_application(scene: Scene) -> Page:
    page = gateway_on(scene)
    page.get_by_role("link", name="Gitea", exact=True).click()
    expect_heading(page, "Gitea")
    return page


STATES: list[State] = [gateway_off, gateway_on, gateway_refused, gateway_lines, gateway_fields, gateway_application]
