"""The page that leads through a connection, as it is without JavaScript."""

import html
import re

import pytest
from flask import Flask

from services.connecting.redirect_rules import LOCALHOST_URI
from tests.blueprints.pages.connect_samples import CLIENT, ENTERPRISE, VIEWS, add_samples
from tests.visitors import Visitor

_IDS = re.compile(r'\sid="([^"]+)"')
_NAMES = re.compile(r'<(?:input|select|textarea)[^>]*\sname="([^"]+)"')


@pytest.fixture
def pages(app: Flask) -> Flask:
    add_samples(app)
    return app


@pytest.fixture
def visitor(pages: Flask, admin: Visitor) -> Visitor:
    return admin


def texts(page: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).split()))


def test_every_page_shows_its_steps_in_order_with_fields_of_their_own(visitor: Visitor) -> None:
    for name, view in VIEWS.items():
        answer = visitor.get(f"/sample/connect/{name}")
        assert answer.status_code == 200, name
        page = answer.text
        assert re.findall(r'data-step="(\w+)"', page) == [step.key.value for step in view.steps], name
        ids = _IDS.findall(page)
        assert len(ids) == len(set(ids)), name
        asked = {field for step in view.steps for field in (*step.fields, *step.further_fields)}
        assert asked <= set(_NAMES.findall(page)), name
        said = texts(page)
        for step in view.steps:
            assert [words for words in (step.title, *step.words, step.why, step.caution) if words not in said] == []


def test_the_verdict_about_base_url_is_said_before_the_steps(visitor: Visitor) -> None:
    page = visitor.get("/sample/connect/google-inside").text
    assert page.index('data-verdict="cannot"') < page.index('class="panel-part guide-step"')
    assert "Google cannot send you back to this address" in page
    assert LOCALHOST_URI in page
    fine = visitor.get("/sample/connect/google").text
    assert fine.index('data-verdict="ok"') < fine.index('class="panel-part guide-step"')
    assert "https://app.example.com/oauth/callback" in fine
    assert "data-verdict" not in visitor.get("/sample/connect/microsoft-app").text


def test_where_the_address_is_pasted_it_is_asked_for_once_the_registration_is_stored(visitor: Visitor) -> None:
    before, after = (visitor.get(f"/sample/connect/{name}").text for name in ("google-inside-new", "google-inside"))
    assert "pasted_code" not in before
    assert 'name="pasted_code"' in after
    assert '<form id="open-form" method="post" action="/sample/start" target="_blank">' in after
    assert "Connect with Google</button>" not in after


def test_microsoft_offers_a_code_beside_the_redirect_and_google_does_not(visitor: Visitor) -> None:
    assert "Use a code instead" in visitor.get("/sample/connect/microsoft").text
    assert "Use a code instead" not in visitor.get("/sample/connect/google").text
    waits = visitor.get("/sample/connect/microsoft-code-waits").text
    assert ">B7KD-QX2P</code>" in waits
    assert 'href="https://microsoft.com/devicelogin"' in waits
    assert "I have entered it" in waits


def test_a_line_can_be_copied_once_it_is_whole_and_says_before_what_it_lacks(visitor: Visitor) -> None:
    before, after = (
        html.unescape(visitor.get(f"/sample/connect/{name}").text) for name in ("microsoft-app-new", "microsoft-app")
    )
    assert "Enter the object ID of the enterprise application to fill this line in." in texts(before)
    assert "Save and fill in the lines" in before
    line = f"New-ServicePrincipal -AppId '{CLIENT}' -ObjectId '{ENTERPRISE}'</code>"
    found = after.index(line)
    assert (
        after[found:].split("<button", 1)[1].startswith(' class="btn btn-secondary" type="button" data-copy="line-5-3"')
    )
    assert "Save and fill in the lines" not in after


def test_a_failed_check_leads_to_the_step_that_is_missing(visitor: Visitor) -> None:
    page = visitor.get("/sample/connect/microsoft-app").text
    assert 'href="#step-mailbox">Go to step 5: Let the application use the mailbox</a>' in page
    assert 'data-name="sign_in" data-status="failed"' in page


def test_the_state_says_who_connected_when_and_what_ends(visitor: Visitor) -> None:
    said = texts(visitor.get("/sample/connect/connected").text)
    assert "Connected as shop@example.com" in said
    assert "Since 2026-11-02 09:30 UTC by alice" in said
    assert "The client secret ends in 6 days. Create a new one" in said
    assert "The stored password is still used." in said
    dead = visitor.get("/sample/connect/dead").text
    assert re.search(r'action="/sample/start">(?:(?!</form>).)*class="btn btn-primary"[^>]*>Connect again<', dead, re.S)
    assert "Needs sign-in again" in dead


def test_what_was_refused_is_told_at_its_field_and_what_is_folded_away_is_opened(visitor: Visitor) -> None:
    page = visitor.get("/sample/refused/microsoft").text
    assert "Check 3 fields" in page
    assert re.search(r'<details class="guide-fold" open>\s*<summary>Or use a certificate', page)
    assert page.count('aria-invalid="true"') == 3


def test_no_secret_has_a_value_and_a_stored_one_is_said_to_be(visitor: Visitor) -> None:
    page = visitor.get("/sample/connect/connected").text
    secret = re.search(r'<input[^>]*name="client_secret"[^>]*>', page)
    assert secret
    assert 'type="password"' in secret[0]
    assert "value=" not in secret[0]
    assert "A client secret is stored. Leave this empty to keep it." in page


def test_an_address_leads_to_its_provider_or_says_that_none_is_known(visitor: Visitor) -> None:
    new, found, unknown = (visitor.get(f"/sample/start/{name}").text for name in ("new", "found", "unknown"))
    assert "Find the provider" in new
    assert "example.com uses Microsoft 365." in found
    assert "Connect with Microsoft" in found
    assert "Set its server up with a password" in unknown
    assert "choose “By token (OAuth 2)” as the sign-in method" in unknown
    assert "Connect with" not in texts(unknown)


def test_disconnecting_says_what_the_provider_is_asked(visitor: Visitor) -> None:
    assert "asks Google to end the sign-in" in texts(visitor.get("/sample/end/google").text)
    assert "Microsoft has no way for Sealpost to end the sign-in there" in texts(
        visitor.get("/sample/end/microsoft").text
    )


def test_a_new_server_leads_to_connecting_a_mailbox_whose_page_has_what_the_address_says(visitor: Visitor) -> None:
    assert '<a class="touch-link" href="/settings/smtp/connect"' in visitor.get("/settings/smtp/new").text
    added = visitor.post_form("/settings/smtp/connect", {"email": "shop@contoso.onmicrosoft.com"})
    page = visitor.get(added.headers["Location"]).text
    tenant = re.search(r'<input[^>]*name="tenant"[^>]*>', page)
    assert tenant
    assert 'value="contoso.onmicrosoft.com"' in tenant[0]
    assert "data-connect-link" not in visitor.get(added.headers["Location"].removesuffix("/connect")).text
