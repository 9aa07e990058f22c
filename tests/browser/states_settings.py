"""The pages of administrators in every state that they have: servers, audit trail, tokens."""

from playwright.sync_api import Page, expect

from services.settings import configs
from tests.browser.scene import Scene, State
from tests.browser.steps import (
    expect_heading,
    expect_outcome,
    fill,
    follow,
    follow_in_menu,
    press,
    report,
    row,
    scripted,
    server_state,
    state,
)


def servers_none(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, "alice", "/settings/smtp")
    expect(state(page)).to_contain_text("No mail server yet.")
    return page


def servers_three(scene: Scene) -> Page:
    """One that sends, one beside it, one that was altered in the database."""
    page = scene.page(scene.servers.working, "alice", "/settings/smtp")
    expect(row(page, "Primary")).to_contain_text("Verified")
    expect(row(page, "Backup")).to_contain_text("Inactive")
    expect(row(page, "Altered")).to_contain_text("Cannot be used")
    return page


def servers_none_matches(scene: Scene) -> Page:
    page = servers_three(scene)
    fill(page, {"Search": "nowhere"})
    press(page, "Search")
    expect(page.get_by_role("heading", name="No matching servers")).to_be_visible()
    return page


def servers_menu(scene: Scene) -> Page:
    page = servers_three(scene)
    scripted(page.get_by_label("More for Backup")).click()
    expect(page.get_by_role("link", name="Delete Backup")).to_be_visible()
    return page


def navigation_menu(scene: Scene) -> Page:
    page = servers_three(scene)
    scripted(page.get_by_role("navigation", name="Main").locator("summary")).click()
    expect(page.get_by_role("link", name="Domain check")).to_be_visible()
    return page


def server_activation(scene: Scene) -> Page:
    page = servers_three(scene)
    press(page, "Activate Backup")
    expect_heading(page, "Activate “Backup”?")
    expect(page.get_by_role("button", name="Test it first")).to_be_visible()
    return page


def server_activated(scene: Scene) -> Page:
    """With the offer to undo it; it is undone behind the page's back."""
    page = server_activation(scene)
    press(page, "Activate anyway")
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    with scene.inside(scene.servers.working):
        configs.activate(configs.named("Primary").row.id)
    return page


def server_deactivation(scene: Scene) -> Page:
    page = servers_three(scene)
    follow(page, "Deactivate Primary")
    expect_heading(page, "Deactivate “Primary”?")
    return page


def server_deletion(scene: Scene) -> Page:
    page = servers_three(scene)
    follow_in_menu(page, "Delete Backup")
    expect_heading(page, "Delete “Backup”?")
    return page


def form_with_a_provider(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, "alice", "/settings/smtp/new?preset=gmail")
    expect(page.get_by_label("Server", exact=True)).to_have_value("smtp.gmail.com")
    return page


def form_with_a_service(scene: Scene) -> Page:
    """With a choice of its servers, and with what must be known of it."""
    page = scene.page(scene.servers.new, "alice", "/settings/smtp/new?find=Amazon+SES")
    expect(page.get_by_label("Which server")).to_have_value("ses:us-east-1")
    return page


def form_with_an_unknown_provider(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, "alice", "/settings/smtp/new?find=nobody")
    expect(page.get_by_text("No provider with this name.")).to_be_visible()
    return page


def form_refused(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, "alice", "/settings/smtp/new")
    press(page, "Save")
    expect(page.get_by_role("alert")).to_contain_text("fields")
    return page


def form_of_a_copy(scene: Scene) -> Page:
    page = servers_three(scene)
    follow_in_menu(page, "Duplicate Primary")
    expect_heading(page, "Duplicate a server")
    return page


def form_saved(scene: Scene) -> Page:
    page = servers_three(scene)
    follow(page, "Edit Primary")
    expect(server_state(page)).to_contain_text("Verified")
    expect(page.get_by_label("Or choose from the list")).to_have_value("")
    return page


def form_altered(scene: Scene) -> Page:
    page = servers_three(scene)
    follow(page, "Edit Altered")
    expect(server_state(page)).to_contain_text("Cannot be used")
    return page


