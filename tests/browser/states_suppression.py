"""The suppression list, and the page of personal data, in every state that they have."""

from playwright.sync_api import Page, expect

from tests.browser.scene import Scene, State
from tests.browser.steps import expect_heading, fill, follow, press


def suppression_none(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, "alice", "/emails/suppressed")
    expect(page.get_by_role("heading", name="No addresses yet")).to_be_visible()
    return page


def suppression_list(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", "/emails/suppressed")
    expect(page.get_by_role("link", name="c***@shop.example")).to_be_visible()
    return page


def suppression_of_a_domain(scene: Scene) -> Page:
    page = suppression_list(scene)
    fill(page, {"Search": "example.com"})
    press(page, "Search")
    expect(page.get_by_role("button", name="Remove all of this domain")).to_be_visible()
    return page


def suppression_refused(scene: Scene) -> Page:
    page = suppression_list(scene)
    fill(page, {"Address": "nobody"})
    press(page, "Add")
    expect(page.get_by_label("Address", exact=True)).to_have_attribute("aria-invalid", "true")
    return page


def suppression_imported_in_part(scene: Scene) -> Page:
    page = suppression_list(scene)
    lines = b"email\ncomplained@shop.example\nnobody\n"
    page.get_by_label("CSV file", exact=True).set_input_files(
        {"name": "list.csv", "mimeType": "text/csv", "buffer": lines}
    )
    press(page, "Import")
    expect(page.get_by_text("Line 3: ")).to_be_visible()
    return page


def suppression_entry(scene: Scene) -> Page:
    page = suppression_list(scene)
    follow(page, "j***@example.com")
    expect_heading(page, "joe@example.com")
    return page


def personal_data(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", "/settings/privacy")
    expect_heading(page, "Personal data")
    return page


def personal_data_to_replace(scene: Scene) -> Page:
    page = personal_data(scene)
    fill(page, {"Address": "joe@example.com"})
    press(page, "Replace with a pseudonym…")
    expect_heading(page, "Replace this address with a pseudonym?")
    return page


STATES: list[State] = [
    suppression_none,
    suppression_list,
    suppression_of_a_domain,
    suppression_refused,
    suppression_imported_in_part,
    suppression_entry,
    personal_data,
    personal_data_to_replace,
]
