"""The pages of single sign-on that there are without the provider, which is away here; others are in its story."""

from playwright.sync_api import Page, expect

from tests.browser.scene import PROVIDER, Scene, State
from tests.browser.steps import expect_heading, follow


def sign_in_by_provider_refused(scene: Scene) -> Page:
    page = scene.page(scene.servers.peopled, path="/login/oidc/callback?code=a&state=b")
    expect(page.get_by_role("alert")).to_contain_text("did not begin in this browser")
    return page


def account_linked(scene: Scene) -> Page:
    page = scene.page(scene.servers.peopled, "alice", "/account")
    expect(page.get_by_role("link", name="Unlink ada")).to_be_visible()
    return page


def sign_in_to_link(scene: Scene) -> Page:
    page = account_linked(scene)
    follow(page, "Link another sign-in")
    expect_heading(page, f"Sign in with {PROVIDER}")
    return page


def sign_in_to_unlink(scene: Scene) -> Page:
    page = account_linked(scene)
    follow(page, "Unlink ada")
    expect_heading(page, "Unlink ada?")
    return page


def sign_in_link_over(scene: Scene) -> Page:
    page = scene.page(scene.servers.peopled, path="/login/link?token=abc")
    expect_heading(page, "This link no longer works")
    return page


STATES: list[State] = [
    sign_in_by_provider_refused,
    account_linked,
    sign_in_to_link,
    sign_in_to_unlink,
    sign_in_link_over,
]
