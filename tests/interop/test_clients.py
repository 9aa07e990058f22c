"""What others use to send: each hands over an email with an attachment and other scripts, and tells of a refusal.

The gateway sends on through a Microsoft that takes tokens alone: none of these programs could have signed in there.
"""

from email import policy
from email.parser import BytesParser
from pathlib import Path
from typing import cast

import pytest

from tests.interop.clients import ATTACHED, ATTACHED_AS, CLIENTS, SUBJECT, TEXT, SendingProgram
from tests.interop.gateway_side import FOREIGN, GatewaySide, without_received
from tests.signed_in_by_token import MAILBOX


@pytest.fixture(params=CLIENTS, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> SendingProgram:
    program = cast(SendingProgram, request.param)
    if reason := program.lacks():
        pytest.skip(f"{program.name}: {reason}")
    return program


def test_an_email_arrives_as_it_was_given(client: SendingProgram, gateway: GatewaySide, tmp_path: Path) -> None:
    errand = gateway.errand(tmp_path)
    ended = client.send(errand)
    assert ended.status == 0, ended.said
    (message,) = gateway.arrived()
    if client.whole:
        assert without_received(message) == errand.message.replace(b"\n", b"\r\n")
    check_parts(message)


def check_parts(message: bytes) -> None:
    """The subject, the text and the attachment are what the errand says."""
    parsed = BytesParser(policy=policy.SMTP).parsebytes(message)
    (author,) = parsed["From"].addresses
    assert (parsed["Subject"], author.display_name, author.addr_spec) == (SUBJECT, "Jörg's Shop", MAILBOX)
    text, attached = parsed.iter_parts()
    assert text.get_content().replace("\r\n", "\n").rstrip("\n") == TEXT.rstrip("\n")
    assert (attached.get_filename(), attached.get_content()) == (ATTACHED_AS, ATTACHED)


def test_a_wrong_password_is_told_as_one_and_not_shown(
    client: SendingProgram, gateway: GatewaySide, tmp_path: Path
) -> None:
    ended = client.send(gateway.errand(tmp_path, token="sp_wrong-1111"))
    assert ended.status != 0
    assert "535" in ended.said or "Could not authenticate" in ended.said  # as PHPMailer says it
    assert "sp_wrong" not in ended.said or client.name == "swaks"  # which shows what it says
    assert gateway.arrived() == []


def test_a_from_that_is_refused_is_told_with_the_reason(
    client: SendingProgram, gateway: GatewaySide, tmp_path: Path
) -> None:
    ended = client.send(gateway.errand(tmp_path, sender=FOREIGN))
    assert ended.status != 0
    assert "may not send" in ended.said
    assert gateway.arrived() == []
