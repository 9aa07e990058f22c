"""Signing in: one mechanism, once, in UTF-8, and never in clear unless that was chosen."""

import base64
import hmac
from typing import Any

import pytest

from services.smtp.client import Step
from services.smtp.settings import Security
from tests import certificates
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, ScriptedServer, challenged, close
from tests.smtp_clients import CONTENT, ENVELOPE, client_for, policy
from utils.errors import DeliveryError, Fault, Misconfigured, Phase, Temporary

PASSWORD = "geheim-8472-äöü-パス"
LOGIN: dict[str, Any] = {"username": "shop", "password": PASSWORD}


def offering(mechanisms: str, **script: Answer) -> ScriptedServer:
    return ScriptedServer({"EHLO": f"250-scripted.test\n250 AUTH {mechanisms}", **script})


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("password", ["simple", PASSWORD, " outer spaces ", "$quo\"ted'\\", "x" * 600])
def test_a_password_arrives_as_it_is(mechanism: str, password: str) -> None:
    with (
        RecordingServer(tls=certificates.good_context(), users={"jürgen": password}) as server,
        client_for(
            server,
            security=Security.STARTTLS,
            username="jürgen",
            password=password,
            auth_method=mechanism,
        ),
    ):
        (attempt,) = server.auth_attempts
    assert attempt.mechanism == mechanism
    assert attempt.username.decode() == "jürgen"
    assert attempt.password.decode() == password


def test_cram_md5_answers_the_challenge() -> None:
    with offering("CRAM-MD5") as server, client_for(server, **LOGIN):
        answer = base64.b64decode(server.commands[2])
    digest = hmac.new(PASSWORD.encode(), b"<1896.697170952@scripted.test>", "md5").hexdigest()
    assert answer == b"shop " + digest.encode()


@pytest.mark.parametrize(
    ("offered", "forced", "used"),
    [
        ("CRAM-MD5 LOGIN PLAIN", "", "PLAIN"),
        ("CRAM-MD5 LOGIN", "", "LOGIN"),
        ("XOAUTH2 CRAM-MD5", "", "CRAM-MD5"),
        ("PLAIN LOGIN", "LOGIN", "LOGIN"),
        ("plain login", "", "PLAIN"),
    ],
)
def test_the_first_workable_mechanism_is_used_on_tls(offered: str, forced: str, used: str) -> None:
    script: dict[str, Answer] = {"EHLO": f"250-scripted.test\n250 AUTH {offered}"}
    with (
        ScriptedServer(script, tls=certificates.good_context(), implicit=True) as server,
        client_for(server, security=Security.TLS, auth_method=forced, **LOGIN),
    ):
        assert server.commands[1].split()[:2] == ["AUTH", used]


def test_without_tls_a_mechanism_that_hides_the_password_is_preferred() -> None:
    with offering("PLAIN CRAM-MD5") as server, client_for(server, **LOGIN):
        assert server.commands[1] == "AUTH CRAM-MD5"


def test_the_old_spelling_of_the_offer_is_understood() -> None:
    script: dict[str, Answer] = {"EHLO": "250-scripted.test\n250-AUTH=LOGIN\n250 AUTH PLAIN"}
    with ScriptedServer(script) as server, client_for(server, auth_method="LOGIN", **LOGIN):
        assert server.commands[1] == "AUTH LOGIN"


def test_a_relay_without_login_is_not_signed_in_to() -> None:
    with offering("PLAIN") as server, client_for(server) as client:
        client.send(ENVELOPE, CONTENT)
    assert "AUTH" not in server.verbs


def test_a_long_password_does_not_make_a_command_too_long() -> None:
    with offering("PLAIN") as server, client_for(server, username="shop", password="x" * 1000):
        assert server.commands[1] == "AUTH PLAIN"
        assert base64.b64decode(server.commands[2]) == b"\0shop\0" + b"x" * 1000


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("535 5.7.8 bad credentials", Misconfigured),
        ("534 5.7.9 application password required", Misconfigured),
        ("538 5.7.11 encryption required", Misconfigured),
        ("530 5.7.0 must issue STARTTLS first", Misconfigured),
        ("504 5.5.4 no such mechanism", Misconfigured),
        ("334 more", Misconfigured),
        ("454 4.7.0 temporary failure", Temporary),
        ("432 4.7.12 a password transition is needed", Temporary),
        ("421 4.7.0 too many failures", Temporary),
        (close, Temporary),
    ],
)
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_a_refused_login_has_its_class_and_is_tried_once(
    mechanism: str, answer: Answer, kind: type[DeliveryError]
) -> None:
    said = challenged(answer) if isinstance(answer, str) else answer
    with offering("PLAIN LOGIN CRAM-MD5", AUTH=said) as server:
        with pytest.raises(kind) as caught:
            client_for(server, auth_method=mechanism, **LOGIN).open()
        assert caught.value.phase is Phase.SIGN_IN
    assert server.verbs.count("AUTH") == 1
    assert len(server.connections) == 1


