"""Where the servers of those may be who are no administrators: public ones at the ports of mail, and one refusal."""

from ipaddress import ip_address
from pathlib import Path

import pytest
from flask import Flask

from database import smtp_db
from database.engine import transaction
from database.smtp_db import SmtpConfig
from services.accounts import administration
from services.personal import own_server
from services.settings import configs, key_rotation, route, rules, sealing
from services.settings.fields import parse_change
from services.settings.sealing import StoredConfig, merged_with
from services.smtp import dial
from services.smtp.settings import Security, SmtpSettings
from services.smtp.wire import Deadline, WireError
from tests.dns_server import DnsServer, Fails, Zone
from tests.patience import PATIENCE
from tests.services.settings.test_allowed_places import running
from tests.visitors import make_alice, make_bob
from utils import clock
from utils.allowed_places import NOT_FOR_ACCOUNTS, PlacesForAccounts
from utils.env_reader import ConfigurationError
from utils.env_utils import get_settings, load_settings
from utils.errors import Fault, InvalidInput


def allowed(environment: dict[str, str], **variables: str) -> PlacesForAccounts:
    return load_settings({**environment, **variables}).smtp_allowed_accounts


@pytest.mark.parametrize("value", ["all", "10.0.0.1/8", "10.0.0.0/33", ",", "10.0.0.0/8,", "mail.lan", "10/8", "[::1]"])
def test_a_bad_value_stops_the_start_with_its_own_name(environment: dict[str, str], value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^SMTP_ALLOWED_CIDRS_ACCOUNTS must be .*leave it empty\.$"):
        allowed(environment, SMTP_ALLOWED_CIDRS_ACCOUNTS=value)


@pytest.mark.parametrize(
    ("for_accounts", "for_all", "address", "is_allowed"),
    [
        ("", "", "8.8.8.8", True),
        ("", "", "2606:4700::1", True),
        ("", "", "64:ff9b::808:808", True),
        ("", "", "127.0.0.1", False),
        ("", "", "10.0.0.1", False),
        ("", "", "168.63.129.16", False),  # a metadata service at an address that is public
        ("10.0.0.0/8", "", "10.0.0.1", True),
        ("10.0.0.0/8", "", "::ffff:10.0.0.1", True),
        ("::ffff:10.0.0.0/104", "", "10.0.0.1", True),
        ("10.0.0.0/8", "", "8.8.8.8", True),
        ("10.0.0.0/8", "", "192.168.0.1", False),
        ("10.0.0.0/8", "", "64:ff9b::a00:1", True),
        ("10.0.0.0/8", "", "64:ff9b::c0a8:1", False),
        ("64:ff9b:1::/48", "", "64:ff9b:1::808:808", True),
        ("64:ff9b:1::/48", "", "64:ff9b:1::a00:1", False),
        ("64:ff9b:1::/48,10.0.0.0/8", "", "64:ff9b:1::a00:1", True),
        ("127.0.0.0/8", "", "127.9.9.9", True),
        ("127.0.0.0/8", "", "::1", False),
        ("0.0.0.0/0,::/0", "", "127.0.0.1", True),
        *(
            ("0.0.0.0/0,::/0", "", address, False)
            for address in ("169.254.169.254", "169.254.1.1", "fe80::1", "224.0.0.1", "ff02::1", "0.0.0.0", "::")
        ),
        ("0.0.0.0/0,::/0", "", "fd00:ec2::254%eth0", False),
        ("0.0.0.0/0,::/0", "", "64:ff9b::a9fe:a9fe", False),
        ("169.254.0.0/16", "", "169.254.169.254", False),
        ("", "10.0.0.0/8", "10.0.0.1", False),  # what is allowed to all is not yet allowed to accounts
        ("", "8.8.8.0/24", "8.8.8.8", True),
        ("", "8.8.8.0/24", "1.1.1.1", False),
        ("10.0.0.0/8", "10.1.0.0/16", "10.1.0.1", True),
        ("10.0.0.0/8", "10.1.0.0/16", "10.2.0.1", False),
        ("10.0.0.0/8", "10.1.0.0/16", "8.8.8.8", False),
    ],
)  # fmt: skip
def test_an_account_may_use_what_is_public_or_named_for_it_and_allowed_to_all(
    environment: dict[str, str], for_accounts: str, for_all: str, address: str, is_allowed: bool
) -> None:
    variables = {"SMTP_ALLOWED_CIDRS": for_all, "SMTP_ALLOWED_CIDRS_ACCOUNTS": for_accounts}
    assert (allowed(environment, **variables).refusal(ip_address(address)) is None) is is_allowed


@pytest.mark.parametrize(
    ("for_all", "port", "is_allowed"),
    [
        *(("", port, True) for port in (25, 465, 587, 2525)),
        *(("", port, False) for port in (1, 22, 24, 26, 80, 443, 1025, 2465, 2587, 3306, 5432, 6379, 11211, 65535)),
        ("587", 587, True),
        *(("587", port, False) for port in (25, 465, 2525, 6379)),
        *(("2500-2599", port, False) for port in (25, 465, 587, 2500)),
        ("2500-2599", 2525, True),
    ],
)
def test_an_account_has_the_ports_of_mail_of_those_that_are_named(
    environment: dict[str, str], for_all: str, port: int, is_allowed: bool
) -> None:
    assert (allowed(environment, SMTP_ALLOWED_PORTS=for_all).refusal_of_port(port) == "") is is_allowed


def test_a_port_is_refused_by_a_rule_that_everybody_may_know(environment: dict[str, str]) -> None:
    assert allowed(environment).refusal_of_port(6379) == "Use port 25, 465, 587 or 2525."
    narrowed = allowed(environment, SMTP_ALLOWED_PORTS="465,587")
    assert narrowed.refusal_of_port(25) == "Port 25 cannot be used. Ask an administrator."
    assert "SMTP_ALLOWED" not in narrowed.refusal_of_host("10.0.0.1") + narrowed.refusal_of_port(6379)


# Of what a name server says: what leads inside, and what leads nowhere.
REFUSED: dict[str, Zone] = {
    "private": {("mail.test", "A"): ["10.0.0.1"]},
    "loopback": {("mail.test", "A"): ["127.0.0.1"], ("mail.test", "AAAA"): ["::1"]},
    "one private among public ones": {("mail.test", "A"): ["8.8.8.8", "10.0.0.1", "1.1.1.1"]},
    "a private one of the other kind": {("mail.test", "A"): ["8.8.8.8"], ("mail.test", "AAAA"): ["fd12::25"]},
    "an alias of one inside": {("mail.test", "CNAME"): ["db.lan."], ("db.lan", "A"): ["192.168.0.5"]},
    "metadata": {("mail.test", "A"): ["169.254.169.254"]},
    "a translator's loopback": {("mail.test", "AAAA"): ["64:ff9b::7f00:1"]},
    "no such name": {},
    "no address": {("mail.test", "MX"): ["10 mx.mail.test."]},
}


@pytest.mark.parametrize("zone", REFUSED.values(), ids=REFUSED)
def test_every_name_that_is_refused_is_refused_alike(environment: dict[str, str], zone: Zone) -> None:
    with DnsServer(zone) as dns, pytest.raises(WireError) as caught:
        dial.look_up("mail.test", Deadline(PATIENCE), dns.address, allowed(environment))
    assert (caught.value.fault, caught.value.text) == (Fault.ADDRESS_REFUSED, NOT_FOR_ACCOUNTS)


def test_a_name_with_public_addresses_alone_is_looked_up(environment: dict[str, str]) -> None:
    zone: Zone = {("mail.test", "A"): ["8.8.8.8"], ("mail.test", "AAAA"): ["2606:4700::1"]}
    with DnsServer(zone) as dns:
        found, left_out = dial.look_up("mail.test", Deadline(PATIENCE), dns.address, allowed(environment))
    assert (sorted(map(str, found)), left_out) == (["2606:4700::1", "8.8.8.8"], {})


def test_why_it_was_refused_is_told_to_the_administrator_in_the_log(
    environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(WireError):
        dial.look_up("10.0.0.1", Deadline(PATIENCE), "", allowed(environment))
    assert "smtp_place_refused" in caplog.text
    assert "no public address" in caplog.text


PERSONAL = SmtpSettings(
    host="10.0.0.1", port=587, security=Security.STARTTLS, from_email="bob@example.com", is_personal=True
)
ROW: dict[str, object] = {"name": "Own server", "smtp_port": 587, "from_email": "bob@example.com"}


def test_settings_are_judged_by_who_entered_them(environment: dict[str, str], tmp_path: Path) -> None:
    with running(environment, tmp_path, {}):
        ours = get_settings()
        assert rules.allowed_for(PERSONAL, ours) is ours.smtp_allowed_accounts
        with pytest.raises(InvalidInput) as caught:
            rules.check_place(PERSONAL)
        assert caught.value.errors == {"smtp_server": [NOT_FOR_ACCOUNTS]}
        change = parse_change({**ROW, "smtp_server": "10.0.0.1"})
        assert not merged_with(None, change).is_personal
        with pytest.raises(InvalidInput):
            merged_with(None, change, is_personal=True)
        public = merged_with(None, parse_change({**ROW, "smtp_server": "8.8.8.8"}), is_personal=True)
        assert public.is_personal


def test_a_name_is_looked_up_when_it_is_entered(environment: dict[str, str], tmp_path: Path) -> None:
    zone: Zone = {
        ("inner.test", "A"): ["10.0.0.1"],
        ("mail.test", "A"): ["8.8.8.8"],
        ("broken.test", "*"): Fails.SERVFAIL,
    }
    with DnsServer(zone) as dns, running(environment, tmp_path, {"DNS_RESOLVER": dns.address}):
        for host in ("inner.test", "absent.test"):
            with pytest.raises(InvalidInput) as caught:
                rules.look_at_place(host, is_personal=True)
            assert caught.value.errors == {"smtp_server": [NOT_FOR_ACCOUNTS]}
        rules.look_at_place("mail.test", is_personal=True)
        for host in ("broken.test", "not-yet.firm.example"):  # judged whenever it is connected to
            rules.look_at_place(host, is_personal=True)
        rules.look_at_place("inner.test")


def stored_by(account_id: int) -> StoredConfig:
    """The account's own server, as it was entered when that was allowed."""
    settings = SmtpSettings(host="10.0.0.1", port=587, security=Security.STARTTLS, from_email="bob@example.com")
    with transaction() as session:
        row = SmtpConfig(
            account_id=account_id,
            name="Own server",
            smtp_server=settings.host,
            smtp_port=settings.port,
            from_email=settings.from_email,
            from_name="",
            reply_to="",
            helo_hostname="",
            auth_method="",
            smtp_username="",
            timeout_seconds=10,
            client_certificate="",
            use_tls=True,
            use_ssl=False,
            is_active=True,
            created_at=clock.now(),
            updated_at=clock.now(),
            version=1,
        )
        sealing.seal(row, settings)
        session.add(row)
    return own_server_of(account_id)


def own_server_of(account_id: int) -> StoredConfig:
    found = own_server.find(account_id)
    assert found is not None
    return found


def test_a_stored_server_is_guarded_by_what_its_account_is_now(app: Flask) -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    assert stored_by(bob.id).settings.is_personal
    for change, expected in ((administration.promote, False), (administration.demote, True)):
        change(bob.id)
        with transaction() as session:
            row = smtp_db.find_active(session, bob.id)
            assert row is not None
            assert sealing.unsealed(row).settings.is_personal  # whoever does not ask is careful
        stored = own_server_of(bob.id)
        (step, *_) = route.steps(bob.id)
        assert step.settings is not None
        assert (stored.settings.is_personal, step.settings.is_personal) == (expected, expected)
        assert stored.is_usable


def test_the_settings_of_an_administrator_and_of_others_are_never_the_same() -> None:
    other = SmtpSettings(host="10.0.0.1", port=587, security=Security.STARTTLS, from_email="bob@example.com")
    assert other != PERSONAL


def test_the_mark_of_a_test_is_of_those_who_may_use_the_server(app: Flask) -> None:
    make_alice(is_admin=True)
    bob = make_bob(is_admin=True)
    stored = stored_by(bob.id)
    configs.mark_tested(stored.settings, None, stored.id)
    assert own_server_of(bob.id).is_verified
    administration.demote(bob.id)
    assert not own_server_of(bob.id).is_verified


def test_a_new_key_keeps_the_mark_of_an_administrators_own_server(app: Flask) -> None:
    bob = make_bob(is_admin=True)
    stored = stored_by(bob.id)
    configs.mark_tested(stored.settings, None, stored.id)
    marked = own_server_of(bob.id)
    assert sealing.current_seal(sealing.unsealed(marked.row)).verified_fingerprint == marked.row.verified_fingerprint
    assert key_rotation.status().is_well
