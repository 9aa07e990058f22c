"""A client certificate in the conversation: shown to who asks, and to nobody for whom it is not set up."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from app import create_app
from database.outbox_db import State
from services import email_service
from services.checks import connection_test
from services.checks.connection_test import TestPlan, TestResult
from services.settings import configs
from services.settings.fields import parse_change
from services.smtp.client import Envelope, Receipt, SmtpClient
from services.smtp.pool import Pool
from services.smtp.settings import Security, SmtpSettings
from tests import certificates, exim_server, postfix_server
from tests.certificates import ClientPair, client_pair
from tests.exim_server import EximServer
from tests.mails import queued
from tests.outbox import drain, row_of
from tests.postfix_server import PostfixServer, parameters
from tests.scripted_server import ScriptedServer
from tests.smtp_clients import CONTENT, ENVELOPE, PARCEL, RECIPIENT, SENDER, policy, settings_for
from utils.errors import DeliveryError
from utils.secret import Secret

needs_postfix = pytest.mark.skipif(postfix_server.missing() is not None, reason=f"Postfix: {postfix_server.missing()}")
needs_exim = pytest.mark.skipif(exim_server.missing() is not None, reason=f"Exim: {exim_server.missing()}")

_RELAY = {
    "smtpd_tls_CAfile": str(certificates.ca_file()),
    "smtpd_relay_restrictions": "permit_tls_all_clientcerts, reject",
}
# Who shows a certificate of the authority may relay, and nobody else, as relays without passwords have it.
_BY_CERTIFICATE = {**_RELAY, "smtpd_tls_ask_ccert": "yes"}
_REQUIRED = {**_RELAY, "smtpd_tls_req_ccert": "yes", "smtpd_tls_security_level": "encrypt"}
_EXIM_REQUIRED = "tls_verify_hosts = *\ntls_verify_certificates = {home}/ca.pem"


@cache
def pair() -> ClientPair:
    return client_pair()


@cache
def strangers() -> ClientPair:
    """By an authority that the servers do not trust."""
    stranger = certificates.stranger()
    above = ClientPair(stranger.cert_pem.bytes().decode(), stranger.private_key_pem.bytes().decode())
    return client_pair("stranger", issuer=above)


@pytest.fixture(scope="module")
def relay() -> Iterator[PostfixServer]:
    with PostfixServer({"shop": "unused"}, parameters(_BY_CERTIFICATE)) as server:
        yield server


@pytest.fixture(scope="module")
def strict() -> Iterator[PostfixServer]:
    with PostfixServer({"shop": "unused"}, parameters(_REQUIRED)) as server:
        yield server


@pytest.fixture(scope="module")
def exim() -> Iterator[EximServer]:
    with EximServer({"shop": "unused"}, senders=SENDER, more=_EXIM_REQUIRED) as server:
        yield server


def settings(
    server: PostfixServer | EximServer, made: ClientPair | None, security: Security = Security.STARTTLS
) -> SmtpSettings:
    shown = {"client_certificate": made.certificate, "client_key": Secret(made.key)} if made else {}
    port = server.starttls_port if security is Security.STARTTLS else server.tls_port
    values: dict[str, Any] = {"host": server.host, "port": port, "security": security, "from_email": SENDER, **shown}
    return SmtpSettings(**values)


def sent(chosen: SmtpSettings, envelope: Envelope = ENVELOPE) -> Receipt:
    with SmtpClient(chosen, policy()) as client:
        return client.send(envelope, CONTENT)


def report(chosen: SmtpSettings, rcpt: str = RECIPIENT) -> TestResult:
    *_, result = connection_test.stream(TestPlan(settings=chosen, policy=policy(), rcpt=rcpt))
    assert isinstance(result, TestResult)
    return result


@needs_postfix
@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
def test_postfix_relays_for_the_certificate_alone(relay: PostfixServer, security: Security) -> None:
    receipt = sent(settings(relay, pair(), security))
    assert b"Good morning." in relay.wait_for_mail(str(receipt.queue_id))


@needs_postfix
@pytest.mark.parametrize("made", [None, "strangers"])
def test_postfix_relays_for_nobody_without_it_or_with_another(relay: PostfixServer, made: str | None) -> None:
    with pytest.raises(DeliveryError):
        sent(settings(relay, strangers() if made else None))


@needs_postfix
@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
def test_a_postfix_that_requires_one_takes_mail_with_it_and_refuses_without(
    strict: PostfixServer, security: Security
) -> None:
    sent(settings(strict, pair(), security))
    with pytest.raises(DeliveryError):
        sent(settings(strict, None, security))


@needs_exim
@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
def test_an_exim_that_requires_one_takes_mail_with_it_and_refuses_without(exim: EximServer, security: Security) -> None:
    to_exim = replace(ENVELOPE, recipients=(f"anna@{exim_server.DOMAIN}",))
    assert sent(settings(exim, pair(), security), to_exim).queue_id
    with pytest.raises(DeliveryError):
        sent(settings(exim, None, security), to_exim)
    with pytest.raises(DeliveryError):
        sent(settings(exim, strangers(), security), to_exim)


@needs_postfix
@pytest.mark.parametrize("kind", ["RSA", "Ed25519", "chain"])
def test_each_kind_of_key_and_a_chain_are_accepted_by_postfix(relay: PostfixServer, kind: str) -> None:
    if kind == "chain":
        above = client_pair("intermediate", is_authority=True, usage=None)
        below = client_pair("below", issuer=above)
        made = ClientPair(below.certificate + above.certificate, below.key)
    else:
        key = rsa.generate_private_key(65537, 2048) if kind == "RSA" else ed25519.Ed25519PrivateKey.generate()
        made = client_pair(key=key)
    assert sent(settings(relay, made)).queue_id


@needs_postfix
def test_a_test_of_the_connection_shows_it_and_says_so(relay: PostfixServer) -> None:
    result = report(settings(relay, pair()))
    assert result.ok, relay.log
    (fact,) = [step.fact for step in result.steps if step.name == "encryption"]
    assert "Client certificate: CN=client.example, 90 days left" in fact


@needs_postfix
def test_a_test_fails_without_the_one_that_is_required(strict: PostfixServer) -> None:
    assert report(settings(strict, pair())).ok
    assert not report(settings(strict, None)).ok


@needs_postfix
def test_a_test_warns_of_one_that_ends_soon(relay: PostfixServer) -> None:
    result = report(settings(relay, client_pair(days=3)))
    (step,) = [step for step in result.steps if step.name == "encryption"]
    assert (step.status, "expires on" in step.fact) == ("warning", True)


@needs_postfix
def test_kept_connections_are_not_shared_between_settings_with_and_without_it(relay: PostfixServer) -> None:
    pool = Pool()
    try:
        assert pool.send(settings(relay, pair()), policy(), PARCEL, owner="a").queue_id
        with pytest.raises(DeliveryError):
            pool.send(settings(relay, None), policy(), PARCEL, owner="b")
    finally:
        pool.close()


def test_one_that_the_library_refuses_is_told_as_ours_and_not_as_the_servers() -> None:
    mixed = {"client_certificate": pair().certificate, "client_key": Secret(client_pair("other").key)}
    server = ScriptedServer(tls=certificates.good_context(), implicit=True)
    with server, pytest.raises(DeliveryError) as caught:
        sent(settings_for(server, security=Security.TLS, **mixed))
    assert caught.value.text == "The client certificate cannot be used: its key does not belong to it."
    with ScriptedServer(tls=certificates.good_context(), implicit=True) as server:
        result = report(settings_for(server, security=Security.TLS, **mixed))
    assert result.remedy.startswith("Enter a client certificate")


def test_a_server_that_asks_for_none_is_shown_none_and_takes_the_mail() -> None:
    with ScriptedServer(tls=certificates.good_context(), implicit=True) as server:
        shown = {"client_certificate": pair().certificate, "client_key": Secret(pair().key)}
        assert sent(settings_for(server, security=Security.TLS, **shown)).queue_id


@needs_postfix
def test_mail_of_the_application_goes_through_with_what_is_stored_queued_or_not(
    environment: dict[str, str], tmp_path: Path, relay: PostfixServer
) -> None:
    trusting = {**environment, "SMTP_CA_FILE": str(certificates.ca_file())}
    with create_app(trusting, instance_path=tmp_path).app_context():
        place = {"smtp_server": relay.host, "smtp_port": relay.starttls_port, "from_email": SENDER}
        own = {"client_certificate": pair().certificate, "client_key": pair().key}
        configs.save(parse_change({**place, **own}), actor="tester")
        assert email_service.send_email(RECIPIENT, "Hello", "Good morning.") is True
        mail_id = queued(RECIPIENT)
        drain()
        assert row_of(mail_id).state == State.SENT
        configs.save(parse_change({"remove_client_certificate": True}), actor="tester")
        assert email_service.send_email(RECIPIENT, "Hello", "Good morning.") is False
