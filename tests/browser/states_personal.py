"""Accounts' own servers in every state: the account's page, and the administrators' list, policy and templates."""

from playwright.sync_api import Page, expect

from database import policy_db
from database.engine import transaction
from services.personal import oversight, policy_changes, templates
from services.personal.oversight import Decision
from services.smtp.settings import Security
from tests import own_servers
from tests.browser.scene import Scene, State
from tests.browser.steps import expect_heading, fill, follow, follow_in_menu, press
from utils import clock

PAGE = "/account/smtp"
LIST = "/settings/accounts/smtp"
BOB = 2
TEMPLATE = {"domain": "example.com", "host": "smtp.example.com", "port": "587", "security": "starttls"}


def prepare(scene: Scene, *, template: bool = False, decision: Decision = Decision.OWN, **own: object) -> None:
    """Bob has a server of his own with these columns, or none; what is decided of it, whether a template is there."""
    with scene.inside(scene.servers.peopled):
        own_servers.forget(BOB)
        for each in templates.every():
            templates.delete(each.id)
        with transaction() as session:
            if policy := policy_db.find(session):
                session.delete(policy)
        if template:
            templates.save(TEMPLATE)
        oversight.decide(BOB, decision)
        oversight.limit(BOB, None, None)
        if own:
            place = "smtp.bob.example", 587
            made = own_servers.bring(BOB, *place, login=("bob", "secret"), security=Security.STARTTLS)
            own_servers.change(made, **own)


def bobs_page(scene: Scene, path: str = PAGE) -> Page:
    page = scene.page(scene.servers.peopled, "bob", path)
    expect_heading(page, "Your mail server")
    return page


def own_server_none(scene: Scene) -> Page:
    prepare(scene)
    return bobs_page(scene)


def own_server_by_template(scene: Scene) -> Page:
    prepare(scene, template=True)
    page = bobs_page(scene)
    expect(page.get_by_text("Set by an administrator for addresses at example.com")).to_be_visible()
    return page


def own_server_refused(scene: Scene) -> Page:
    page = own_server_none(scene)
    press(page, "Save")
    expect(page.get_by_label("Server", exact=True)).to_have_attribute("aria-invalid", "true")
    return page


def own_server_test_refused(scene: Scene) -> Page:
    page = own_server_none(scene)
    fill(page, {"Server": "169.254.169.254", "User name": "bob", "Password": "secret"})
    press(page, "Test Connection")
    expect(
        page.get_by_text("This server cannot be used. Check its name, or ask an administrator.").first
    ).to_be_visible()
    return page


def own_server_test_failed(scene: Scene) -> Page:
    page = own_server_none(scene)
    fill(page, {"Server": "127.74.1.1", "Port": "2525", "User name": "bob", "Password": "secret"})
    press(page, "Test Connection")
    expect(page.locator('[data-test-panel][data-outcome="failed"]')).to_be_visible()
    return page


def own_server_stored(scene: Scene) -> Page:
    prepare(scene, fell_back=0)
    page = bobs_page(scene)
    expect(page.get_by_text("Your own server (smtp.bob.example) sends your mail")).to_be_visible()
    return page


def own_server_broken(scene: Scene) -> Page:
    prepare(scene, last_error="Authentication failed", fell_back=3, broken_told_at=clock.now())
    page = bobs_page(scene)
    expect(page.get_by_text("is failing")).to_be_visible()
    return page


def own_server_after_a_changed_address(scene: Scene) -> Page:
    prepare(scene, is_active=False, inactive_reason="address_changed")
    page = bobs_page(scene)
    expect(page.get_by_text("address has changed")).to_be_visible()
    return page


def own_server_disabled(scene: Scene) -> Page:
    prepare(scene, decision=Decision.DISABLED, fell_back=0)
    page = bobs_page(scene)
    expect(page.get_by_text("An administrator has disabled this server.")).to_be_visible()
    return page


def own_server_to_remove(scene: Scene) -> Page:
    page = own_server_stored(scene)
    follow(page, "Use the global server again")
    expect_heading(page, "Use the global server again?")
    return page


def overseen_none(scene: Scene) -> Page:
    prepare(scene)
    page = scene.page(scene.servers.peopled, "alice", LIST)
    expect(page.get_by_role("heading", name="No account has its own server")).to_be_visible()
    return page


def overseen(scene: Scene) -> Page:
    prepare(scene, last_error="Authentication failed", fell_back=3, broken_told_at=clock.now())
    page = scene.page(scene.servers.peopled, "alice", LIST)
    expect(page.get_by_text("Fell back 3 times")).to_be_visible()
    return page


def overseen_none_matches(scene: Scene) -> Page:
    page = overseen(scene)
    fill(page, {"Search": "nowhere"})
    press(page, "Search")
    expect(page.get_by_role("heading", name="No matching accounts")).to_be_visible()
    return page


def own_server_to_disable(scene: Scene) -> Page:
    page = overseen(scene)
    follow_in_menu(page, "Disable: bob")
    expect_heading(page, "Disable the server of “bob”?")
    return page


def limits_refused(scene: Scene) -> Page:
    page = overseen(scene)
    follow(page, "Limits: bob")
    fill(page, {"Emails per minute": "many"})
    press(page, "Save")
    expect(page.get_by_label("Emails per minute")).to_have_attribute("aria-invalid", "true")
    return page


def policy(scene: Scene) -> Page:
    prepare(scene)
    page = scene.page(scene.servers.peopled, "alice", f"{LIST}/policy")
    expect_heading(page, "Policy for accounts’ servers")
    return page


def policy_refused(scene: Scene) -> Page:
    page = policy(scene)
    page.get_by_role("radio", name="Only these hosts and domains").check()
    fill(page, {"Emails per day": "many"})
    press(page, "Save")
    expect(page.get_by_label("Emails per day")).to_have_attribute("aria-invalid", "true")
    return page


def policy_met(scene: Scene) -> Page:
    """Somebody else has saved it meanwhile."""
    page = policy(scene)
    with scene.inside(scene.servers.peopled):
        policy_changes.save({"fallback": "never"}, actor="carol")
    page.get_by_role("radio", name="Only these hosts and domains").check()
    fill(page, {"Hosts and domains": "smtp.gmail.com"})
    press(page, "Save")
    expect(page.get_by_role("heading", name="Both versions")).to_be_visible()
    return page


def policy_fixed(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, "alice", f"{LIST}/policy")
    expect(page.get_by_text("PERSONAL_SMTP_FALLBACK in the environment sets this.")).to_be_visible()
    return page


def templates_some(scene: Scene) -> Page:
    prepare(scene, template=True)
    page = scene.page(scene.servers.peopled, "alice", f"{LIST}/templates")
    press(page, "Add")
    expect(page.get_by_role("alert")).to_contain_text("Check 2 fields")
    return page


def template_to_change(scene: Scene) -> Page:
    prepare(scene, template=True)
    page = scene.page(scene.servers.peopled, "alice", f"{LIST}/templates")
    follow(page, "Change: example.com")
    expect_heading(page, "Template for example.com")
    return page


STATES: list[State] = [
    own_server_none,
    own_server_by_template,
    own_server_refused,
    own_server_test_refused,
    own_server_test_failed,
    own_server_stored,
    own_server_broken,
    own_server_after_a_changed_address,
    own_server_disabled,
    own_server_to_remove,
    overseen_none,
    overseen,
    overseen_none_matches,
    own_server_to_disable,
    limits_refused,
    policy,
    policy_refused,
    policy_met,
    policy_fixed,
    templates_some,
    template_to_change,
]
