"""What becomes of typed forms that could not be taken: filled in the answer, both versions, the sign-in in place."""

from playwright.sync_api import Page, expect

from tests.browser.scene import Scene, State
from tests.browser.steps import fill, follow, press

_SPOIL = """([name, value]) => {
    for (const field of document.querySelectorAll(`main form [name=${name}]`)) field.value = value;
}"""


def sign_in_expired(scene: Scene) -> Page:
    """As a form of yesterday, which a guest sends as it is."""
    page = scene.page(scene.servers.new, path="/login")
    fill(page, {"User name or email": "alice", "Password": "typed and never shown"})
    page.evaluate(_SPOIL, ["csrf_token", "old"])
    press(page, "Sign in")
    expect(page.get_by_role("region", name="Not saved yet")).to_be_visible()
    return page


def form_of_two_versions(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", "/settings/smtp")
    follow(page, "Edit Backup")
    fill(page, {"From name": "A name that is long enough to need its room", "From address": "typed@example.com"})
    page.evaluate(_SPOIL, ["version", "99"])
    press(page, "Save")
    expect(page.get_by_role("heading", name="Both versions")).to_be_visible()
    return page


def sign_in_in_place(scene: Scene) -> Page:
    """Only with script."""
    page = scene.page(scene.servers.new, "alice", "/settings/smtp/new")
    fill(page, {"Name": "Typed"})
    page.context.clear_cookies()
    press(page, "Save")
    expect(page.get_by_role("dialog", name="Sign in again")).to_be_visible()
    return page


STATES: list[State] = [sign_in_expired, form_of_two_versions, sign_in_in_place]
