"""The pages about what emails look like: the templates, one of them in each theme, the branding and its preview."""

from playwright.sync_api import Page, expect

from tests.browser.scene import Scene, State
from tests.browser.steps import expect_heading, fill, follow, press


def email_templates(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", "/settings/mails")
    expect_heading(page, "Email templates")
    return page


def email_template(scene: Scene) -> Page:
    page = email_templates(scene)
    follow(page, "View password_reset")
    expect_heading(page, "Password reset")
    return page


def email_template_in_the_dark(scene: Scene) -> Page:
    page = email_template(scene)
    page.get_by_label("Theme", exact=True).get_by_role("link", name="Dark").click()
    expect(page.get_by_title("The email on a phone, dark theme")).to_be_visible()
    return page


def email_sample_sent(scene: Scene) -> Page:
    page = email_template(scene)
    press(page, "Send it to me")
    expect(page.get_by_text("alice@example.com").first).to_be_visible()
    return page


def branding_previewed(scene: Scene) -> Page:
    """What was typed shows in the frame, and stays in the form, to be looked at again or saved."""
    page = scene.page(scene.servers.new, "alice", "/settings/branding")
    fill(page, {"Name": "Acme Shop", "Colour": "#FFD400", "Footer": "1 High Street"})
    shown = page.frame_locator('iframe[name="preview"]')
    for button in ("Preview", "Preview in dark"):
        page.get_by_role("button", name=button, exact=True).click()
        expect(shown.get_by_text("You requested to reset your Acme Shop password.")).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Acme Shop")
    return page


def branding_refused(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, "alice", "/settings/branding")
    page.get_by_label("PNG file", exact=True).set_input_files(
        {"name": "logo.png", "mimeType": "image/png", "buffer": b"<svg><script>alert(1)</script></svg>"}
    )
    fill(page, {"URL of a logo": "http://example.com/logo.png"})
    press(page, "Save")
    expect(page.get_by_role("alert")).to_contain_text("Check 2 fields")
    return page


STATES: list[State] = [
    email_templates,
    email_template,
    email_template_in_the_dark,
    email_sample_sent,
    branding_previewed,
    branding_refused,
]
