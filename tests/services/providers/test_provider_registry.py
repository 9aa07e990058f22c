"""The one registry of providers: whose server, mailboxes or MX a name is, the same for everybody who asks."""

import subprocess
import sys
from functools import cache
from itertools import combinations

import pytest
from flask import Flask

from services.domain import check
from services.providers import discovery, presets, registry
from services.providers.registry import Provider, Region
from utils.addresses import parse_host

SENDING = [provider for provider in registry.everyone() if not provider["development_only"]]
PLACES: list[tuple[Provider, Provider | Region]] = [
    (provider, place) for provider in SENDING for place in (provider, *provider["regions"])
]
SERVERS = [(provider, host) for provider, place in PLACES for host in (place["host"], *place["hosts"]) if host]
TAKERS = [(provider, host) for provider, place in PLACES for host in place["mx"]]


def a_name_for(pattern: str) -> str:
    return pattern.replace("*", "x7")


def are_one_house(one: Provider, other: Provider) -> bool:
    """Whether mailboxes and domains of one's own are two entries of the same server."""
    return one["id"] == other["id"] or (bool(one["host"]) and one["host"] == other["host"])


def place_of(provider: Provider | None) -> str | None:
    """The id, with the region's if it is one."""
    return provider and ":".join(filter(None, (provider["id"], provider["region"])))


@cache
def meet(one: str, other: str) -> bool:
    """Whether a name could fit both patterns."""
    if one.startswith("*"):
        return meet(one[1:], other) or (bool(other) and meet(one, other[1:]))
    if other.startswith("*"):
        return meet(other, one)
    return one == other or (one[:1] == other[:1] and meet(one[1:], other[1:]))


def test_every_server_is_its_providers_for_the_form_discovery_and_the_domain_check(app: Flask) -> None:
    for provider, pattern in SERVERS:
        host = a_name_for(pattern)
        known = registry.for_server(host)
        assert known and are_one_house(known, provider), host
        assert presets.for_server(host, "587") == known, host
        found = discovery.discover(host).provider
        assert found and are_one_house(found, known), host
        assert check.check("gmail.com", host).provider == known["house"], host


def test_the_server_of_a_region_is_that_regions() -> None:
    for provider in SENDING:
        for region in provider["regions"]:
            for host in filter(None, (region["host"], *region["hosts"])):
                found = registry.for_server(a_name_for(host))
                assert place_of(found) == f"{provider['id']}:{region['id']}", host


@pytest.mark.parametrize("names", [SERVERS, TAKERS], ids=["servers", "MX"])
def test_no_name_fits_two_providers_equally_well(names: list[tuple[Provider, str]]) -> None:
    def strength(pattern: str) -> tuple[bool, int]:
        return "*" not in pattern, len(pattern.replace("*", ""))

    for (provider, one), (other, another) in combinations(names, 2):
        if not are_one_house(provider, other) and strength(one) == strength(another):
            assert not meet(one, another), f"{one} of {provider['id']}, {another} of {other['id']}"


