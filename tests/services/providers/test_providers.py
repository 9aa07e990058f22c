"""What is known of mail providers, and which of them are offered."""

import re
from datetime import date

import pytest
from flask import Flask

from services.providers import presets
from services.providers.registry import Provider
from services.smtp.settings import Security
from utils.addresses import parse_host

pytestmark = pytest.mark.usefixtures("app")

KNOWN = set(
    "gmail google-workspace-relay outlook office365 microsoft365-relay sendgrid mailgun ses postmark brevo mailjet "
    "sparkpost resend mailersend smtp2go elasticemail mandrill zeptomail zoho yahoo aol icloud fastmail proton gmx "
    "webde mailru yandex qq netease163 ionos ovh gandi infomaniak migadu purelymail hostinger privateemail godaddy "
    "rackspace mailbox-org mailtrap scaleway tencent-ses aliyun-dm loops azure-communication oci-email m365-hve plunk "
    "smtp-com turbosmtp sendpulse tipimail sendcloud campaign-monitor jangosmtp easydns nifcloud-ess snel outmail otc "
    "ethereal mailcatch maileroo-sandbox workmail mailpit custom-starttls custom-ssl".split()
)
EVERYBODY_HAS_ANOTHER = {"microsoft365-relay", "oci-email", "outmail", "custom-starttls", "custom-ssl"}
# Whether the account's own password works there, no source says.
PASSWORD_UNKNOWN = set(
    "infomaniak mailpit m365-hve smtp-com turbosmtp sendpulse tipimail sendcloud campaign-monitor jangosmtp easydns "
    "nifcloud-ess snel outmail otc ethereal mailcatch maileroo-sandbox microsoft365-relay custom-starttls "
    "custom-ssl".split()
)
FORMS = {"address", "own_address", "local_part", "literal", "none", "other"}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "LOCAL_INBOX_PORT": "1026"}


def known(provider_id: str) -> Provider:
    found = presets.find_preset(provider_id)
    assert found
    return found


@pytest.fixture
def each() -> list[Provider]:
    """All of them, in one test for each promise: an application for each of them and each promise would take long."""
    return [known(provider_id) for provider_id in sorted(KNOWN)]


def test_all_of_them_are_known_once_and_the_local_inbox_beside_them() -> None:
    ids = [provider["id"] for provider in presets.presets()]
    assert set(ids) == KNOWN | {presets.LOCAL_INBOX}
    assert len(ids) == len(set(ids))


def test_groups_are_whole_and_begin_with_the_most_used() -> None:
    groups = [provider["group"] for provider in presets.presets()]
    assert list(dict.fromkeys(groups)) == list(presets.GROUPS)
    assert groups == sorted(groups, key=list(presets.GROUPS).index)
    assert presets.presets()[0]["id"] == "gmail"


def test_each_tells_what_a_form_needs(each: list[Provider]) -> None:
    for provider in each:
        assert all(provider[key] for key in ("name", "username_hint", "password_hint", "from_rule")), provider["id"]
        assert provider["username_form"] in FORMS, provider["id"]
        assert bool(provider["username_literal"]) == (provider["username_form"] == "literal"), provider["id"]
        assert provider["oauth2"] in ("none", "offered", "required"), provider["id"]


def test_each_tells_whether_the_accounts_own_password_works(each: list[Provider]) -> None:
    unknown = {provider["id"] for provider in each if provider["account_password_works"] is None}
    assert unknown == PASSWORD_UNKNOWN


def test_servers_are_host_names(each: list[Provider]) -> None:
    for provider in each:
        regions = [region["host"] for region in provider["regions"]]
        hosts = [provider["host"], *regions, *(name.replace("*", "x") for name in provider["hosts"])]
        assert [parse_host(host) for host in hosts if host] == [host for host in hosts if host], provider["id"]
        assert not regions or provider["host"] in regions, provider["id"]
    assert {provider["id"] for provider in each if not provider["host"]} == EVERYBODY_HAS_ANOTHER


