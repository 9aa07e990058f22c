"""The From domain check: each record good, to be changed or not to be known, and the record to add is the right one."""

from collections.abc import Iterator
from time import monotonic

import pytest
from flask import Flask

from services.domain import check
from services.domain.check import DomainReport
from services.domain.records import Finding
from services.providers import registry
from tests.dns_server import DnsServer, Fails, Zone
from tests.patience import stretched
from utils.errors import InvalidInput

GOOGLE = "smtp.gmail.com"
ZONE: Zone = {
    ("good.test", "TXT"): ["v=spf1 include:_spf.google.com ~all", "some=other"],
    ("_spf.google.com", "TXT"): ["v=spf1 ip4:64.233.160.0/19 ~all"],
    ("google._domainkey.good.test", "TXT"): ["v=DKIM1; k=rsa; p=MIIBIjAN" + "A" * 300],
    ("_dmarc.good.test", "TXT"): ["v=DMARC1; p=quarantine; adkim=s"],
    ("good.test", "MX"): ["10 mx.good.test."],
    ("bare.test", "A"): ["11.22.33.44"],
    ("nested.test", "TXT"): ["v=spf1 include:mine.nested.test -all"],
    ("mine.nested.test", "TXT"): ["v=spf1 include:_spf.google.com -all"],
    ("lacking.test", "TXT"): ["v=spf1 mx -all"],
    ("lacking.test", "MX"): ["10 mx.good.test."],
    ("redirecting.test", "TXT"): ["v=spf1 redirect=lacking.test"],
    ("twice.test", "TXT"): ["v=spf1 mx ~all", "v=spf1 ip4:11.22.33.44 -all"],
    ("twice.test", "MX"): ["10 mx.good.test."],
    ("open.test", "TXT"): ["v=spf1 include:_spf.google.com +all"],
    ("shy.test", "TXT"): ["v=spf1 include:_spf.google.com ?all"],
    ("wrong.test", "TXT"): ["v=spf1 ip4:999.1.1.1 -all"],
    ("endless.test", "TXT"): ["v=spf1 mx"],
    ("endless.test", "MX"): ["10 mx.good.test."],
    ("loud.test", "TXT"): ["v=spf1 a:mx.good.test -ALL"],
    ("mx.good.test", "A"): ["11.22.33.44"],
    **{(f"{name}dark.test", "*"): Fails.SERVFAIL for name in ("", "_dmarc.", "google._domainkey.")},
    **{(f"{name}silent.test", "*"): Fails.SILENCE for name in ("", "_dmarc.", "fm1._domainkey.")},
    ("own.test", "TXT"): ["v=spf1 ip4:11.22.33.44 -all"],
    ("mail.own.test", "A"): ["11.22.33.44"],
    ("new.own.test", "A"): ["11.22.33.55"],
    ("mail.elsewhere.test", "A"): ["11.22.33.55"],
    ("inside.test", "A"): ["10.0.0.5"],
    ("revoked.test", "TXT"): ["v=spf1 -all"],
    ("google._domainkey.revoked.test", "TXT"): ["v=DKIM1; p="],
    ("_dmarc.revoked.test", "TXT"): ["v=DMARC1; rua=mailto:a@revoked.test"],
    ("revoked.test", "MX"): ["0 ."],
    ("_dmarc.parent.test", "TXT"): ["v=DMARC1; p=reject; sp=none"],
    ("shop.parent.test", "MX"): ["10 mx.good.test."],
    ("_dmarc.many.test", "TXT"): ["v=DMARC1; p=none", "v=DMARC1; p=reject"],
    ("hotmail.it", "MX"): ["2 hotmail-it.olc.protection.outlook.com."],
    ("shop.onmicrosoft.com", "MX"): ["0 shop.mail.protection.outlook.com."],
    ("live.io", "MX"): ["10 mx.good.test."],
    ("live.vg", "*"): Fails.SERVFAIL,
    ("hotmail.xx", "MX"): ["2 hotmail-xx.olc.protection.outlook.com."],
    ("yahoo.xx", "MX"): ["1 mta7.am0.yahoodns.net."],
    ("mx._domainkey.aged.test", "TXT"): ["k=rsa; p=MIGfMA0GCSq"],
    ("vanity.test", "MX"): ["10 mx00.emig.gmx.net."],
    ("tenant.test", "MX"): ["0 tenant-test.mail.protection.outlook.com."],
    ("exmail.test", "MX"): ["5 mxbiz1.qq.com."],
}