def test_a_pattern_leaves_nobody_elses_domain_open() -> None:
    for provider, pattern in (*SERVERS, *TAKERS):
        assert parse_host(a_name_for(pattern)) == a_name_for(pattern), provider["id"]
        assert "*" not in ".".join(pattern.split(".")[-2:]), f"{pattern} of {provider['id']}"


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("smtp.gmail.com", "gmail"),
        ("SMTP.Gmail.com.", "gmail"),
        ("smtp-relay.gmail.com", "google-workspace-relay"),
        ("aspmx.l.google.com", "gmail"),
        ("smtp.office365.com", "office365:worldwide"),
        ("smtp-legacy.office365.com", "office365:worldwide"),
        ("smtp.office365.us", "office365:us"),
        ("smtp.partner.outlook.cn", "office365:cn"),
        ("shop-example.mail.protection.outlook.com", "microsoft365-relay:worldwide"),
        ("shop-example.mail.protection.office365.us", "microsoft365-relay:us"),
        ("shop-example.mail.protection.partner.outlook.cn", "microsoft365-relay:cn"),
        ("smtppro.zoho.eu", "zoho:eu"),
        ("smtppro.zohocloud.ca", "zoho:ca"),
        ("smtp.1und1.de", "ionos:1und1"),
        ("smtp.1and1.com", "ionos:com"),
        ("smtp.titan.email", "hostinger:titan"),
        ("smtpout.secureserver.net", "godaddy:us"),
        ("smtpout.europe.secureserver.net", "godaddy:eu"),
        ("smtp.ym.163.com", "netease163:ym"),
        ("email-smtp.eu-north-1.amazonaws.com", "ses:eu-north-1"),
        ("email-smtp.me-central-1.amazonaws.com", "ses"),
        ("email-smtp-fips.us-east-1.amazonaws.com", "ses"),
        ("email-smtp.eusc-de-east-1.amazonaws.eu", "ses"),
        ("vpce-0a1b-2c3d.email-smtp.us-east-1.vpce.amazonaws.com", "ses"),
    ],
)
def test_a_server_belongs_to_a_provider_and_its_region(host: str, place: str) -> None:
    assert place_of(registry.for_server(host)) == place


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "notgoogle.com",
        "google.com",
        "smtp.gmail.com.evil.example",
        "smtppro.zoho.evil.example",
        "smtp.zeptomail.evil.example",
        "smtpout.secureserver.net.evil.example",
        "smtp.mail.yahoo.co.kr",
        "localhost",
        "127.0.0.1",
    ],
)
def test_a_name_that_only_looks_like_a_providers_is_nobodys(host: str) -> None:
    assert registry.for_server(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "ec2-11-22-33-44.compute.amazonaws.com",
        "email-smtp.my-bucket.s3.amazonaws.com",
        "mail-1a2b.elb.eu-west-1.amazonaws.com",
        "f00d.pub.instances.scw.cloud",
        "my-bucket.oss-cn-hangzhou.aliyuncs.com",
        "host-1.secureserver.net",
        "static.1.2.3.4.clients.your-server.de",
    ],
)
def test_a_customers_machine_in_a_clouds_domain_is_not_the_clouds_mail_server(host: str) -> None:
    assert registry.for_server(host) is None


@pytest.mark.parametrize(
    ("typed", "server"),
    [
        ("smtp.office365.us", "smtp.office365.us"),
        ("smtppro.zoho.eu", "smtppro.zoho.eu"),
        ("ex5.mail.ovh.net", "ex5.mail.ovh.net"),
        ("smtp.zeptomail.jp", "smtp.zeptomail.jp"),
        ("email-smtp.me-central-1.amazonaws.com", "email-smtp.me-central-1.amazonaws.com"),
        ("shop-example.mail.protection.outlook.com", "shop-example.mail.protection.outlook.com"),
        ("aspmx.l.google.com", "smtp.gmail.com"),
        ("mx2.zoho.eu", "smtp.zoho.eu"),
        ("smtp.mailgun.com", "smtp.mailgun.org"),  # has no certificate of its own
    ],
)
def test_discovery_keeps_a_server_that_was_named_and_leads_to_it_from_other_machines(
    app: Flask, typed: str, server: str
) -> None:
    assert discovery.discover(typed).values.smtp_server == server


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("smtp.office365.u", "smtp.office365.us"),
        ("smtp.ofice365.us", "smtp.office365.us"),
        ("smtpro.zoho.com.au", "smtppro.zoho.com.au"),
        ("email-smtp.eu-wst-1.amazonaws.com", "email-smtp.eu-west-1.amazonaws.com"),
        ("smtp.titan.emial", "smtp.titan.email"),
        ("SMTP.Gmail.com.", None),
        ("localhos", None),
        ("smtp.example.com", None),
    ],
)
def test_a_slip_in_any_servers_name_is_seen(typed: str, meant: str | None) -> None:
    assert registry.server_meant_by(typed) == meant


@pytest.mark.parametrize(
    ("host", "house", "spf"),
    [
        ("smtp.office365.com", "Microsoft 365", "spf.protection.outlook.com"),
        ("smtp.office365.us", "Microsoft 365", "spf.protection.office365.us"),
        ("shop.mail.protection.office365.us", "Microsoft 365", "spf.protection.office365.us"),
        ("smtp.partner.outlook.cn", "Microsoft 365", "spf.protection.partner.outlook.cn"),
        ("smtp-relay.gmail.com", "Google", "_spf.google.com"),
        ("smtppro.zoho.com", "Zoho Mail", "zohomail.com"),
        ("smtp.zoho.eu", "Zoho Mail", "zohomail.eu"),
        ("smtp.zoho.in", "Zoho Mail", "zohomail.in"),
        ("smtp.zohocloud.ca", "Zoho Mail", "zohocloud.ca"),
        ("smtp.zoho.sa", "Zoho Mail", ""),
        ("smtp.zoho.com.cn", "Zoho Mail", ""),
        ("smtp.ionos.com", "IONOS", "_spf-us.ionos.com"),
        ("smtp.ionos.co.uk", "IONOS", "_spf-eu.ionos.com"),
        ("smtp.hostinger.com", "Hostinger", "_spf.mail.hostinger.com"),
        ("smtp.titan.email", "Titan", "spf.titan.email"),
        ("smtp.mail.att.net", "AT&T", ""),
        ("smtp.qcloudmail.com", "Tencent Cloud SES", "qcloudmail.com"),
    ],
)
def test_each_region_has_its_own_spf_or_says_that_none_is_known(host: str, house: str, spf: str) -> None:
    found = registry.for_server(host)
    assert found
    assert (found["house"], found["spf"][:1]) == (house, [spf] if spf else [])


