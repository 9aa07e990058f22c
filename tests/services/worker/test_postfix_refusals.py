"""What a real Postfix holds against us, it says at RCPT: the configuration is paused, and the mail is kept."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from flask import Flask

from database.outbox_db import State
from services import email_service
from services.outbox.reasons import Reason, words
from services.settings import configs
from services.settings.fields import parse_change
from tests import certificates, postfix_server
from tests.mails import queued
from tests.outbox import drain, row_of
from tests.postfix_server import DOMAIN, PostfixServer, parameters

PASSWORD = "geheim-8472"

pytestmark = pytest.mark.skipif(postfix_server.missing() is not None, reason=f"Postfix: {postfix_server.missing()}")

BEFORE_LOGIN = "permit_sasl_authenticated, reject_unauth_destination"
REFUSALS: dict[str, tuple[dict[str, str], dict[str, object], Reason]] = {
    "the name in EHLO": (
        {"smtpd_helo_restrictions": "reject_non_fqdn_helo_hostname"},
        {"helo_hostname": "vault"},
        Reason.NAME_REFUSED,
    ),
    "a name in EHLO that nobody knows": (
        {"smtpd_helo_restrictions": "reject_unknown_helo_hostname"},
        {"helo_hostname": "app.invalid"},
        Reason.NAME_REFUSED,
    ),
    "the client": (
        {"smtpd_client_restrictions": "reject"},
        {},
        Reason.HOST_REFUSED,
    ),
    "a client without a name": (
        {"smtpd_client_restrictions": "reject_unknown_client_hostname"},
        {},
        Reason.HOST_REFUSED,
    ),
    "relaying without a login": (
        {"smtpd_relay_restrictions": BEFORE_LOGIN},
        {"smtp_username": "", "remove_password": True},
        Reason.NO_RELAY,
    ),
    "relaying with a login": (
        {"smtpd_relay_restrictions": "reject_unauth_destination"},
        {},
        Reason.NO_RELAY,
    ),
    "the From address of another": (
        {
            "smtpd_sender_restrictions": "reject_sender_login_mismatch",
            "smtpd_sender_login_maps": f"inline:{{boss@{DOMAIN}=boss}}",
        },
        {"from_email": f"boss@{DOMAIN}"},
        Reason.NOT_OWNER,
    ),
}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture
def servers(app: Flask) -> Iterator[ExitStack]:
    with ExitStack() as running:
        yield running


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_what_postfix_holds_against_us_keeps_the_mail_and_says_why(
    servers: ExitStack, refusal: tuple[dict[str, str], dict[str, object], Reason]
) -> None:
    more, change, reason = refusal
    server = servers.enter_context(PostfixServer({"shop": PASSWORD}, parameters(more)))
    place = {"smtp_server": server.host, "smtp_port": server.starttls_port, "use_tls": True, "timeout_seconds": 10}
    login = {"smtp_username": "shop", "smtp_password": PASSWORD, "from_email": f"shop@{DOMAIN}"}
    if "smtp_username" in change:
        login = {"from_email": f"shop@{DOMAIN}"}
        change = {}
    configs.save(parse_change({**place, **login, **change}), actor="tester")
    mail_ids = [queued("ann@elsewhere.example"), queued("bob@elsewhere.example")]
    drain()
    rows = [row_of(mail_id) for mail_id in mail_ids]
    assert [(row.state, row.attempts, row.reason) for row in rows] == [(State.DEFERRED, 0, reason)] * 2
    assert email_service.send_email("ann@elsewhere.example", "s", "b") is False
    stored = configs.find_active()
    assert stored
    assert stored.row.last_error == words(reason)


def test_an_unknown_recipient_at_the_same_postfix_stays_the_mails(servers: ExitStack) -> None:
    more = {"smtpd_recipient_restrictions": f"check_recipient_access inline:{{nobody@{DOMAIN}=550}}, permit"}
    server = servers.enter_context(PostfixServer({"shop": PASSWORD}, parameters(more)))
    place = {"smtp_server": server.host, "smtp_port": server.starttls_port, "use_tls": True, "timeout_seconds": 10}
    login = {"smtp_username": "shop", "smtp_password": PASSWORD, "from_email": f"shop@{DOMAIN}"}
    configs.save(parse_change({**place, **login}), actor="tester")
    bad, good = queued(f"nobody@{DOMAIN}"), queued(f"ann@{DOMAIN}")
    drain()
    assert row_of(good).state == State.SENT
    assert row_of(bad).attempts == 1
