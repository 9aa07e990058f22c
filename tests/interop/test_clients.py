"""What others use to send: each hands over an email with an attachment and other scripts, and tells of a refusal."""

from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import cast

import pytest

from tests import certificates
from tests.interop.clients import ATTACHED, ATTACHED_AS, CLIENTS, SUBJECT, TEXT, Errand, SendingProgram
from tests.recording_server import RecordedMail, RecordingServer

TOKEN = "sp_geheim-8472"
OURS, FOREIGN, TO = "shop@sender.example", "ceo@foreign.example", "anna@recipient.example"


@pytest.fixture(scope="module")
def server() -> Iterator[RecordingServer]:
    with RecordingServer(
        tls=certificates.good_context(),
        users={"shop": TOKEN},
        refuse={FOREIGN: "550 5.7.1 Your account may not send from the From address."},
    ) as server:
        yield server


@pytest.fixture(params=CLIENTS, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> SendingProgram:
    program = cast(SendingProgram, request.param)
    if reason := program.lacks():
        pytest.skip(f"{program.name}: {reason}")
    return program


def errand(server: RecordingServer, home: Path, *, token: str = TOKEN, sender: str = OURS) -> Errand:
    return Errand(
        host="localhost",
        port=server.port,
        ca_file=certificates.ca_file(),
        username="shop",
        token=token,
        sender=sender,
        recipient=TO,
        home=home,
    )


def test_an_email_arrives_as_it_was_given(client: SendingProgram, server: RecordingServer, tmp_path: Path) -> None:
    server.mails.clear()
    told = errand(server, tmp_path)
    ended = client.send(told)
    assert ended.status == 0, ended.said
    (mail,) = server.mails
    assert (mail.sender, mail.recipients, mail.encrypted, mail.login) == (OURS, (TO,), True, "shop")
    if client.whole:
        assert mail.content == told.message.replace(b"\n", b"\r\n")
    check_parts(mail)


def check_parts(mail: RecordedMail) -> None:
    """The subject, the text and the attachment are what the errand says."""
    parsed = cast(EmailMessage, BytesParser(policy=policy.SMTP).parsebytes(mail.content))
    (author,) = parsed["From"].addresses
    assert (parsed["Subject"], author.display_name, author.addr_spec) == (SUBJECT, "Jörg's Shop", OURS)
    text, attached = parsed.iter_parts()
    assert text.get_content().replace("\r\n", "\n").rstrip("\n") == TEXT.rstrip("\n")
    assert (attached.get_filename(), attached.get_content()) == (ATTACHED_AS, ATTACHED)


def test_a_wrong_password_is_told_as_one_and_not_shown(
    client: SendingProgram, server: RecordingServer, tmp_path: Path
) -> None:
    server.mails.clear()
    ended = client.send(errand(server, tmp_path, token="sp_wrong-1111"))
    assert ended.status != 0
    assert "535" in ended.said or "Could not authenticate" in ended.said  # as PHPMailer says it
    assert "sp_wrong" not in ended.said or client.name == "swaks"  # which shows what it says
    assert server.mails == []


def test_a_from_that_is_refused_is_told_with_the_reason(
    client: SendingProgram, server: RecordingServer, tmp_path: Path
) -> None:
    server.mails.clear()
    ended = client.send(errand(server, tmp_path, sender=FOREIGN))
    assert ended.status != 0
    assert "may not send" in ended.said
    assert server.mails == []