@pytest.mark.parametrize(
    ("domain", "place"),
    [
        ("googlemail.com", "gmail"),
        ("hotmail.co.uk", "outlook"),
        ("hotmail.it", "outlook"),
        ("yahoo.com.sg", "yahoo"),
        ("att.net", "yahoo:att"),
        ("yahoo.co.jp", "yahoo-co-jp"),
        ("shop.onmicrosoft.com", "office365"),
        ("hotmail.example.com", None),
        ("example.com", None),
    ],
)
def test_a_provider_is_known_by_the_domain_of_its_mailboxes(domain: str, place: str | None) -> None:
    assert place_of(registry.for_domain(domain)) == place


@pytest.mark.parametrize(
    ("domain", "host"), [("gmx.de", "mail.gmx.net"), ("gmx.com", "mail.gmx.com"), ("126.com", "smtp.126.com")]
)
def test_a_domain_tells_the_region(domain: str, host: str) -> None:
    found = registry.for_domain(domain)
    assert found
    assert found["host"] == host


def test_no_two_claim_the_same_domain() -> None:
    claims = [(domain, provider["id"]) for provider, place in PLACES for domain in place["domains"]]
    for domain, provider_id in claims:
        assert parse_host(domain) == domain, provider_id
        found = registry.for_domain(domain)
        assert found and found["id"] == provider_id, domain
    assert len({domain for domain, _ in claims}) == len(claims)


@pytest.mark.parametrize(
    ("hosts", "host"),
    [
        (["aspmx.l.google.com", "alt1.aspmx.l.google.com"], "smtp.gmail.com"),
        (["ASPMX.L.Google.com."], "smtp.gmail.com"),
        (["smtp.google.com"], "smtp.gmail.com"),
        (["aspmx3.googlemail.com"], "smtp.gmail.com"),
        (["corp-example.mail.protection.outlook.com"], "smtp.office365.com"),
        (["corp-example.mail.protection.office365.us"], "smtp.office365.us"),
        (["corp-example.mail.protection.partner.outlook.cn"], "smtp.partner.outlook.cn"),
        (["hotmail-com.olc.protection.outlook.com"], "smtp-mail.outlook.com"),
        (["mx-aol.mail.gm0.yahoodns.net"], "smtp.aol.com"),
        (["mta5.am0.yahoodns.net"], "smtp.mail.yahoo.com"),
        (["mx-att.mail.am0.yahoodns.net"], "smtp.mail.att.net"),
        (["mx2.zoho.eu"], "smtp.zoho.eu"),
        (["mx.zohocloud.ca"], "smtp.zohocloud.ca"),
        (["mx00.kundenserver.de"], "smtp.ionos.de"),
        (["mx1.titan.email"], "smtp.titan.email"),
        (["filter.example.net", "mxext1.mailbox.org"], "smtp.mailbox.org"),
    ],
)
def test_mx_hosts_tell_the_provider_and_its_region(hosts: list[str], host: str) -> None:
    found = registry.for_mx(hosts)
    assert found
    assert found["host"] == host


@pytest.mark.parametrize("hosts", [[], ["."], ["mail.example.com"], ["google.com.example"], ["notgoogle.com"]])
def test_other_mx_hosts_tell_nothing(hosts: list[str]) -> None:
    assert registry.for_mx(hosts) is None


def test_a_region_that_is_sold_under_another_name_goes_by_it() -> None:
    found = registry.for_mx(["mx1.titan.email"])
    assert found
    assert (found["name_by_mx"], found["house"]) == ("Titan", "Titan")


def test_the_registry_needs_neither_settings_nor_flask_nor_pydantic() -> None:
    code = "import sys, services.providers.registry as r; r.for_server('smtp.gmail.com'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"flask", "pydantic", "sqlalchemy", "utils.env_utils", "services.providers.presets"}.intersection(loaded)
