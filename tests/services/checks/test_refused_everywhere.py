"""No test is green where mail to another domain is refused: a dozen refusals of real servers, each in its own words."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import pytest

from services.checks import connection_test
from services.checks.connection_test import TestPlan, TestResult
from services.outbox.reasons import Reason, words
from services.settings.reach import Reach
from services.smtp.settings import Security, SmtpSettings
from tests import exim_server, postfix_server
from tests.exim_server import EximServer
from tests.postfix_server import DOMAIN, PostfixServer
from tests.scripted_server import Answer, Connection, ScriptedServer
from tests.smtp_clients import CONTENT, policy
from utils.errors import ENVELOPE
from utils.secret import Secret

PASSWORD = "geheim-8472"
SENDER = f"shop@{DOMAIN}"
CUSTOMER = "ann@elsewhere.example"
LOGIN: dict[str, Any] = {"username": "shop", "password": Secret(PASSWORD)}
NO_LOGIN: dict[str, Any] = {"username": "", "password": Secret("")}


class Refusal(NamedTuple):
    """What Postfix is told, what is changed of the settings, how we greet, and what the test says."""

    options: dict[str, str]
    reason: Reason
    settings: dict[str, Any] = {}  # noqa: RUF012
    ehlo_name: str = "app.example"


def said(restriction: str, line: str) -> dict[str, str]:
    return {f"smtpd_{restriction}_restrictions": f"check_{restriction}_access static:{{ {line} }}"}


LISTED = "554 5.7.1 Service unavailable; Client host [192.0.2.9] blocked using zen.spamhaus.org"
RELAYS = {"smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination", "mynetworks": "127.0.0.0/8"}
OWNERS = f"inline:{{ {{ boss@{DOMAIN} = boss }} }}"
POSTFIX: dict[str, Refusal] = {
    "relay": Refusal({"smtpd_relay_restrictions": "reject_unauth_destination"}, Reason.NO_RELAY, NO_LOGIN),
    "relay-signed-in": Refusal({"smtpd_relay_restrictions": "reject_unauth_destination"}, Reason.NO_RELAY),
    "owner": Refusal(
        {"smtpd_sender_restrictions": "reject_sender_login_mismatch", "smtpd_sender_login_maps": OWNERS},
        Reason.NOT_OWNER,
        {"from_email": f"boss@{DOMAIN}"},
    ),
    "helo-fqdn": Refusal(
        {"smtpd_helo_restrictions": "reject_non_fqdn_helo_hostname"}, Reason.NAME_REFUSED, ehlo_name="vault"
    ),
    "helo-unknown": Refusal(
        {"smtpd_helo_restrictions": "reject_unknown_helo_hostname"}, Reason.NAME_REFUSED, ehlo_name="app.invalid"
    ),
    "client": Refusal({"smtpd_client_restrictions": "check_client_access static:REJECT"}, Reason.HOST_REFUSED),
    "no-ptr": Refusal({"smtpd_client_restrictions": "reject_unknown_client_hostname"}, Reason.HOST_REFUSED),
    "dnsbl": Refusal(said("client", LISTED), Reason.BLOCK_LISTED),
    "sender-domain": Refusal(
        {"smtpd_sender_restrictions": "reject_unknown_sender_domain", "unknown_address_reject_code": "550"},
        Reason.SENDER_REFUSED,
        {"from_email": "shop@nowhere.invalid"},
    ),
    "login-wanted": Refusal(
        said("recipient", "530 5.7.0 Authentication required") | RELAYS,
        Reason.LOGIN_WANTED,
        NO_LOGIN,
    ),
    "policy": Refusal(said("recipient", "550 5.7.1 not permitted"), Reason.RECIPIENT_REFUSED),
    "rate": Refusal(said("recipient", "450 4.7.1 Error: too many recipients from 192.0.2.9"), Reason.RECIPIENT_REFUSED),
}
EXIM_REFUSALS = """\
  deny local_parts = relay-signed-in
       message = relay not permitted
  deny local_parts = owner
       message = Sender address $sender_address is not owned by $authenticated_id
  deny local_parts = helo-fqdn
       !verify = helo
       message = HELO $sender_helo_name is not fully qualified (see RFC 5321)
  deny local_parts = helo-unknown
       !verify = helo
  deny local_parts = client
       hosts = 127.0.0.1
       message = Your host is not allowed to connect here
  deny local_parts = no-ptr
       message = Could not complete reverse-DNS lookup of $sender_host_address
  deny local_parts = dnsbl
       message = rejected because $sender_host_address is in a black list at zen.spamhaus.org
  deny local_parts = sender-domain
       !verify = sender
  deny local_parts = login-wanted
       !authenticated = *
       message = Authentication required
  deny local_parts = policy
  defer local_parts = rate
        ratelimit = 0 / 1h / strict / $sender_host_address
        message = Sender rate $sender_rate / $sender_rate_period
  deny local_parts = no-way
       !verify = recipient
  deny local_parts = no-user
       message = No such user here
