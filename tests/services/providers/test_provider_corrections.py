"""Facts that were wrong or missing once, each with what is right; and where the registry is not asked."""

import pytest
from flask import Flask

from services.providers import discovery, presets, registry
from services.providers.registry import Provider
from tests import walks
from tests.recording_server import RecordingServer

pytestmark = pytest.mark.usefixtures("app")


def of_domain(domain: str) -> Provider:
    known = registry.for_domain(domain)
    assert known, domain
    return known


def of_server(host: str) -> Provider:
    known = registry.for_server(host)
    assert known, host
    return known


def test_proton_offers_plain_and_login() -> None:
    assert set(of_server("smtp.protonmail.ch")["auth_methods"]) == {"PLAIN", "LOGIN"}


@pytest.mark.parametrize(
    ("domain", "region", "host"),
    [
        ("zohocloud.ca", "ca", "smtp.zohocloud.ca"),
        ("zohomailcloud.ca", "ca", "smtp.zohocloud.ca"),
        ("zoho.com.au", "au", "smtp.zoho.com.au"),
        ("zohomail.com.au", "au", "smtp.zoho.com.au"),
        ("zoho.eu", "eu", "smtp.zoho.eu"),
        ("zohomail.eu", "eu", "smtp.zoho.eu"),
        ("zoho.in", "in", "smtp.zoho.in"),
        ("zohomail.in", "in", "smtp.zoho.in"),
        ("zoho.jp", "jp", "smtp.zoho.jp"),
        ("zohomail.jp", "jp", "smtp.zoho.jp"),
        ("zohomail.com", "", "smtp.zoho.com"),
    ],
)
def test_every_domain_of_zoho_has_the_server_of_its_region(domain: str, region: str, host: str) -> None:
    known = of_domain(domain)
    assert (known["id"], known["region"], known["host"]) == ("zoho", region, host)


@pytest.mark.parametrize(
    ("provider_id", "least", "domains"),
    [
        ("fastmail", 110, "fastmail.co.uk fastmail.com.au mm.st ftml.net warpmail.net sent.as 123mail.org ownmail.net"),
        ("gmx", 33, "gmx.ca gmx.cn gmx.com.br gmx.li gmx.se gmx.tw gmx.net email.gmx"),
        ("webde", 27, "web.de email.de deutschland.ms hallo.ms love.ms online.ms"),
        ("yahoo", 12, "ameritech.net currently.com flash.net pacbell.net prodigy.net swbell.net snet.net nvbell.net"),
        ("aol", 19, "verizon.net aol.com aim.com netscape.net"),
    ],
)
def test_mailbox_providers_have_all_their_domains(provider_id: str, least: int, domains: str) -> None:
    known = registry.by_id(provider_id)
    assert known
    own = [*known["domains"], *(domain for region in known["regions"] for domain in region["domains"])]
    assert len(set(own)) >= least
    assert {of_domain(domain)["id"] for domain in domains.split()} == {provider_id}


def test_att_has_its_own_server_and_gmx_one_for_each_side() -> None:
    assert of_domain("pacbell.net")["host"] == "smtp.mail.att.net"
    assert of_domain("gmx.ca")["host"] == "mail.gmx.com"
    assert of_domain("gmx.at")["host"] == "mail.gmx.net"


@pytest.mark.parametrize(
    ("taker", "host"),
    [
        ("agency-example.mail.protection.office365.us", "smtp.office365.us"),
        ("shop-example.mail.protection.partner.outlook.cn", "smtp.partner.outlook.cn"),
        ("shop-example.partner.outlook.cn", "smtp.partner.outlook.cn"),
        ("mx-aol.mail.gm0.yahoodns.net", "smtp.aol.com"),
        ("mx-apac.mail.gm0.yahoodns.net", "smtp.mail.yahoo.com"),
        ("mx2.zohocloud.ca", "smtp.zohocloud.ca"),
    ],
)
def test_an_mx_host_tells_the_cloud_that_it_is_in(taker: str, host: str) -> None:
    known = registry.for_mx([taker])
    assert known and known["host"] == host


@pytest.mark.parametrize("name", ["Zoho CPaaS", "ZeptoMail", "Zoho ZeptoMail", "zeptomail"])
def test_zeptomail_is_found_by_its_new_name_and_by_its_old_ones(name: str) -> None:
    found = discovery.discover(name)
    assert found.values.smtp_server == "smtp.zeptomail.com"
    assert "CPaaS" in found.message


@pytest.mark.parametrize(
    ("text", "form", "username"),
    [("sandbox.smtp.mailtrap.io", "other", ""), ("live.smtp.mailtrap.io", "literal", "api"),
     ("bulk.smtp.mailtrap.io", "literal", "api"), ("mailtrap", "literal", "api")],
)  # fmt: skip
def test_mailtraps_sandbox_has_a_user_name_of_its_own(text: str, form: str, username: str) -> None:
    found = discovery.discover(text)
    assert found.provider
    assert (found.provider["username_form"], found.values.smtp_username) == (form, username)


