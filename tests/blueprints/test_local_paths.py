"""Whither somebody is led after the sign-in: where they were, and never to another site."""

import pytest
from flask import Flask

from blueprints.access import local_path
from tests.visitors import make_alice, visit


@pytest.mark.parametrize("path", ["/settings/smtp", "/account"])
def test_who_is_not_signed_in_is_led_to_the_sign_in_page_and_back(app: Flask, path: str) -> None:
    make_alice(is_admin=True)
    visitor = visit(app)
    answer = visitor.get(f"{path}?a=1&b=2")
    assert answer.status_code == 303
    page = visitor.get(answer.location)
    assert f'name="next" value="{path}?a=1&amp;b=2"' in page.text


def test_a_write_without_a_session_leads_to_the_sign_in_page(app: Flask) -> None:
    answer = visit(app).post("/account/password", data={"password": "x"})
    assert (answer.status_code, answer.location) == (303, "/login")


@pytest.mark.parametrize("path", ["/", "/account", "/settings/smtp?a=%2F%2Fevil.example", "/a/b?c=d#e", "/a?b=/../c"])
def test_a_local_path_is_followed(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "account",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "\t//evil.example",
        " //evil.example",
        "/a\\..\\evil",
        "/mail/../evil",
        "/mail/..",
        "/mail/%2e%2E/evil",
        "/mail/.%2e#evil",
        "/mail/./evil",
        "https://evil.example/",
        "javascript:alert(1)",
        "/" + "a" * 3000,
    ],
)
def test_nothing_else_is_followed(path: str) -> None:
    assert local_path(path) is None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_only_looked_is_led_back_after_the_sign_in(app: Flask, method: str) -> None:
    answer = visit(app).open("/account?a=1", method=method)
    assert (answer.status_code, answer.location) == (303, "/login?next=/account?a%3D1")
    assert visit(app).open("/account", method=method).location == "/login?next=/account"


@pytest.mark.parametrize(("length", "followed"), [(2000, True), (2001, False)])
def test_a_local_path_has_an_end(length: int, followed: bool) -> None:
    path = "/" + "a" * length
    assert local_path(path) == (path if followed else None)
