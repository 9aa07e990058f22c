"""``/settings/accounts/smtp/policy`` and ``…/templates``: saved, refused, met by another, fixed by the environment."""

from pathlib import Path

import pytest

from app import create_app
from services.accounts import sessions
from services.personal import policy_changes, templates
from services.settings import personal_policy
from services.settings.personal_policy import Allowed, AllowedSignIn, Fallback
from tests.visitors import PASSWORD, Visitor, visit
from utils.personal_env import LIMITS

PAGE = "/settings/accounts/smtp/policy"
TEMPLATES = "/settings/accounts/smtp/templates"
EMPTY = dict.fromkeys(LIMITS, "")
TYPED = {
    "allowed": "named",
    "hosts": "smtp.gmail.com\r\nexample.com",
    "fallback": "always",
    **EMPTY,
    "version": "0",
} | {"sign_in": "token"}
TEMPLATE = {"domain": "example.com", "host": "smtp.example.com", "port": "465", "security": "tls"}


def test_the_policy_is_saved_and_shown(admin: Visitor) -> None:
    assert admin.post_form(PAGE, {**TYPED, "emails_per_day": "0"}).status_code == 303
    policy = personal_policy.current()
    assert (policy.allowed, policy.hosts, policy.fallback) == (
        Allowed.NAMED, ("smtp.gmail.com", "example.com"), Fallback.ALWAYS,
    )  # fmt: skip
    assert (policy.emails_per_minute, policy.emails_per_day) == (30, 0)
    assert policy.sign_in is AllowedSignIn.TOKEN
    page = admin.get(PAGE).text
    assert "smtp.gmail.com\nexample.com</textarea>" in page
    assert 'name="version" value="1"' in page


def test_what_is_refused_stands_in_the_form_again(admin: Visitor) -> None:
    answer = admin.post_form(PAGE, {**TYPED, "hosts": "good.example\n*.bad.example", "emails_per_minute": "many"})
    assert answer.status_code == 422
    for text in ("*.bad.example</textarea>", 'value="many"', "Number 2:", "Check 2 fields"):
        assert text in answer.text
    assert personal_policy.current().version == 0


def test_what_was_saved_meanwhile_stands_beside_what_was_typed(admin: Visitor) -> None:
    policy_changes.save({"fallback": "never"}, actor="carol")
    answer = admin.post_form(PAGE, TYPED)
    assert answer.status_code == 409
    for text in (
        "Both versions",
        "Saved by carol",
        '<td class="break">Never</td>',
        "Save over it",
        'name="version" value="1"',
    ):
        assert text in answer.text
    assert personal_policy.current().fallback is Fallback.NEVER
    assert admin.post_form(PAGE, {**TYPED, "version": "1"}).status_code == 303


FIXED = {"PERSONAL_SMTP": "named", "PERSONAL_SMTP_HOSTS": "smtp.gmail.com", "FALLBACK_EMAILS_PER_DAY": "7"}


def test_what_the_environment_fixes_is_told_by_its_variable_and_cannot_be_forged(
    admin: Visitor, environment: dict[str, str], tmp_path: Path
) -> None:
    app = create_app(environment | FIXED, instance_path=tmp_path)
    with app.app_context():
        visitor = visit(app)
        assert visitor.sign_in("alice", PASSWORD).status_code == 303
        page = visitor.get(PAGE).text
        for name in FIXED:
            assert f"{name} in the environment sets this" in page
        for name in ("allowed", "hosts", "fallback_per_day"):
            assert f'name="{name}"' not in page
        sent = {name: text for name, text in TYPED.items() if name not in ("allowed", "hosts", "fallback_per_day")}
        for forged in ({"allowed": "any"}, {"hosts": "evil.example"}, {"fallback_per_day": "0"}):
            assert visitor.post_form(PAGE, {**sent, **forged}).status_code == 422
        assert personal_policy.current().version == 0
        assert visitor.post_form(PAGE, sent).status_code == 303
        policy = personal_policy.current()
        assert (policy.fallback, policy.allowed, policy.fallback_per_day) == (Fallback.ALWAYS, Allowed.NAMED, 7)


def test_a_template_is_added_changed_and_deleted(admin: Visitor) -> None:
    assert admin.post_form(TEMPLATES, TEMPLATE).status_code == 303
    (made,) = templates.every()
    assert "smtp.example.com:465" in admin.get(TEMPLATES).text
    page = f"{TEMPLATES}/{made.id}"
    assert f'name="mark" value="{made.mark}"' in admin.get(page).text
    assert admin.post_form(page, {**TEMPLATE, "host": "mx.example.com", "mark": made.mark}).status_code == 303
    stale = admin.post_form(page, {**TEMPLATE, "host": "other.example", "mark": made.mark})
    assert stale.status_code == 409
    assert "saved by someone else <strong>mx.example.com</strong>, typed by you other.example" in stale.text
    assert admin.post_form(f"{page}/delete", {"mark": made.mark}).status_code == 409
    assert "Delete the template" in admin.get(f"{page}/delete").text
    assert admin.post_form(f"{page}/delete", {"mark": templates.get(made.id).mark}).status_code == 303
    gone = admin.post_form(page, TEMPLATE)
    assert (gone.status_code, "has deleted this template" in gone.text, 'value="smtp.example.com"' in gone.text) == (
        404,
        True,
        True,
    )


@pytest.mark.parametrize(
    ("field", "text"), [("domain", "a b"), ("host", "https://x"), ("port", "0"), ("security", "none")]
)
def test_a_template_that_is_refused_stands_in_the_form_again(admin: Visitor, field: str, text: str) -> None:
    answer = admin.post_form(TEMPLATES, {**TEMPLATE, field: text})
    assert answer.status_code == 422
    assert 'value="smtp.example.com"' in answer.text or field == "host"
    (made,) = (templates.save(TEMPLATE),)
    answer = admin.post_form(f"{TEMPLATES}/{made.id}", {**TEMPLATE, field: text, "mark": made.mark})
    assert answer.status_code == 422
    assert templates.get(made.id) == made


@pytest.mark.parametrize(
    ("path", "fields", "text"),
    [
        (PAGE, {**TYPED, "hosts": "typed.example"}, "typed.example</textarea>"),
        (TEMPLATES, {**TEMPLATE, "host": "typed.example"}, 'value="typed.example"'),
        ("/settings/accounts/smtp/1/limits", {"emails_per_minute": "77", "emails_per_day": ""}, 'value="77"'),
    ],
)
def test_what_met_no_session_stands_there_again(admin: Visitor, path: str, fields: dict[str, str], text: str) -> None:
    token = admin.csrf_token()
    sessions.end_all(1)
    assert admin.post(path, data={**fields, "csrf_token": token}).location == f"/login?next={path}"
    assert admin.sign_in(next=path).location == path
    page = admin.get(path).text
    assert "Not saved yet" in page
    assert text in page