def test_the_list_of_the_form_tells_the_sandboxs_user_name_apart() -> None:
    sandbox, live = presets.find_preset("mailtrap:sandbox"), presets.find_preset("mailtrap:live")
    assert sandbox and live
    assert (sandbox["username_literal"], live["username_literal"]) == ("", "api")
    assert "own user name" in sandbox["username_hint"]


def test_mailguns_regions_have_their_own_spf_and_its_selectors_are_known() -> None:
    assert of_server("smtp.mailgun.org")["spf"] == ["mailgun.org"]
    assert of_server("smtp.eu.mailgun.org")["spf"][0] == "eu.mailgun.org"
    assert {"pdk1", "pdk2"} <= of_server("smtp.eu.mailgun.org")["selectors"].keys()


@pytest.mark.parametrize(
    ("server", "way"),
    [
        ("smtp.mailbox.org", (587, "starttls")),
        ("smtp.qq.com", (587, "starttls")),
        ("smtp.yandex.com", (587, "starttls")),
        ("smtp.hostinger.com", (587, "starttls")),
        ("secure.emailsrvr.com", (587, "starttls")),
    ],
)
def test_a_second_way_is_known_behind_the_recommended_one(server: str, way: tuple[int, str]) -> None:
    ways = [(each["port"], each["security"]) for each in of_server(server)["ways"]]
    assert ways[0] == (465, "tls")
    assert way in ways[1:]


def test_a_way_that_the_provider_contradicts_is_not_taken_over() -> None:
    assert [way["port"] for way in of_domain("icloud.com")["ways"]] == [587]


def test_a_server_that_another_source_names_is_known_again() -> None:
    assert of_server("smtp.runbox.com")["id"] == "runbox-com"
    assert of_server("smtp.virginmedia.com")["id"] == "virginmedia-com"
    assert of_server("smtp.mail.yahoo.com")["id"] == "yahoo"


@pytest.mark.parametrize(
    "typed", ["smtp.maik.de", "mail.maildk.net", "smtp.freo.fr", "posteo.dk.example", "smtp.ok.dk"]
)
def test_a_server_of_ones_own_is_not_taken_for_a_slip_in_one_that_is_merely_known_again(typed: str) -> None:
    assert registry.server_meant_by(typed) is None


@pytest.mark.parametrize(
    ("server", "is_sure"),
    [("smtp.gmail.com", True), ("smtp.office365.com", True), ("smtp.useplunk.com", False), ("posteo.de", False),
     ("wega.uberspace.de", False), ("w0123abc.kasserver.com", False)],
)  # fmt: skip
def test_what_advice_takes_for_sure_is_only_what_was_read_up(server: str, is_sure: bool) -> None:
    assert registry.is_checked(of_server(server)) is is_sure


def test_a_warm_mail_is_sent_without_asking_the_registry(app: Flask) -> None:
    with RecordingServer() as server:
        walks.save_server(server)
        for walk in (walks.of_sending(), walks.of_queueing()):
            assert not walk.rooms & {"registry", "providers"}


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("Aliyun", "smtp.aliyun.com"),
        ("Aruba", "smtps.aruba.it"),
        ("Aruba PEC", "smtps.pec.aruba.it"),
        ("Bluewin", "smtpauths.bluewin.ch"),
        ("BOL", "smtps.bol.com.br"),
        ("Disroot", "disroot.org"),
        ("Hotmail.com", "smtp-mail.outlook.com"),
        ("Kolab", "smtp.kolabnow.com"),
        ("outlook365", "smtp.office365.com"),
        ("Seznam Email", "smtp.seznam.cz"),
    ],
)
def test_the_name_that_people_type_leads_to_the_mailbox_and_not_to_a_service_beside_it(
    app: Flask, name: str, host: str
) -> None:
    assert discovery.discover(name).values.smtp_server == host


@pytest.mark.parametrize(
    ("domain", "host", "way"),
    [
        ("goo.jp", "smtp.mail.goo.jp", (465, "tls")),
        ("peoplepc.com", "smtpauth.earthlink.net", (587, "starttls")),
        ("pec.aruba.it", "smtps.pec.aruba.it", (465, "tls")),
        ("online.de", "smtp.1und1.de", (465, "tls")),
        ("tpg.com.au", "smtp.themessagingco.com.au", (465, "tls")),
        ("iinet.net.au", "smtp.themessagingco.com.au", (465, "tls")),
        ("cloudeu.xion.oxcs.net", "smtp.eu.appsuite.cloud", (587, "starttls")),
    ],
)
def test_a_server_that_was_replaced_is_not_named_any_more(domain: str, host: str, way: tuple[int, str]) -> None:
    known = registry.for_domain(domain)
    assert known and (known["host"], (known["port"], known["security"])) == (host, way)
    assert known["username_form"] == "address"