"""
EXIM_ROUTERS = """\
nobody_sends:
  driver = redirect
  domains = nowhere.invalid
  allow_fail
  data = :fail: no such domain

nobody_there:
  driver = redirect
  local_parts = no-way
  data = ${if eq{1}{2}{x}}
  no_more
"""
pytestmark = [
    pytest.mark.skipif(postfix_server.missing() is not None, reason=f"Postfix: {postfix_server.missing()}"),
    pytest.mark.skipif(exim_server.missing() is not None, reason=f"Exim: {exim_server.missing()}"),
]
PASSING: dict[str, dict[str, str]] = {
    "grey": said("recipient", "450 4.2.0 Greylisted, see https://postgrey.example/help"),
    "mailbox": said("recipient", "550 5.1.1 User unknown"),
    "behind": RELAYS,
    "open": {"smtpd_relay_restrictions": "permit_sasl_authenticated, reject_unauth_destination"},
}


@pytest.fixture(scope="module")
def postfix() -> Iterator[PostfixServer]:
    kinds = {name: refusal.options for name, refusal in POSTFIX.items()} | PASSING
    with PostfixServer({"shop": PASSWORD}, kinds=kinds) as server:
        yield server


@pytest.fixture(scope="module")
def exim() -> Iterator[EximServer]:
    senders = f"{SENDER} : boss@{DOMAIN} : shop@nowhere.invalid"
    with EximServer({"shop": PASSWORD}, senders, refusals=EXIM_REFUSALS, routers=EXIM_ROUTERS) as server:
        yield server


@contextmanager
def dovecot_before(port: int) -> Iterator[ScriptedServer]:
    """Speaks as Dovecot's submission service does: it signs in, and passes on what a relay says to MAIL and RCPT."""
    with ExitStack() as held:
        relays: dict[int, Any] = {}

        def ask(connection: Connection) -> None:
            if id(connection) not in relays:
                relays[id(connection)] = relay = held.enter_context(_Relay(port))
                relay.said("EHLO app.example")
            connection.send(relays[id(connection)].said(connection.command))

        offers = "250-mail.test\n250-8BITMIME\n250-AUTH PLAIN\n250-CHUNKING\n250-ENHANCEDSTATUSCODES\n250 PIPELINING"
        script: dict[str, Answer] = {
            "GREETING": "220 mail.test Dovecot ready.", "EHLO": offers, "AUTH": "235 2.7.0 Logged in.",
            "MAIL": ask, "RCPT": ask, "RSET": ask,
        }  # fmt: skip
        yield held.enter_context(ScriptedServer(script))


class _Relay:
    """A connection to the server behind."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._file = self._sock.makefile("rb")
        self._reply()

    def __enter__(self) -> "_Relay":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._sock.close()

    def said(self, command: str) -> bytes:
        self._sock.sendall(command.encode() + b"\r\n")
        return self._reply()

    def _reply(self) -> bytes:
        lines = [self._file.readline()]
        while lines[-1][3:4] == b"-":
            lines.append(self._file.readline())
        return b"".join(lines)


def run(
    host: str,
    port: int,
    rcpt: str = CUSTOMER,
    *,
    content: bytes | None = None,
    ehlo_name: str = "app.example",
    **changes: Any,
) -> TestResult:
    values = {"host": host, "port": port, "security": Security.STARTTLS, "from_email": SENDER, **LOGIN, **changes}
    rules = policy(ehlo_name=ehlo_name)
    plan = TestPlan(settings=SmtpSettings(**values), policy=rules, rcpt=rcpt, content=content)
    *_, result = connection_test.stream(plan)
    assert isinstance(result, TestResult)
    return result


def is_refused(result: TestResult) -> None:
    """It failed where a mail would, and says so in words of ours that are not about somebody's mailbox."""
    assert not result.ok, result.steps
    assert result.error
    assert result.error.phase in ENVELOPE
    assert [step.status for step in result.steps][-1] == "failed"
    assert result.diagnosis
    assert all([result.diagnosis.title, result.diagnosis.meaning, result.diagnosis.remedy])
    assert (result.reach, result.server_line != "") == (Reach.UNSEEN, True)


