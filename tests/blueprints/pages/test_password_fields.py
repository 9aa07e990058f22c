"""The fields for passwords on every page: they mask what is typed, and help whoever does not type."""

import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import update

from database.engine import transaction
from database.session_db import BrowserSession
from tests.test_architecture import ROOT
from tests.visitors import Visitor, visit
from utils import clock

_INPUT = re.compile(r"<(?:input|textarea)\b[^>]*>")
_CALL = re.compile(r"\bfield\(\s*[\"']\w*password[\"'].*?\)\s*(?:%|}|-)", re.DOTALL)
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
PAGES = ["/account", "/settings/smtp/new", "/account/sessions/end", "/account/tokens", "/settings/accounts"]


def fields_of(page: str) -> list[dict[str, str]]:
    """The fields of a page that are about a password, as their attributes."""
    fields = [dict(_ATTRIBUTE.findall(tag)) for tag in _INPUT.findall(page)]
    about = [field for field in fields if re.search(r"password", field.get("name", ""))]
    return [field for field in about if field["type"] not in ("checkbox", "hidden")]


@pytest.fixture
def pages(app: Flask, admin: Visitor) -> dict[str, list[dict[str, str]]]:
    """The fields of every page that has one, by its path; the sign-in was a while ago."""
    with transaction() as session:
        session.execute(update(BrowserSession).values(proven_at=clock.now() - timedelta(minutes=11)))
    found = {path: fields_of(admin.get(path).text) for path in PAGES}
    found["/login"] = fields_of(visit(app).get("/login").text)
    return found


def test_every_password_field_masks_what_is_typed(pages: dict[str, list[dict[str, str]]]) -> None:
    assert all(pages.values())
    assert {field["type"] for fields in pages.values() for field in fields} == {"password"}
    assert not any("value" in field for fields in pages.values() for field in fields)


def test_password_managers_know_every_field(pages: dict[str, list[dict[str, str]]]) -> None:
    found = {(field["name"], field.get("autocomplete", "")) for fields in pages.values() for field in fields}
    own = {(name, kind) for name, kind in found if name != "smtp_password"}
    assert {name for name, _ in own} == {"password", "current_password", "email_password", "confirm_password"}
    assert {kind for _, kind in own} == {"current-password", "new-password"}
    assert not any(name.startswith("on") for fields in pages.values() for field in fields for name in field)


def test_the_field_of_the_set_up_does_so_too(app: Flask) -> None:
    asked = fields_of(visit(app).get("/setup").text)
    assert [(field["type"], field["autocomplete"]) for field in asked] == [("password", "new-password")]


def test_no_template_has_a_password_field_of_another_type() -> None:
    calls = [call for file in (ROOT / "templates").rglob("*.html") for call in _CALL.findall(file.read_text())]
    assert len(calls) >= 8
    assert [call for call in calls if 'type="password"' not in call] == []
