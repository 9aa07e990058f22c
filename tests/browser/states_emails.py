"""The mail log in every state that it has."""

from playwright.sync_api import Page, expect

from tests.browser.scene import Scene, State
from tests.browser.steps import expect_heading, follow, press


def emails_none(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, "alice", "/emails")
    expect(page.get_by_role("heading", name="No emails yet")).to_be_visible()
    return page


def emails_in_every_state(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", "/emails")
    expect(page.get_by_role("link", name="h***@example.com")).to_be_visible()
    return page


def emails_with_a_tag(scene: Scene) -> Page:
    page = emails_in_every_state(scene)
    follow(page, "order")
    expect(page.get_by_role("link", name="Tag: order")).to_be_visible()
    return page


def emails_filtered_wrongly(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", "/emails?since=yesterday&account_id=nobody&cause=no_recipient")
    expect(page.get_by_role("alert")).to_contain_text("Check 2 fields")
    return page


def emails_none_match(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", "/emails?recipient=nobody.example&since=2026-01-01T00:00")
    expect(page.get_by_role("heading", name="No email matches")).to_be_visible()
    page.get_by_text("More filters").click()
    keys = page.get_by_text("Keyboard")
    if keys.is_visible():  # without script there are none
        keys.click()
    return page


def emails_to_export(scene: Scene) -> Page:
    page = emails_in_every_state(scene)
    page.get_by_text("Export").click()
    expect(page.get_by_role("button", name="Download")).to_be_visible()
    return page


def emails_sent_directly(scene: Scene) -> Page:
    page = emails_in_every_state(scene)
    follow(page, "Sent directly")
    expect(page.get_by_text("550 No such user here")).to_be_visible()
    return page


def email_failed(scene: Scene) -> Page:
    page = emails_in_every_state(scene)
    follow(page, "j***@example.com")
    expect_heading(page, "Email to joe@example.com")
    page.get_by_text("Details").click()
    return page


def email_to_send_again(scene: Scene) -> Page:
    page = email_failed(scene)
    follow(page, "Send again")
    expect_heading(page, "Send this email again?")
    return page


def email_held(scene: Scene) -> Page:
    page = emails_in_every_state(scene)
    follow(page, "h***@example.com")
    expect(page.get_by_text("If you release it, it will be sent")).to_be_visible()
    return page


def email_to_release(scene: Scene) -> Page:
    page = email_held(scene)
    follow(page, "Release")
    expect_heading(page, "Release this email?")
    return page


def email_opened(scene: Scene) -> Page:
    page = emails_in_every_state(scene)
    follow(page, "r***@example.com")
    expect(page.get_by_role("heading", name="Opens 3")).to_be_visible()
    return page


def emails_to_correct(scene: Scene) -> Page:
    page = emails_in_every_state(scene)
    page.get_by_role("checkbox", name="Select").first.check()
    press(page, "Correct address…")
    press(page, "Preview")
    expect(page.get_by_text("Enter the corrected address.").first).to_be_visible()
    return page


def emails_previewed(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", "/emails/many")
    press(page, "Preview")
    expect(page.get_by_text("Cannot be sent again")).to_be_visible()
    return page


STATES: list[State] = [
    emails_none,
    emails_in_every_state,
    emails_with_a_tag,
    emails_filtered_wrongly,
    emails_none_match,
    emails_to_export,
    emails_sent_directly,
    emails_to_correct,
    emails_previewed,
    email_failed,
    email_to_send_again,
    email_held,
    email_to_release,
    email_opened,
]