@pytest.mark.parametrize("content", [None, CONTENT], ids=["asked", "sent"])
@pytest.mark.parametrize("name", POSTFIX)
def test_a_test_of_postfix_fails(postfix: PostfixServer, name: str, content: bytes | None) -> None:
    refusal = POSTFIX[name]
    result = run(postfix.host, postfix.ports[name], content=content, ehlo_name=refusal.ehlo_name, **refusal.settings)
    is_refused(result)
    if refusal.reason is not Reason.RECIPIENT_REFUSED:
        assert result.message == words(refusal.reason)


@pytest.mark.parametrize("content", [None, CONTENT], ids=["asked", "sent"])
@pytest.mark.parametrize("name", POSTFIX)
def test_a_test_of_exim_fails(exim: EximServer, name: str, content: bytes | None) -> None:
    refusal = POSTFIX[name]
    rcpt, changes = f"{name}@elsewhere.example", refusal.settings
    is_refused(run(exim.host, exim.starttls_port, rcpt, content=content, ehlo_name=refusal.ehlo_name, **changes))


@pytest.mark.parametrize("content", [None, CONTENT], ids=["asked", "sent"])
@pytest.mark.parametrize("name", POSTFIX)
def test_a_test_of_dovecot_before_it_fails(postfix: PostfixServer, name: str, content: bytes | None) -> None:
    refusal = POSTFIX[name]
    changes = {**refusal.settings, **LOGIN, "security": Security.NONE}
    with dovecot_before(postfix.ports[name]) as server:
        is_refused(run(server.host, server.port, content=content, ehlo_name=refusal.ehlo_name, **changes))


def test_what_all_three_take_is_green(postfix: PostfixServer, exim: EximServer) -> None:
    found = [run(postfix.host, postfix.ports["open"]), run(exim.host, exim.starttls_port)]
    with dovecot_before(postfix.ports["behind"]) as server:
        found.append(run(server.host, server.port, security=Security.NONE))
    assert [(result.ok, result.caveat, result.reach) for result in found] == [(True, "", Reach.EVERYWHERE)] * 3


@pytest.mark.parametrize(("name", "caveat"), [("grey", "(greylisting)"), ("mailbox", f"refuses {CUSTOMER} only")])
def test_what_is_about_that_mailbox_is_a_warning(postfix: PostfixServer, name: str, caveat: str) -> None:
    result = run(postfix.host, postfix.ports[name])
    assert result.ok
    assert caveat in result.caveat
    assert result.steps[-1].status == "warning"


def test_a_mailbox_that_exim_does_not_have_is_a_warning_and_a_domain_that_it_cannot_reach_is_not(
    exim: EximServer,
) -> None:
    assert run(exim.host, exim.starttls_port, "no-user@elsewhere.example").ok
    is_refused(run(exim.host, exim.starttls_port, "no-way@elsewhere.example"))


@pytest.mark.parametrize("server", ["postfix", "exim"])
def test_without_a_sign_in_ones_own_domain_shows_nothing_of_others(
    postfix: PostfixServer, exim: EximServer, server: str
) -> None:
    host, port = (postfix.host, postfix.ports["open"]) if server == "postfix" else (exim.host, exim.starttls_port)
    domain = DOMAIN if server == "postfix" else exim_server.DOMAIN
    result = run(host, port, f"ann@{domain}", from_email=f"shop@{domain}", **NO_LOGIN)
    assert (result.ok, result.reach) == (True, Reach.OWN_DOMAIN)
    assert result.headline == "Connection successful, to your own domain only"
