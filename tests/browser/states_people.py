"""The accounts' page in every state that it has, and the pages where addresses and senders are confirmed."""

from playwright.sync_api import Page, expect

from tests.browser.scene import Scene, State
from tests.browser.steps import expect_heading, fill, follow, follow_in_menu, press


def accounts_list(scene: Scene) -> Page:
    page = scene.page(scene.servers.peopled, "alice", "/settings/accounts")
    expect_heading(page, "Accounts")
    return page


def accounts_refused(scene: Scene) -> Page:
    page = accounts_list(scene)
    press(page, "Invite")
    expect(page.get_by_role("alert")).to_contain_text("Check 2 fields")
    return page


def accounts_invited(scene: Scene) -> Page:
    page = accounts_list(scene)
    if not page.get_by_role("heading", name="carol").count():
        fill(page, {"User name": "carol", "Email": "carol@example.com"})
        press(page, "Invite")
    expect(page.get_by_role("button", name="Send another link: carol")).to_be_visible()
    return page


def account_to_disable(scene: Scene) -> Page:
    page = accounts_list(scene)
    follow(page, "Disable: bob")
    expect_heading(page, "Disable “bob”?")
    return page


def account_to_promote(scene: Scene) -> Page:
    page = accounts_list(scene)
    follow_in_menu(page, "Make administrator: bob")
    expect_heading(page, "Make “bob” an administrator?")
    return page


def account_to_delete(scene: Scene) -> Page:
    page = accounts_list(scene)
    follow_in_menu(page, "Delete: bob")
    expect_heading(page, "Delete “bob”?")
    return page


def account_that_must_stay(scene: Scene) -> Page:
    page = accounts_list(scene)
    follow_in_menu(page, "Remove as administrator: alice")
    expect(page.get_by_text("only administrator who can sign in")).to_be_visible()
    return page


def address_link_unknown(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, path="/confirm-address?token=abc")
    expect_heading(page, "This link no longer works")
    return page


def address_link_missing(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, path="/confirm-address")
    expect_heading(page, "Open the link in your email")
    return page


def senders(scene: Scene) -> Page:
    page = scene.page(scene.servers.peopled, "alice", "/account/senders")
    if not page.get_by_text("Not confirmed yet").count():
        fill(page, {"Another address": "sales@shop.example"})
        press(page, "Send a link there")
    expect(page.get_by_text("Not confirmed yet")).to_be_visible()
    return page


def sender_refused(scene: Scene) -> Page:
    page = scene.page(scene.servers.peopled, "alice", "/account/senders")
    press(page, "Send a link there")
    expect(page.get_by_label("Another address", exact=True)).to_have_attribute("aria-invalid", "true")
    return page


def sender_to_confirm(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, path=scene.servers.sender_link)
    expect_heading(page, "Confirm a sender")
    return page


def sender_link_unknown(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, path="/confirm-sender?token=abc")
    expect_heading(page, "This link no longer works")
    return page


STATES: list[State] = [
    accounts_list,
    accounts_refused,
    accounts_invited,
    account_to_disable,
    account_to_promote,
    account_to_delete,
    account_that_must_stay,
    address_link_unknown,
    address_link_missing,
    senders,
    sender_refused,
    sender_to_confirm,
    sender_link_unknown,
]