def test_a_mechanism_that_is_refused_at_once_does_not_get_the_password() -> None:
    with offering("LOGIN", AUTH="504 5.5.4 not today") as server, pytest.raises(Misconfigured):
        client_for(server, **LOGIN).open()
    assert server.verbs == ["EHLO", "AUTH"]


@pytest.mark.parametrize(
    ("offered", "forced"), [("250 scripted.test", ""), ("250 AUTH GSSAPI", ""), ("250 AUTH PLAIN", "LOGIN")]
)
def test_a_login_that_is_not_offered_is_a_fault_of_the_settings(offered: str, forced: str) -> None:
    with ScriptedServer({"EHLO": f"250-scripted.test\n{offered}"}) as server:
        with pytest.raises(Misconfigured) as caught:
            client_for(server, auth_method=forced, **LOGIN).open()
        assert (caught.value.phase, caught.value.fault) == (Phase.SIGN_IN, Fault.AUTH_NOT_OFFERED)
    assert "AUTH" not in server.verbs


def test_a_password_is_not_sent_in_clear_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests have no other machine: only the judgment of the connected address is changed.
    monkeypatch.setattr("utils.net_guard.is_loopback", lambda address: False)
    with offering("PLAIN CRAM-MD5") as server:
        with pytest.raises(Misconfigured) as caught:
            client_for(server, **LOGIN).open()
        assert (caught.value.phase, caught.value.fault) == (Phase.SIGN_IN, Fault.AUTH_UNENCRYPTED)
    assert "AUTH" not in server.verbs


def test_a_password_is_sent_in_clear_where_the_deployment_allows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("utils.net_guard.is_loopback", lambda address: False)
    with offering("PLAIN") as server, client_for(server, rules=policy(allow_plaintext_login=True), **LOGIN):
        assert "AUTH" in server.verbs


def test_a_challenge_that_is_no_base64_is_not_answered() -> None:
    with offering("CRAM-MD5", AUTH="334 ***") as server:
        with pytest.raises(Misconfigured) as caught:
            client_for(server, **LOGIN).open()
        assert caught.value.fault is Fault.BROKEN_REPLY
    assert server.verbs == ["EHLO", "AUTH"]


@pytest.mark.parametrize("password", ["nul\0in-the-middle", "lone-\ud800-surrogate"])
def test_a_password_that_no_login_can_carry_is_not_in_the_error(password: str) -> None:
    with offering("PLAIN") as server, pytest.raises(ValueError, match="no sign-in method can send") as caught:
        client_for(server, username="shop", password=password).open()
    assert "in-the-middle" not in repr(caught.value)
    assert "surrogate" not in repr(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "echo",
    [
        PASSWORD,
        base64.b64encode(PASSWORD.encode()).decode(),
        base64.b64encode(b"\0shop\0" + PASSWORD.encode()).decode(),
        PASSWORD.encode().hex(),
    ],
)
def test_a_server_that_repeats_the_password_cannot_bring_it_into_a_text(echo: str) -> None:
    steps: list[Step] = []
    refusing = challenged(f"535 5.7.8 wrong: {echo}")
    with offering("PLAIN", AUTH=refusing) as server, pytest.raises(Misconfigured) as caught:
        client_for(server, steps.append, **LOGIN).open()
    shown = caught.value.text + repr(caught.value) + "".join(step.fact for step in steps)
    assert "wrong: " in shown
    for secret in (PASSWORD, base64.b64encode(PASSWORD.encode()).decode()[4:-4], PASSWORD.encode().hex()):
        assert secret not in shown


@pytest.mark.parametrize("charset", ["latin-1", "cp1252", "utf-16-le", "utf-16-be"])
def test_a_server_that_repeats_the_password_in_another_charset_cannot_either(charset: str) -> None:
    password = "Grüße-aus-Köln-7"
    refusing = b"535 5.7.8 wrong: " + password.encode(charset) + b" indeed\r\n"
    steps: list[Step] = []
    with offering("PLAIN", AUTH=refusing) as server, pytest.raises(Misconfigured) as caught:
        client_for(server, steps.append, username="shop", password=password).open()
    shown = caught.value.text + repr(caught.value) + "".join(step.fact for step in steps)
    assert "wrong: [redacted]" in shown
    assert "indeed" in shown
    for part in ("Gr", "aus", "ln-7"):
        assert part not in shown.replace(" ", "").replace("\x00", "")


def test_the_password_is_in_no_step_of_a_successful_login() -> None:
    steps: list[Step] = []
    with offering("PLAIN") as server, client_for(server, steps.append, **LOGIN):
        pass
    assert PASSWORD not in repr(steps)
    assert next(step.fact for step in steps if step.name is Phase.SIGN_IN) == "PLAIN"
