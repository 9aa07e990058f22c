"""The cases of the NO STARTTLS study (nostarttls.secvuln.info): whatever is slipped in, no login leaves unencrypted.

Buffering (B_1), no extensions (D_1) and withheld offers (O_1 to O_4) are in test_smtp_client_tls.
"""

from typing import Any

import pytest

from services.smtp.settings import Security
from tests import certificates
from tests.scripted_server import Answer, ScriptedServer, start_tls
from tests.smtp_clients import client_for, policy
from utils.errors import DeliveryError, Fault, Phase

OFFERS = "250-scripted.test\n250-STARTTLS\n250 AUTH PLAIN LOGIN"
LOGIN: dict[str, Any] = {"username": "shop", "password": "geheim-8472", "security": Security.STARTTLS}
PHASES = {"GREETING": Phase.GREETING, "EHLO": Phase.EHLO, "STARTTLS": Phase.ENCRYPTION}


def failure(script: dict[str, Answer | list[Answer]], *, encrypted: bool = False) -> DeliveryError:
    """What the opening ends in; no login was said, and nothing at all behind a refused STARTTLS."""
    tls = certificates.good_context()
    with ScriptedServer({"EHLO": OFFERS, **script}, tls=tls) as server:
        with pytest.raises(DeliveryError) as caught:
            client_for(server, rules=policy(total_seconds=2), **LOGIN).open()
        assert b"AUTH" not in server.received
        assert set(server.verbs) <= {"EHLO", "STARTTLS"}
        assert (server.verbs[-1:] == ["EHLO"]) or not encrypted
    return caught.value


RIGHT = {"GREETING": 220, "EHLO": 250, "STARTTLS": 220}
WRONG = [(stage, code) for stage in RIGHT for code in (220, 250, 334, 354, 421, 451, 502, 554) if code != RIGHT[stage]]


@pytest.mark.parametrize(("stage", "code"), WRONG)
def test_only_the_right_code_leads_on(stage: str, code: int) -> None:
    error = failure({stage: f"{code} as you like"})
    is_without_extensions = (stage, code) == ("EHLO", 502)
    assert error.phase is PHASES[stage]
    assert error.fault is (Fault.TLS_NOT_OFFERED if is_without_extensions else Fault.REPLY)


@pytest.mark.parametrize(
    "offer",
    ["AUTH", "AUTH =", "AUTH XOAUTH2 GSSAPI", "AUTH-PLAIN", "AUTHPLAIN LOGIN", "X AUTH PLAIN"],
)
def test_a_strange_list_of_logins_is_none(offer: str) -> None:
    error = failure({"EHLO": [OFFERS, f"250-scripted.test\n250 {offer}"]}, encrypted=True)
    assert (error.phase, error.fault) == (Phase.SIGN_IN, Fault.AUTH_NOT_OFFERED)


@pytest.mark.parametrize(
    "inject",
    [
        b"250-evil.test\r\n250-AUTH PLAIN\r\n250 SIZE 1\r\n",
        b"334 \r\n",
        b"235 2.7.0 welcome\r\n",
        b"421 4.7.0 go away\r\n",
        b"\x16\x03\x03",
        b"\n",
    ],
)
def test_nothing_in_the_segment_of_the_starttls_reply_reaches_the_encrypted_session(inject: bytes) -> None:
    error = failure({"STARTTLS": start_tls(inject=inject)})
    assert (error.phase, error.fault) == (Phase.ENCRYPTION, Fault.TLS_INJECTION)
