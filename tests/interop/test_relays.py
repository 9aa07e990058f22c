"""Mail servers that hand all of their mail to the gateway, and what somebody may try to smuggle in through them.

The six are what servers were found to take for the end of a message, besides CRLF.CRLF (SEC Consult, 2023).
"""

import re
import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import exim_server, postfix_server
from tests.gateway import Talk
from tests.interop.gateway_side import ACCOUNT, FOREIGN, TO, GatewaySide, without_received
from tests.interop.relays import EximRelay, PostfixRelay
from tests.patience import PATIENCE
from tests.signed_in_by_token import MAILBOX

ENDS = [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n.\n"]
HELLO = f"EHLO client.example\r\nMAIL FROM:<{MAILBOX}>\r\nRCPT TO:<{TO}>\r\nDATA\r\n".encode()
FIRST = f"From: <{MAILBOX}>\r\nTo: {TO}\r\nSubject: First\r\n\r\nThe first.".encode()
SECOND = (
    f"MAIL FROM:<{MAILBOX}>\r\nRCPT TO:<victim@recipient.example>\r\nDATA\r\n"
    f"From: <{MAILBOX}>\r\nSubject: Smuggled\r\n\r\nSmuggled.\r\n.\r\n"
).encode()

needs_postfix = pytest.mark.skipif(postfix_server.missing() is not None, reason=f"Postfix: {postfix_server.missing()}")
needs_exim = pytest.mark.skipif(exim_server.missing() is not None, reason=f"Exim: {exim_server.missing()}")


@pytest.fixture(scope="module")
def postfix(gateway: GatewaySide, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostfixRelay]:
    with PostfixRelay(gateway.errand(tmp_path_factory.mktemp("postfix"))) as relay:
        yield relay


@pytest.fixture(scope="module")
def exim(gateway: GatewaySide, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EximRelay]:
    with EximRelay(gateway.errand(tmp_path_factory.mktemp("exim"))) as relay:
        yield relay


def send_to(relay: PostfixRelay, message: bytes, sender: str = MAILBOX) -> str:
    """The id under which Postfix queued it."""
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=PATIENCE) as client:
        client.ehlo()
        client.mail(sender, ["BODY=8BITMIME"])
        client.rcpt(TO)
        code, said = client.data(message)
    assert code == 250, said
    return said.decode().rpartition(" ")[2]


@needs_postfix
def test_postfix_with_a_relayhost_hands_over_what_it_was_given(
    gateway: GatewaySide, postfix: PostfixRelay, tmp_path: Path
) -> None:
    message = gateway.errand(tmp_path).message.replace(b"\n", b"\r\n")
    queue_id = send_to(postfix, message)
    postfix.wait_for(f"{queue_id}: removed")
    (arrived,) = gateway.arrived()
    assert without_received(arrived) == message


@needs_postfix
def test_postfix_returns_an_email_from_an_address_that_is_not_the_accounts(
    gateway: GatewaySide, postfix: PostfixRelay, tmp_path: Path
) -> None:
    queue_id = send_to(postfix, gateway.errand(tmp_path, sender=FOREIGN).message, FOREIGN)
    log = postfix.wait_for(f"{queue_id}: sender non-delivery notification")
    assert re.search(rf"{queue_id}: .*status=bounced .*550 5\.7\.1 Your account may not send", log)
    assert gateway.arrived() == []


@needs_postfix
def test_postfix_keeps_its_mail_while_its_password_is_wrong(gateway: GatewaySide, tmp_path: Path) -> None:
    told = gateway.errand(tmp_path, token="sp_wrong-1111")
    with PostfixRelay(told) as relay:
        queue_id = send_to(relay, told.message)
        log = relay.wait_for("status=deferred")
    assert re.search(rf"{queue_id}: .*SASL authentication failed; .* said: 535 5\.7\.8", log)
    assert gateway.arrived() == []


@needs_exim
def test_exim_with_a_smarthost_hands_over_what_it_was_given(
    gateway: GatewaySide, exim: EximRelay, tmp_path: Path
) -> None:
    message = gateway.errand(tmp_path).message
    log = exim.send(message)
    assert re.search(r"=> anna@recipient\.example .* A=plain C=\"250 2\.0\.0 Queued as", log), log
    (arrived,) = gateway.arrived()
    assert without_received(arrived) == message.replace(b"\n", b"\r\n")


@needs_exim
def test_exim_returns_an_email_from_an_address_that_is_not_the_accounts(gateway: GatewaySide, tmp_path: Path) -> None:
    told = gateway.errand(tmp_path, sender=FOREIGN)
    with EximRelay(told) as relay:
        log = relay.send(told.message)
    assert re.search(r"\*\* anna@recipient\.example .*550 5\.7\.1 Your account may not send", log), log
    assert gateway.arrived() == []


@needs_exim
def test_exim_keeps_its_mail_while_its_password_is_wrong(gateway: GatewaySide, tmp_path: Path) -> None:
    told = gateway.errand(tmp_path, token="sp_wrong-1111")
    with EximRelay(told) as relay:
        log = relay.send(told.message)
    assert re.search(r"plain authenticator failed .* 535 5\.7\.8", log), log
    assert re.search(r"== anna@recipient\.example .* defer \(-42\)", log), log
    assert "**" not in log
    assert gateway.arrived() == []


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_nothing_but_a_dot_between_two_crlf_ends_an_email(gateway: GatewaySide, end: bytes) -> None:
    with Talk(gateway.plain_port) as talk:
        talk.heard()
        talk.hello()
        assert talk.sign_in(ACCOUNT, gateway.token).startswith("235")
        talk.send(HELLO.partition(b"\r\n")[2])
        assert talk.codes(3) == [250, 250, 354]
        talk.send(FIRST + end + SECOND)
        assert talk.heard().startswith("554 5.6.0 The message has a CR or LF that is not part of a CRLF.")
        assert talk.say("NOOP").startswith("250")
    assert gateway.arrived() == []


@needs_postfix
@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_nobody_smuggles_an_email_through_postfix(gateway: GatewaySide, postfix: PostfixRelay, end: bytes) -> None:
    said = conversation(postfix.port, HELLO + FIRST + end + SECOND + b"QUIT\r\n")
    queued = re.findall(r"queued as (\w+)", said)
    for queue_id in queued:
        postfix.wait_for(f"{queue_id}: removed")
    check_as_many(gateway.arrived(), len(queued))


@needs_exim
@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_nobody_smuggles_an_email_through_exim(gateway: GatewaySide, exim: EximRelay, end: bytes) -> None:
    said = exim.converse(HELLO + FIRST + end + SECOND + b"QUIT\r\n").decode()
    check_as_many(gateway.arrived(), len(re.findall(r"250 OK id=", said)))


def check_as_many(arrived: list[bytes], accepted: int) -> None:
    """What one server took for one email, the next took for one."""
    assert accepted
    assert len(arrived) == accepted
    for message in arrived:
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n", message)
        assert len(re.findall(rb"(?m)^Subject:", message)) <= 2


def conversation(port: int, said: bytes) -> str:
    """All that a server answers to this, until it hangs up."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(said)
        heard = b""
        while octets := client.recv(65536):
            heard += octets
    return heard.decode(errors="replace")