@pytest.fixture(scope="module")
def server() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], server: DnsServer) -> dict[str, str]:
    return {**environment, "DNS_RESOLVER": server.address}


pytestmark = pytest.mark.usefixtures("app")


def found(domain: str, subject: str, through: str = GOOGLE) -> Finding:
    report = check.check(domain, through)
    return next(finding for finding in report.findings if finding.subject == subject)


def outcomes(report: DomainReport) -> dict[str, str]:
    return {finding.subject: str(finding.outcome) for finding in report.findings}


def test_a_domain_that_is_set_up_well_is_good_in_all_four() -> None:
    report = check.check("good.test", GOOGLE)
    assert outcomes(report) == {"SPF": "good", "DKIM": "good", "DMARC": "good", "MX": "good"}
    assert (report.outcome, report.provider) == ("good", "Google")
    assert all(finding.seen and not finding.add for finding in report.findings)


def test_a_domain_without_records_is_told_each_one_to_add() -> None:
    report = check.check("bare.test", GOOGLE)
    assert outcomes(report) == {"SPF": "change", "DKIM": "change", "DMARC": "change", "MX": "open"}
    records = {(record.host, record.kind, record.value) for finding in report.findings for record in finding.add}
    assert records == {
        ("bare.test", "TXT", "v=spf1 include:_spf.google.com ~all"),
        ("google._domainkey.bare.test", "TXT or CNAME", ""),
        ("_dmarc.bare.test", "TXT", "v=DMARC1; p=none; rua=mailto:postmaster@bare.test"),
    }


@pytest.mark.parametrize(
    ("domain", "outcome", "value"),
    [
        ("nested.test", "good", None),
        ("lacking.test", "change", "v=spf1 mx include:_spf.google.com -all"),
        ("redirecting.test", "change", "v=spf1 include:_spf.google.com redirect=lacking.test"),
        ("twice.test", "change", "v=spf1 ip4:11.22.33.44 mx include:_spf.google.com -all"),
        ("open.test", "change", "v=spf1 include:_spf.google.com ~all"),
        ("shy.test", "change", "v=spf1 include:_spf.google.com ~all"),
        ("endless.test", "change", "v=spf1 mx include:_spf.google.com ~all"),
        ("loud.test", "change", "v=spf1 a:mx.good.test include:_spf.google.com -ALL"),
        ("wrong.test", "change", None),
        ("dark.test", "open", None),
    ],
)
def test_the_spf_record_is_judged_for_the_provider(domain: str, outcome: str, value: str | None) -> None:
    finding = found(domain, "SPF")
    assert finding.outcome == outcome
    assert [record.value for record in finding.add] == ([value] if value else [])


def test_a_provider_with_an_envelope_of_its_own_needs_no_spf_record() -> None:
    finding = found("lacking.test", "SPF", "email-smtp.eu-west-1.amazonaws.com")
    assert finding.outcome == "good"
    assert "Not needed" in finding.text


@pytest.mark.parametrize(
    ("through", "outcome", "value"),
    [
        ("mail.own.test", "good", None),
        ("new.own.test", "change", "v=spf1 ip4:11.22.33.44 a:new.own.test -all"),
        ("mail.elsewhere.test", "open", "v=spf1 ip4:11.22.33.44 a:mail.elsewhere.test -all"),
        ("11.22.33.55", "open", "v=spf1 ip4:11.22.33.44 ip4:11.22.33.55 -all"),
        ("inside.test", "open", None),
        ("127.0.0.1", "open", None),
        ("nowhere.test", "open", None),
        ("", "open", None),
    ],
)
def test_a_server_of_no_known_provider_is_judged_by_its_addresses(
    through: str, outcome: str, value: str | None
) -> None:
    finding = found("own.test", "SPF", through)
    assert finding.outcome == outcome
    assert [record.value for record in finding.add] == ([value] if value else [])