def form_with_a_client_certificate(scene: Scene) -> Page:
    page = servers_three(scene)
    follow(page, "Edit Partner")
    page.get_by_text("CN=shop.example.com").first.click()
    expect(page.get_by_label("Private key")).to_be_visible()
    return page


def form_with_a_wrong_client_certificate(scene: Scene) -> Page:
    page = form_with_a_client_certificate(scene)
    fill(page, {"Certificate": "no certificate", "Private key": "no key"})
    press(page, "Save")
    expect(page.get_by_role("alert")).to_contain_text("Check 2 fields")
    # Sent from within the page, which alone may keep a secret; without script it is to be pasted again.
    expect(page.get_by_label("Private key")).to_have_value("no key" if scene.is_scripted else "")
    return page


def form_test_running(scene: Scene) -> Page:
    page = form_saved(scene)
    page.get_by_text("Reply-To, sign-in method, EHLO name, timeout, limits").click()
    fill(page, {"Port": str(scene.servers.silent.port), "Timeout in seconds": "60"})
    press(page, "Test Connection")
    expect(report(page).get_by_role("listitem").filter(has_text="Greeting")).to_contain_text("Running")
    return page


def form_test_cancelled(scene: Scene) -> Page:
    page = form_test_running(scene)
    press(page, "Cancel")
    expect_outcome(page, "Test cancelled")
    return page


def form_test_unsaved(scene: Scene) -> Page:
    """With Save beside the report."""
    page = form_saved(scene)
    fill(page, {"From address": "another@example.com"})
    press(page, "Test Connection")
    expect(report(page).get_by_role("button", name="Save and use")).to_be_visible()
    return page


def form_message_sent(scene: Scene) -> Page:
    page = form_saved(scene)
    press(page, "Send test email")
    expect_outcome(page, "Test email accepted")
    return page


def form_test_failed(scene: Scene) -> Page:
    page = form_saved(scene)
    page.get_by_role("radio", name="TLS", exact=True).check()
    press(page, "Test Connection")
    expect_outcome(page, "The server starts unencrypted")
    page.get_by_text("Full conversation").click()
    return page


def audit_trail(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", "/settings/audit")
    expect(page.get_by_role("table").get_by_text("Backup").first).to_be_visible()
    return page


def audit_none_matches(scene: Scene) -> Page:
    page = audit_trail(scene)
    fill(page, {"Search": "nowhere"})
    press(page, "Search")
    expect(page.get_by_role("heading", name="No matching events")).to_be_visible()
    return page


def all_tokens(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", "/settings/tokens")
    expect(row(page, "deploy script")).to_contain_text("of alice, for admin")
    return page


def tokens(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", "/account/tokens")
    expect(row(page, "deploy script")).to_contain_text("Active")
    return page


def token_refused(scene: Scene) -> Page:
    page = tokens(scene)
    page.get_by_role("checkbox", name="Send", exact=True).uncheck()
    press(page, "Create token")
    expect(page.get_by_role("alert")).to_contain_text("Check 2 fields")
    return page


def token_made(scene: Scene) -> Page:
    page = tokens(scene)
    fill(page, {"Name": "another script"})
    press(page, "Create token")
    expect(page.locator("#token")).to_be_visible()
    return page


def token_revocation(scene: Scene) -> Page:
    page = tokens(scene)
    follow(page, "Revoke deploy script")
    expect_heading(page, "Revoke “deploy script”?")
    return page


STATES: list[State] = [
    servers_none,
    servers_three,
    servers_none_matches,
    servers_menu,
    navigation_menu,
    server_activation,
    server_activated,
    server_deactivation,
    server_deletion,
    form_with_a_provider,
    form_with_a_service,
    form_with_an_unknown_provider,
    form_refused,
    form_of_a_copy,
    form_saved,
    form_altered,
    form_with_a_client_certificate,
    form_with_a_wrong_client_certificate,
    form_test_running,
    form_test_cancelled,
    form_test_unsaved,
    form_message_sent,
    form_test_failed,
    audit_trail,
    audit_none_matches,
    all_tokens,
    tokens,
    token_refused,
    token_made,
    token_revocation,
]
