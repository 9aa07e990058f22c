"""The pages of guests and of everybody who is signed in, in every state that they have; and the list of all states."""

import re

from playwright.sync_api import Page, expect

from tests.browser import (
    states_alerts,
    states_domain,
    states_emails,
    states_factors,
    states_gallery,
    states_gateway,
    states_people,
    states_personal,
    states_settings,
    states_sign_on,
    states_start,
    states_suppression,
    states_typed,
)
from tests.browser.scene import Scene, State
from tests.browser.steps import expect_heading, fill, press
from tests.running import Client


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
    expect_heading(page, "Too many attempts")
    expect(page.get_by_text(re.compile(r"Try again in \d+ minutes"))).to_be_visible()
    return page


def sign_in_form(scene: Scene) -> Page:
    return scene.page(scene.servers.new)


def sign_in_refused(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, path="/login")
    fill(page, {"User name or email": "alice", "Password": "wrong"})
    press(page, "Sign in")
    expect(page.get_by_role("alert")).to_contain_text("Wrong user name or password.")
    return page


def forgot(scene: Scene) -> Page:
    return scene.page(scene.servers.new, path="/forgot-password")


def forgot_sent(scene: Scene) -> Page:
    page = forgot(scene)
    fill(page, {"Email": "nobody@example.com"})
    press(page, "Send the link")
    expect_heading(page, "Check your inbox")
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
    page = scene.page(scene.servers.new, path="/reset-password?token=abc")
    expect_heading(page, "This link no longer works")
    return page


def reset_link_missing(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, path="/reset-password")
    expect_heading(page, "Open the link in your email")
    return page


def account(scene: Scene) -> Page:
    return scene.page(scene.servers.new, "bob", "/account")


def account_refused(scene: Scene) -> Page:
    page = account(scene)
    press(page, "Change password")
    expect(page.locator("#current_password")).to_have_attribute("aria-invalid", "true")
    return page


def account_sessions(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", "/account")
    expect(page.get_by_role("list", name="Sessions").get_by_text("This session")).to_be_visible()
    return page


def sessions_to_end(scene: Scene) -> Page:
    page = account_sessions(scene)
    page.get_by_role("link", name="Sign out everywhere else").click()
    expect_heading(page, "Sign out everywhere else?")
    expect(page.get_by_label("Revoke my API tokens too")).to_be_visible()
    return page


def inbox_empty(scene: Scene) -> Page:
    return scene.page(scene.servers.new, path="/inbox")


def inbox_with_mail(scene: Scene) -> Page:
    return scene.page(scene.servers.working, "alice", "/inbox")


def inbox_message(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", "/inbox/1")
    page.locator("summary", has_text="Headers").click()
    expect(page.frame_locator("iframe").get_by_role("link", name="Reset Password")).to_be_visible()
    return page


def api_document(scene: Scene) -> Page:
    return scene.page(scene.servers.new, "alice", "/api/docs")


def api_subject(scene: Scene) -> Page:
    return scene.page(scene.servers.new, "alice", "/api/docs/sending")


def forbidden(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, "bob", "/settings/smtp")
    expect_heading(page, "Administrators only")
    return page


def not_found(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, path="/nowhere")
    expect_heading(page, "Page not found")
    return page


STATES: list[State] = [
    set_up,
    set_up_refused,
    too_many_tries,
    sign_in_form,
    sign_in_refused,
    forgot,
    forgot_sent,
    reset,
    reset_refused,
    reset_link_unknown,
    reset_link_missing,
    *states_start.STATES,
    *states_settings.STATES,
    *states_emails.STATES,
    *states_suppression.STATES,
    *states_domain.STATES,
    *states_alerts.STATES,
    *states_gallery.STATES,
    *states_gateway.STATES,
    *states_factors.STATES,
    *states_people.STATES,
    *states_sign_on.STATES,
    *states_personal.STATES,
    *states_typed.STATES,
    account,
    account_refused,
    account_sessions,
    sessions_to_end,
    inbox_empty,
    inbox_with_mail,
    inbox_message,
    api_document,
    api_subject,
    forbidden,
    not_found,
]