@pytest.mark.parametrize(
    ("domain", "subject", "outcome", "words"),
    [
        ("revoked.test", "DKIM", "change", "revoked"),
        ("revoked.test", "DMARC", "change", "no valid policy"),
        ("revoked.test", "MX", "change", "null MX"),
        ("many.test", "DMARC", "change", "2 policies"),
        ("shop.parent.test", "DMARC", "good", "parent.test has a valid policy"),
        ("good.test", "DMARC", "good", "exactly the From domain"),
        ("own.test", "MX", "change", "Nothing accepts mail"),
    ],
)
def test_the_other_records_are_judged(domain: str, subject: str, outcome: str, words: str) -> None:
    finding = found(domain, subject)
    assert finding.outcome == outcome
    assert words in finding.text


@pytest.mark.parametrize("through", [GOOGLE, "mail.own.test", ""])
@pytest.mark.parametrize("domain", ["nowhere.test", "deep.nowhere.test", "someone@nowhere.test"])
def test_of_a_domain_that_does_not_exist_that_is_all_that_is_said(domain: str, through: str) -> None:
    (finding,) = check.check(domain, through).findings
    assert (finding.subject, finding.outcome, finding.add) == ("Domain", "change", ())
    assert "does not exist. Check its spelling." in finding.text


def test_keys_that_nobody_can_know_are_not_asked_for(server: DnsServer) -> None:
    assert found("inside.test", "DKIM", "mail.own.test").outcome == "open"
    assert not any("_domainkey.inside.test" in name for name, *_ in server.questions)


def test_a_key_at_a_selector_that_was_usual_once_is_found_and_none_is_advised_there() -> None:
    assert found("aged.test", "DKIM", "smtp.eu.mailgun.org").outcome == "good"
    advised = [record.host for record in found("bare.test", "DKIM", "smtp.eu.mailgun.org").add]
    assert advised == ["pdk1._domainkey.bare.test", "pdk2._domainkey.bare.test"]


def test_a_record_that_points_to_the_providers_key_is_told_ready_to_copy() -> None:
    (first, *_) = found("bare.test", "DKIM", "smtp.fastmail.com").add
    assert (first.host, first.kind) == ("fm1._domainkey.bare.test", "CNAME")
    assert first.value == "fm1.bare.test.dkim.fmhosted.com"


@pytest.mark.parametrize(("through", "outcome"), [(GOOGLE, "good"), ("mail.own.test", "change")])
def test_a_mailbox_providers_own_domain_is_nobody_elses_to_send_from(through: str, outcome: str) -> None:
    assert check.check("gmail.com", through).outcome == outcome


@pytest.mark.parametrize(
    ("domain", "through", "outcome"),
    [
        ("hotmail.com", "smtp.office365.com", "good"),
        ("gmail.com", "smtp-relay.gmail.com", "good"),
        ("zohomail.eu", "smtppro.zoho.eu", "good"),
        ("126.com", "smtp.163.com", "good"),
        ("yahoo.de", "smtp.aol.com", "change"),
        ("outlook.com", GOOGLE, "change"),
    ],
)
def test_mailboxes_may_be_sent_from_through_every_server_of_their_house(
    domain: str, through: str, outcome: str
) -> None:
    report = check.check(domain, through)
    assert [(finding.subject, str(finding.outcome)) for finding in report.findings] == [("Domain", outcome)]


def test_no_domain_of_a_mailbox_provider_is_told_to_add_records(server: DnsServer) -> None:
    asked = len(server.questions)
    for provider in registry.everyone():
        for domain in [*provider["domains"], *(each for region in provider["regions"] for each in region["domains"])]:
            for through in ("mail.elsewhere.test", GOOGLE, ""):
                (finding,) = check.check(domain, through).findings
                assert (finding.subject, finding.add) == ("Domain", ()), domain
                assert finding.text.startswith(f"{domain} belongs to "), domain
    assert len(server.questions) == asked