def test_links_are_encrypted_and_one_explains_the_provider(each: list[Provider]) -> None:
    for provider in each:
        links = (provider["docs_url"], provider["password_url"])
        assert all(re.fullmatch(r"https://[^\s/]+/\S*|", link) for link in links), provider["id"]
    assert {provider["id"] for provider in each if not provider["docs_url"]} == {"custom-starttls", "custom-ssl"}


def test_changes_have_a_date(each: list[Provider]) -> None:
    changes = [change for provider in each for change in provider["changes"]]
    assert all(date.fromisoformat(change["date"]) and change["text"] for change in changes)


def test_nothing_goes_unencrypted_but_to_this_machine(each: list[Provider]) -> None:
    for provider in each:
        assert provider["ways"][0] == {"port": provider["port"], "security": provider["security"]}, provider["id"]
        for way in provider["ways"]:
            assert 1 <= way["port"] <= 65535, provider["id"]
            assert Security(way["security"]) is not Security.NONE or provider["id"] == "mailpit", provider["id"]
    assert known("mailpit")["host"] == "localhost"


def test_gmail_is_on_587_with_starttls() -> None:
    assert (known("gmail")["port"], known("gmail")["security"]) == (587, "starttls")


@pytest.mark.parametrize("provider_id", ["outlook", "loops"])
def test_what_cannot_send_ordinary_mail_says_so(provider_id: str) -> None:
    assert "another provider" in known(provider_id)["obstacle"]


def test_microsofts_end_of_passwords_has_its_date() -> None:
    assert [change["date"] for change in known("office365")["changes"]] == ["2026-12-31"]


def test_a_region_has_its_own_server() -> None:
    ohio = known("ses:us-east-2")
    assert (ohio["host"], ohio["region"]) == ("email-smtp.us-east-2.amazonaws.com", "us-east-2")
    assert len(ohio["regions"]) == 19


def test_an_unknown_region_is_the_provider_itself() -> None:
    assert known("ses:nowhere") == known("ses")


@pytest.mark.parametrize(
    ("host", "provider_id"),
    [
        ("smtp.gmail.com", "gmail"),
        ("email-smtp.eu-west-1.amazonaws.com", "ses"),
        ("email-smtp.me-central-1.amazonaws.com", "ses"),
        ("corp-example.mail.protection.outlook.com", "microsoft365-relay"),
        ("smtppro.zoho.eu", "zoho"),
        ("ex5.mail.ovh.net", "ovh"),
        ("smtp.gmail.com.example", None),
        ("mail.example.com", None),
        ("", None),
    ],
)
def test_a_provider_is_known_by_its_server(host: str, provider_id: str | None) -> None:
    found = presets.for_server(host, "587")
    assert (found and found["id"]) == provider_id


def test_the_local_inbox_is_known_by_its_port_as_well() -> None:
    found = presets.for_server("127.0.0.1", "1026")
    assert found
    assert found["id"] == presets.LOCAL_INBOX
    assert presets.for_server("127.0.0.1", "587") is None


@pytest.mark.parametrize(
    ("text", "provider_id"),
    [
        ("SendGrid", "sendgrid"),
        ("send grid", "sendgrid"),
        ("Office 365", "office365"),
        ("google workspace", "gmail"),
        ("Microsoft", "office365"),
        ("web.de", "webde"),
        ("postm", "postmark"),
        ("mail", None),
        ("Zo", None),
        ("", None),
        ("nobody", None),
    ],
)
def test_a_provider_is_known_by_its_name_or_by_the_start_of_no_other(text: str, provider_id: str | None) -> None:
    found = presets.for_name(text)
    assert (found and found["id"]) == provider_id


class TestInProduction:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "APP_ENV": "production", "BASE_URL": "https://mail.example.com"}

    def test_what_delivers_nothing_is_not_offered(self, app: Flask) -> None:
        assert {provider["security"] for provider in presets.presets()} == {"starttls", "tls"}
        assert presets.find_preset("mailpit") is None
        assert presets.for_server("127.0.0.1", "1026") is None
