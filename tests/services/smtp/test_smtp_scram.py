"""SCRAM on the wire: the password stays at home, and the server has to prove itself."""

import base64
import hashlib
import socket
import ssl

import pytest

from services.diagnosis.diagnosis import diagnose, message
from services.diagnosis.picture import Picture
from services.smtp.client import SmtpClient, Step
from services.smtp.dialogue import Dialogue
from tests import certificates
from tests.sasl_answers import WELCOME, by_mechanism, scram
from tests.scripted_server import Answer, Connection, ScriptedServer
from tests.sign_in import LOGIN, PASSWORD, client, failure, offering, tried
from tests.smtp_clients import CONTENT, ENVELOPE, RECIPIENT, policy, settings_for
from utils.errors import DeliveryError, Fault, Misconfigured


def leaf(server: ScriptedServer) -> bytes:
    """The certificate that the server shows."""
    context = ssl.create_default_context(cafile=str(certificates.ca_file()))
    with (
        socket.create_connection((server.host, server.port)) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("deaf", [True, False])
@pytest.mark.parametrize("name", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_scram_signs_in(name: str, deaf: bool, tls: bool) -> None:
    with offering(name, scram(PASSWORD, deaf=deaf), tls=tls) as server, client(server, tls=tls) as opened:
        assert opened.send(ENVELOPE, CONTENT).accepted == (RECIPIENT,)
        flag = b"y,," if tls else b"n,,"
        assert base64.b64decode(server.commands[1].split()[2]).startswith(flag + b"n=shop,r=")


@pytest.mark.parametrize("forced", ["", "SCRAM-SHA-256"])
def test_scram_is_bound_to_the_encryption_where_the_server_offers_it(forced: str) -> None:
    answer: list[Answer] = []
    with offering("SCRAM-SHA-256 SCRAM-SHA-256-PLUS", answer) as server:
        answer.append(scram(PASSWORD, binding=hashlib.sha256(leaf(server)).digest()))
        with client(server, auth_method=forced) as opened:
            assert opened.is_open
    assert tried(server) == ["SCRAM-SHA-256-PLUS"]
    assert base64.b64decode(server.commands[1].split()[2]).startswith(b"p=tls-server-end-point,,n=shop,r=")


def test_somebody_in_between_with_a_certificate_of_his_own_does_not_get_through() -> None:
    with offering("SCRAM-SHA-256-PLUS", scram(PASSWORD, binding=hashlib.sha256(b"another").digest())) as server:
        assert failure(server).code == 535


def test_where_a_server_offers_a_binding_it_is_not_told_that_it_offers_none() -> None:
    answer = by_mechanism(SCRAM_SHA_256_PLUS="504 no", SCRAM_SHA_256=scram(PASSWORD))
    with offering("SCRAM-SHA-256-PLUS SCRAM-SHA-256", answer) as server, client(server):
        assert base64.b64decode(server.commands[2].split()[2]).startswith(b"n,,")


def test_a_wrong_password_is_refused_by_scram() -> None:
    with offering("SCRAM-SHA-256", scram("another")) as server:
        error = failure(server)
    assert (error.code, message(error)) == (535, "Authentication failed")


@pytest.mark.parametrize(
    "answer",
    [
        scram(PASSWORD, final=lambda _: "v=" + base64.b64encode(bytes(32)).decode()),
        scram(PASSWORD, final=lambda _: ""),
        scram(PASSWORD, final=lambda _: "e=other-error"),
        scram(PASSWORD, proves_itself=False),
        WELCOME,
        ("334 ", lambda connection: connection.line(), WELCOME),
    ],
    ids=["wrong", "empty", "error", "none", "at once", "without a challenge"],
)
def test_a_server_that_does_not_prove_itself_gets_no_mail(answer: Answer) -> None:
    with offering("SCRAM-SHA-256", answer) as server:
        error = failure(server)
        found = diagnose(error, Picture(settings=settings_for(server)))
    assert (error.fault, type(error)) == (Fault.AUTH_UNPROVEN, Misconfigured)
    assert found.title == message(error).replace("Server did", "The server did")
    assert "MAIL" not in server.verbs


def test_a_server_that_does_not_prove_itself_after_a_refusal_is_still_told_apart() -> None:
    answer = by_mechanism(PLAIN="504 no", SCRAM_SHA_256=scram(PASSWORD, proves_itself=False))
    with offering("PLAIN SCRAM-SHA-256", answer) as server:
        assert failure(server).fault is Fault.AUTH_UNPROVEN


@pytest.mark.usefixtures("app")  # which sets the log up
def test_a_server_that_does_not_prove_itself_stands_in_the_security_log(caplog: pytest.LogCaptureFixture) -> None:
    with offering("SCRAM-SHA-256", WELCOME) as server:
        failure(server)
    assert [record.name for record in caplog.records if "smtp_auth_unproven" in str(record.msg)] == ["security"]


@pytest.mark.parametrize("rounds", [1000, 600_001])
def test_a_server_that_asks_for_unreasonable_work_is_told_apart(rounds: int) -> None:
    with offering("SCRAM-SHA-256", scram(PASSWORD, first=lambda text: text.replace("i=4096", f"i={rounds}"))) as server:
        error = failure(server)
        assert diagnose(error, Picture(settings=settings_for(server))).title == "The server’s sign-in cannot be used"
    assert (error.fault, type(error)) == (Fault.AUTH_ROUNDS, Misconfigured)


def test_a_challenge_is_read_as_it_came_though_it_looks_like_the_password() -> None:
    password = "r=SERVER,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096"[9:]
    with offering("SCRAM-SHA-256", scram(password)) as server, client(server, password=password) as opened:
        assert opened.is_open


@pytest.mark.parametrize("echo", ["proof", "final", "signature"])
def test_nothing_from_which_the_password_could_be_guessed_is_shown(echo: str) -> None:
    said: dict[str, str] = {}

    def note(text: str) -> str:
        said["signature"] = text.removeprefix("v=")
        return text

    def repeat(connection: Connection) -> None:
        said["final"] = base64.b64decode(connection.server.commands[2]).decode()
        said["proof"] = said["final"].rpartition("p=")[2]
        connection.send(f"550 {said[echo]} {base64.b64encode(said[echo].encode()).decode()}\r\n".encode())

    steps: list[Step] = []
    script: dict[str, Answer] = {"EHLO": "250-scripted.test\n250 AUTH SCRAM-SHA-256", "MAIL": repeat}
    script["AUTH"] = scram(PASSWORD, final=note)
    with ScriptedServer(script) as server:
        settings = settings_for(server, **LOGIN)
        talk = Dialogue(settings, steps.append)
        with pytest.raises(DeliveryError) as caught, SmtpClient(settings, policy(), talk=talk) as opened:
            opened.send(ENVELOPE, CONTENT)
    assert talk.transcript is not None
    assert caught.value.text.startswith("[redacted]")
    shown = "\n".join([*talk.transcript.lines(), caught.value.text, *(step.fact for step in steps)])
    for secret in said.values():
        assert secret not in shown
        assert base64.b64encode(b"v=" + secret.encode()).decode()[4:-4] not in shown
