"""The pages about what becomes of mail behind the server: the From domain's records and received headers."""

from playwright.sync_api import Page, expect

from tests.browser.scene import Scene, State
from tests.browser.steps import press
from tests.services.domain.received_samples import MICROSOFT

# Known without asking the DNS: it is another provider's.
DOMAIN = "/settings/smtp/domain?domain=gmail.com&server=smtp.example.com"
HEADERS = "/settings/smtp/headers"


def domain_checked(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", DOMAIN)
    expect(page.get_by_role("listitem").filter(has_text="belongs to Google")).to_contain_text("Needs a change")
    return page


def headers_read(scene: Scene) -> Page:
    page = scene.page(scene.servers.working, "alice", HEADERS)
    page.get_by_label("Headers").fill(MICROSOFT)
    press(page, "Check the headers")
    expect(page.get_by_role("listitem").filter(has_text="DMARC")).to_contain_text("fail")
    return page


STATES: list[State] = [domain_checked, headers_read]
