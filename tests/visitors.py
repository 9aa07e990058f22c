"""People for tests: a browser without scripts, the accounts of Alice and Bob, and what reaches their inbox."""

import contextvars
import email
import email.policy
import re
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from services.accounts import accounts
from services.accounts.accounts import Person
from tests.recording_server import RecordedMail, RecordingServer

PASSWORD = "river otter seventeen lamp"
NEW_PASSWORD = "copper kettle on the moon"
_CSRF_FIELD = re.compile(r'name="csrf_token" value="([^"]+)"')
_RESET_LINK = re.compile(r"(\S+)/reset-password\?token=([\w-]+)")


class Visitor(FlaskClient):
    """A test client whose requests share no ``g``: each runs outside the test's application context."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        kwargs.setdefault("buffered", True)  # so that a stream is read in that context as well
        return contextvars.Context().run(super().open, *args, **kwargs)

    def csrf_token(self, page: str = "/forgot-password") -> str:
        """The token of this visitor's session, from a page with a form."""
        found = _CSRF_FIELD.search(self.get(page).text)
        assert found, f"no form at {page}"
        return found[1]

    def post_form(self, path: str, fields: dict[str, Any] | None = None, **kwargs: Any) -> TestResponse:
        """Post a form as a page of ours would, with the session's token."""
        return self.post(path, data={**(fields or {}), "csrf_token": self.csrf_token()}, **kwargs)

    def sign_in(self, login: str = "alice", password: str = PASSWORD, **fields: str) -> TestResponse:
        return self.post_form("/login", {"login": login, "password": password, **fields})

    def is_signed_in(self) -> bool:
        return self.get("/account").status_code == 200


def visit(app: Flask) -> Visitor:
    """Somebody with a fresh browser."""
    return Visitor(app, app.response_class)


def make_alice(*, is_admin: bool = False) -> Person:
    return accounts.create("alice", "alice@example.com", PASSWORD, is_admin=is_admin)


def make_bob(*, is_admin: bool = False) -> Person:
    return accounts.create("bob", "bob@example.com", PASSWORD, is_admin=is_admin)


def mail_through(server: RecordingServer) -> dict[str, str]:
    """The variables that make a server the fallback for mail."""
    return {
        "EMAIL_HOST": server.host,
        "EMAIL_PORT": str(server.port),
        "EMAIL_USE_TLS": "false",
        "DEFAULT_FROM_EMAIL": "noreply@example.com",
    }


def text_of(mail: RecordedMail) -> str:
    """The plain text part."""
    part = email.message_from_bytes(mail.content, policy=email.policy.default).get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def subject_of(mail: RecordedMail) -> str:
    return str(email.message_from_bytes(mail.content, policy=email.policy.default)["Subject"])


def link_in(mail: RecordedMail) -> tuple[str, str]:
    """The base and the token of the reset link."""
    found = _RESET_LINK.search(text_of(mail))
    assert found, "no reset link"
    return found[1], found[2]
