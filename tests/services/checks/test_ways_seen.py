"""A whole test whose first action is the best that its probe has seen work, and no other than works."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, NamedTuple

import pytest

from services.checks import connection_test
from services.checks.connection_test import TestPlan, TestResult
from services.smtp.settings import Security
from tests import certificates
from tests.scripted_server import ScriptedServer, hang, start_tls
from tests.smtp_clients import RECIPIENT, Script, policy, settings_for

LOGIN: Final[dict[str, Any]] = {"username": "shop@sender.example", "password": "geheim-8472"}
SENDING: Final[Script] = {"EHLO": "250-scripted.test\n250-STARTTLS\n250 AUTH PLAIN LOGIN", "STARTTLS": start_tls()}


class Place(NamedTuple):
    host: str
    port: int


@contextmanager
def host(**ports: tuple[Script, bool]) -> Iterator[str]:
    """A loopback address that nobody else listens on, with servers on ports p…: a script, and whether TLS begins."""
    address = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 1}"
    tls = certificates.good_context(address)
    with ExitStack() as servers:
        for port, (script, implicit) in ports.items():
            servers.enter_context(
                ScriptedServer(script, tls=tls, implicit=implicit, host=address, port=int(port.removeprefix("p")))
            )
        yield address


def run(address: str, port: int, security: Security, **changes: Any) -> TestResult:
    settings = settings_for(Place(address, port), security=security, **changes)
    plan = TestPlan(settings=settings, policy=policy(), rcpt=RECIPIENT)
    *_, result = connection_test.stream(plan)
    assert isinstance(result, TestResult)
    return result


def first(result: TestResult) -> dict[str, str]:
    assert result.diagnosis and result.diagnosis.actions, result
    return result.diagnosis.actions[0].changes


@pytest.mark.parametrize(
    ("port", "security", "stranger"),
    [
        (993, Security.TLS, "* OK IMAP4rev1 ready"),
        (995, Security.TLS, "+OK POP3 ready"),
        (143, Security.STARTTLS, "* OK IMAP4rev1 ready"),
    ],
)
def test_at_a_port_for_reading_mail_the_one_for_sending_is_offered(
    port: int, security: Security, stranger: str
) -> None:
    reading: tuple[Script, bool] = ({"GREETING": stranger}, security is Security.TLS)
    with host(**{f"p{port}": reading, "p465": (SENDING, True)}) as address:
        result = run(address, port, security, **LOGIN)
    assert first(result)["smtp_port"] == "465"
    assert result.diagnosis and result.diagnosis.remedy == "Use port 465 with TLS."
    assert {action.changes.get("smtp_port") for action in result.diagnosis.actions} == {"465"}


def test_a_port_for_servers_without_sign_in_leads_to_the_one_for_sending() -> None:
    between: Script = {"EHLO": "250-scripted.test\n250 STARTTLS", "STARTTLS": start_tls()}
    with host(p25=(between, False), p587=(SENDING, False)) as address:
        result = run(address, 25, Security.STARTTLS, **LOGIN)
    assert first(result) == {"smtp_port": "587", "security": "starttls"}


def test_silence_after_the_sign_in_began_is_followed_by_no_look_around() -> None:
    with host(p587=({**SENDING, "AUTH": hang}, False), p465=(SENDING, True)) as address:
        result = run(address, 587, Security.STARTTLS, timeout_seconds=1, **LOGIN)
    assert result.open_ways == []
    assert first(result) == {"timeout_seconds": "60"}
    assert result.diagnosis and "port" not in result.diagnosis.remedy


@pytest.mark.parametrize(("method", "changes"), [("", []), ("CRAM-MD5", [{"auth_method": ""}])])
def test_a_method_is_blamed_only_where_one_was_chosen(method: str, changes: list[dict[str, str]]) -> None:
    offers = "NTLM" if not method else "PLAIN LOGIN"
    script: Script = {"EHLO": f"250-scripted.test\n250-STARTTLS\n250 AUTH {offers}", "STARTTLS": start_tls()}
    with host(p587=(script, False)) as address:
        result = run(address, 587, Security.STARTTLS, auth_method=method, **LOGIN)
    assert result.diagnosis
    assert [action.changes for action in result.diagnosis.actions] == changes
    assert ("was chosen" in result.diagnosis.cause) is bool(method)