@pytest.mark.parametrize(("domain", "also"), [("gmx.de", ", or through GMX."), ("hey.com", "."), ("hotmail.it", ".")])
def test_where_nobody_can_send_through_the_owner_it_is_not_advised(domain: str, also: str) -> None:
    (finding,) = check.check(domain, "mail.elsewhere.test").findings
    assert finding.text.endswith(f"Send from an address at your own domain{also}")


@pytest.mark.parametrize(
    ("domain", "is_theirs"),
    [
        ("hotmail.it", True),
        ("shop.onmicrosoft.com", True),
        ("hotmail.xx", True),
        ("yahoo.xx", True),
        ("vanity.test", True),
        ("live.io", False),
        ("live.vg", False),
        ("live.st", False),
        ("tenant.test", False),  # a customer's own domain there
        ("exmail.test", False),
    ],
)
def test_a_domain_that_looks_like_a_mailbox_providers_is_theirs_if_its_mx_is(domain: str, is_theirs: bool) -> None:
    texts = [finding.text for finding in check.check(domain, GOOGLE).findings]
    assert any(f"{domain} belongs to " in text for text in texts) is is_theirs


@pytest.mark.parametrize(
    ("through", "value"),
    [
        ("smtp.office365.com", "v=spf1 include:spf.protection.outlook.com ~all"),
        ("smtp.office365.us", "v=spf1 include:spf.protection.office365.us ~all"),
        ("shop-test.mail.protection.office365.us", "v=spf1 include:spf.protection.office365.us ~all"),
        ("smtp.partner.outlook.cn", "v=spf1 include:spf.protection.partner.outlook.cn ~all"),
        ("smtppro.zohocloud.ca", "v=spf1 include:zohocloud.ca ~all"),
        ("smtp.1und1.de", "v=spf1 include:_spf-eu.ionos.com ~all"),
        ("smtp.mailgun.org", "v=spf1 include:mailgun.org ~all"),
        ("smtp.eu.mailgun.org", "v=spf1 include:eu.mailgun.org ~all"),
        ("smtp.titan.email", "v=spf1 include:spf.titan.email ~all"),
        ("gz-smtp.qcloudmail.com", "v=spf1 include:qcloudmail.com ~all"),
    ],
)
def test_a_region_is_told_the_record_of_its_own(through: str, value: str) -> None:
    assert [record.value for record in found("bare.test", "SPF", through).add] == [value]


@pytest.mark.parametrize("through", ["smtp.zoho.sa", "smtppro.zoho.com.cn", "smtp.mail.att.net", "smtp.ym.163.com"])
def test_a_known_server_whose_record_nobody_knows_is_told_so_and_no_wrong_one(through: str) -> None:
    finding = found("bare.test", "SPF", through)
    assert (finding.outcome, finding.add) == ("open", ())
    assert "needs. See its help pages." in finding.text


def test_a_name_server_that_fails_leaves_everything_open() -> None:
    assert set(outcomes(check.check("dark.test", GOOGLE)).values()) == {"open"}


def test_a_silent_name_server_ends_the_check_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "SECONDS", 0.5)
    start = monotonic()
    report = check.check("silent.test", "smtp.fastmail.com")
    assert set(outcomes(report).values()) == {"open"}
    assert monotonic() - start < stretched(2)


@pytest.mark.parametrize("text", ["", "localhost", "192.0.2.1", "a b.test", "https://x.test", "x" * 300 + ".test", "@"])
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check.parse_domain(text)
    assert list(caught.value.errors) == ["domain"]


def test_an_address_stands_for_its_domain() -> None:
    assert check.parse_domain(" me@Shop.Example ") == "shop.example"


def test_what_sends_now_is_checked_without_being_asked(app: Flask) -> None:
    assert check.sending_now() == ("", "")


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("email-smtp.eu-west-1.amazonaws.com", "Amazon SES"),
        ("ec2-11-22-33-44.compute.amazonaws.com", ""),
        ("example-com.mail.protection.outlook.com", "Microsoft 365"),
        ("smtp.gmail.com.evil.test", ""),
    ],
)
def test_a_provider_is_known_by_its_own_servers_alone(host: str, provider: str) -> None:
    known = registry.for_server(host)
    assert (known["house"] if known else "") == provider
