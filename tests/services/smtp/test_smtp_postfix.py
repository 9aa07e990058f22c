"""Against a real Postfix: both ways of encryption, each login mechanism, its refusals, and octets that arrive."""

from collections.abc import Iterator
from typing import Any

import pytest

from services.message.draft import Attachment, Sender, draft, serialise
from services.smtp.client import Envelope, Parcel, Receipt, SmtpClient
from services.smtp.settings import Security, SmtpSettings
from tests import postfix_server
from tests.postfix_server import DOMAIN, PostfixServer
from tests.smtp_clients import CONTENT, ENVELOPE, RECIPIENT, SENDER, parcels, policy, word
from utils.errors import Fault, Misconfigured, Permanent, Phase
from utils.secret import Secret

PASSWORD = "geheim-8472-äöü"

pytestmark = pytest.mark.skipif(postfix_server.missing() is not None, reason=f"Postfix: {postfix_server.missing()}")


@pytest.fixture(scope="module")
def postfix() -> Iterator[PostfixServer]:
    with PostfixServer({"shop": PASSWORD, "long": "x" * 1000}) as server:
        yield server


def client_for(postfix: PostfixServer, **changes: Any) -> SmtpClient:
    """Signed in through STARTTLS; ``changes`` replace fields."""
    values: dict[str, Any] = {
        "host": postfix.host,
        "port": postfix.starttls_port,
        "security": Security.STARTTLS,
        "username": "shop",
        "password": Secret(PASSWORD),
        "from_email": SENDER,
    }
    return SmtpClient(SmtpSettings(**{**values, **changes}), policy())


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
@pytest.mark.parametrize("mechanism", ["", "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_mail_arrives(postfix: PostfixServer, security: Security, mechanism: str) -> None:
    port = postfix.tls_port if security is Security.TLS else postfix.starttls_port
    with client_for(postfix, port=port, security=security, auth_method=mechanism) as client:
        receipt = client.send(ENVELOPE, CONTENT)
    assert receipt.queue_id
    message = postfix.wait_for_mail(receipt.queue_id)
    assert message.endswith(b"\n\nGood morning.\n")
    assert b"with ESMTPSA" in message


def test_a_whole_mail_of_8_bits_arrives_unchanged_within_another(postfix: PostfixServer) -> None:
    inner = "From: a@x.example\r\nSubject: Inner\r\n\r\nGrüße\r\n.\r\n  \r\n".encode()
    mail = draft(
        RECIPIENT, "s", "b", attachments=[Attachment("i.eml", inner, "message/rfc822")], message_id_domain=DOMAIN
    )
    with client_for(postfix) as client:
        receipt = client.send(ENVELOPE, serialise(mail, Sender(email=SENDER)))
    assert receipt.queue_id
    arrived = postfix.wait_for_mail(receipt.queue_id).replace(b"\n", b"\r\n")
    assert mail.rest.partition(b"\r\n\r\n")[2].rstrip() in arrived


def test_dots_and_long_bodies_arrive_unchanged(postfix: PostfixServer) -> None:
    body = b".\r\n..\r\n.x\r\n" + (b"y" * 70 + b"\r\n.\r\n") * 4000
    with client_for(postfix) as client:
        receipt = client.send(ENVELOPE, b"Subject: dots\r\n\r\n" + body)
    assert receipt.queue_id
    message = postfix.wait_for_mail(receipt.queue_id)
    assert message.partition(b"\n\n")[2] == body.replace(b"\r\n", b"\n")


def test_many_messages_use_one_connection(postfix: PostfixServer) -> None:
    with client_for(postfix) as client:
        queue_ids = {client.send(ENVELOPE, CONTENT).queue_id for _ in range(20)}
    assert len(queue_ids) == 20
    assert None not in queue_ids


@pytest.mark.parametrize("in_flight", [8, 1])
def test_a_hundred_mails_arrive_once_each(postfix: PostfixServer, in_flight: int) -> None:
    mails = parcels(100, recipients=2, content=b"X-Run: %d\r\n" % in_flight + CONTENT)
    with client_for(postfix) as client:
        found = list(client.send_all(mails, in_flight=in_flight))
    assert [parcel for parcel, _ in found] == mails
    receipts = [result for _, result in found if isinstance(result, Receipt)]
    assert len({receipt.queue_id for receipt in receipts}) == 100
    arrived = [postfix.wait_for_mail(receipt.queue_id or "") for receipt in receipts]
    assert all(b"X-Number: %d\nX-Run: %d\n" % (at, in_flight) in message for at, message in enumerate(arrived))


def test_a_refused_mail_does_not_stop_those_in_flight(postfix: PostfixServer) -> None:
    envelopes = [Envelope(sender=SENDER, recipients=(to,)) for to in (f"anna@{DOMAIN}", RECIPIENT, f"bob@{DOMAIN}")]
    with client_for(postfix, username="", password=Secret("")) as client:
        client.send(envelopes[0], CONTENT)
        found = client.send_all([Parcel(envelope=envelope, content=CONTENT) for envelope in envelopes * 3])
        assert [word(result) for _, result in found] == ["accepted", "permanent 554", "accepted"] * 3


def test_a_very_long_password_is_accepted(postfix: PostfixServer) -> None:
    with client_for(postfix, username="long", password=Secret("x" * 1000)) as client:
        assert client.is_open


@pytest.mark.parametrize("mechanism", ["", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"])
@pytest.mark.parametrize("login", [{"password": Secret("wrong")}, {"username": "nobody"}])
def test_a_wrong_login_is_a_fault_of_the_settings(
    postfix: PostfixServer, mechanism: str, login: dict[str, Any]
) -> None:
    with pytest.raises(Misconfigured) as caught:
        client_for(postfix, auth_method=mechanism, **login).open()
    assert (caught.value.phase, caught.value.code) == (Phase.SIGN_IN, 535)


def test_plain_text_is_refused_by_the_server(postfix: PostfixServer) -> None:
    with (
        client_for(postfix, security=Security.NONE, username="", password=Secret("")) as client,
        pytest.raises(Misconfigured) as caught,
    ):
        client.send(ENVELOPE, CONTENT)
    assert caught.value.code == 530


def test_a_login_that_is_only_offered_with_encryption_is_not_tried_without(postfix: PostfixServer) -> None:
    with pytest.raises(Misconfigured) as caught:
        client_for(postfix, security=Security.NONE).open()
    assert caught.value.fault is Fault.AUTH_NOT_OFFERED


def test_a_relay_without_login_takes_mail_for_its_own_domain(postfix: PostfixServer) -> None:
    envelope = Envelope(sender=SENDER, recipients=(f"anna@{DOMAIN}",))
    with client_for(postfix, username="", password=Secret("")) as client:
        receipt = client.send(envelope, CONTENT)
    assert receipt.queue_id
    assert b"with ESMTPS id" in postfix.wait_for_mail(receipt.queue_id)


def test_a_denied_relay_is_permanent_and_the_connection_stays_good(postfix: PostfixServer) -> None:
    with client_for(postfix, username="", password=Secret("")) as client:
        with pytest.raises(Permanent) as caught:
            client.send(ENVELOPE, CONTENT)
        assert (caught.value.phase, caught.value.code) == (Phase.RECIPIENT, 554)
        client.send(Envelope(sender=SENDER, recipients=(f"anna@{DOMAIN}",)), CONTENT)


def test_a_partial_refusal_names_the_refused(postfix: PostfixServer) -> None:
    ours = f"anna@{DOMAIN}"
    with client_for(postfix, username="", password=Secret("")) as client:
        receipt = client.send(Envelope(sender=SENDER, recipients=(RECIPIENT, ours)), CONTENT)
    assert receipt.accepted == (ours,)
    assert list(receipt.refused) == [RECIPIENT]


def test_an_oversize_message_is_refused_before_it_is_sent(postfix: PostfixServer) -> None:
    with client_for(postfix) as client, pytest.raises(Permanent) as caught:
        client.send(ENVELOPE, b"Subject: x\r\n\r\n" + b"y" * 70 * 20_000 + b"\r\n")
    assert caught.value.fault is Fault.TOO_LARGE


def test_a_local_part_in_unicode_arrives(postfix: PostfixServer) -> None:
    envelope = Envelope(sender=SENDER, recipients=(f"jürgen@{DOMAIN}",))
    with client_for(postfix) as client:
        receipt = client.send(envelope, CONTENT)
    assert receipt.queue_id
    assert f"jürgen@{DOMAIN}".encode() in postfix.wait_for_mail(receipt.queue_id)


def test_tls_from_the_first_byte_at_the_starttls_port_is_recognised(postfix: PostfixServer) -> None:
    with pytest.raises(Misconfigured) as caught:
        client_for(postfix, security=Security.TLS).open()
    assert caught.value.fault is Fault.TLS_UNEXPECTED


def test_the_envelope_can_be_checked(postfix: PostfixServer) -> None:
    with client_for(postfix) as client:
        client.check_envelope(SENDER, RECIPIENT)
        assert client.send(ENVELOPE, CONTENT).queue_id
