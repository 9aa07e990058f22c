"""What is entered of a registration: each field by itself, the rules between them, and which stored secret is kept."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask

from app import create_app
from services.connecting.fields import RegistrationChange
from services.connecting.registering import ENTER_AGAIN, registration_after
from services.oauth.providers import Grant, OAuthProvider
from services.oauth.registration import Registration
from services.settings.fields import MASK, checked
from tests import certificates
from tests.certificates import ClientPair
from tests.conftest import APP_KEY
from utils.errors import InvalidInput
from utils.secret import Secret

CLIENT: Final = "01234567-89ab-cdef-0123-456789abcdef"
TENANT: Final = "11111111-2222-3333-4444-555555555555"
SECRET: Final = "abc8Q~s3cret.value-of_it"
OFFICE, GMAIL, FASTMAIL, OWN = "smtp.office365.com", "smtp.gmail.com", "smtp.fastmail.com", "smtp.example.com"
MICROSOFT: Final = {"provider": "microsoft", "way": "code", "client_id": CLIENT, "client_secret": SECRET}
GOOGLE: Final = {
    "provider": "google", "way": "code", "client_id": "1-a.apps.googleusercontent.com", "client_secret": "GOCSPX-abc",
}  # fmt: skip
CUSTOM: Final = {
    "provider": "custom", "way": "code", "client_id": "sealpost", "client_secret": SECRET, "scope": "mail",
    "authorize_url": "https://id.example.com/authorize", "token_url": "https://id.example.com/token",
}  # fmt: skip
HOSTS: Final = {"microsoft": OFFICE, "google": GMAIL, "fastmail": FASTMAIL, "custom": OWN}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """One application for all: nothing here asks the database."""
    folder = tmp_path_factory.mktemp("app")
    environment = {"APP_KEY": APP_KEY, "APP_ENV": "development", "DATABASE_URL": f"sqlite:///{folder / 'none.db'}"}
    app = create_app(environment, instance_path=folder)
    with app.app_context():
        yield app


@pytest.fixture(scope="module")
def pair() -> ClientPair:
    return certificates.client_pair(key=rsa.generate_private_key(65537, 2048))


def after(values: dict[str, Any], stored: Registration | None = None, host: str = "") -> Registration:
    change = checked(RegistrationChange, values)
    provider = values.get("provider") or (stored.provider if stored else "")
    return registration_after(stored, change, host or HOSTS.get(str(provider), OWN))


def refused(values: dict[str, Any], stored: Registration | None = None, host: str = "") -> dict[str, list[str]]:
    with pytest.raises(InvalidInput) as caught:
        after(values, stored, host)
    assert all(texts and all(text.endswith(".") for text in texts) for texts in caught.value.errors.values())
    assert SECRET not in str(caught.value)
    return caught.value.errors


def test_what_is_entered_is_registered_without_what_the_provider_has_no_use_for(app: Flask) -> None:
    found = after({**MICROSOFT, "tenant": " Contoso.COM ", "token_url": "https://elsewhere.example/token"})
    assert (found.provider, found.way, found.client_id) == (OAuthProvider.MICROSOFT, Grant.CODE, CLIENT)
    assert (found.tenant, found.cloud, found.token_url) == ("contoso.com", "worldwide", "")
    assert found.client_secret == Secret(SECRET)
    assert after({**MICROSOFT}).tenant == "organizations"
    assert after({**MICROSOFT}, host="smtp.office365.us").cloud == "us"
    assert after({**GOOGLE, "is_testing": True, "tenant": "contoso.com"}).tenant == ""
    assert after({"provider": "fastmail", "client_id": "abc"}).way is Grant.CODE
    assert after(CUSTOM).scope == "mail"


WRONG: Final = [
    ({**MICROSOFT, "client_secret": TENANT}, "client_secret", "secret’s ID"),
    ({**MICROSOFT, "client_secret": f" {TENANT.upper()}\n"}, "client_secret", "secret’s ID"),
    ({**MICROSOFT, "client_secret": f"{{{TENANT}}}"}, "client_secret", "secret’s ID"),
    ({**MICROSOFT, "client_secret": "a\nb"}, "client_secret", "line breaks"),
    ({**MICROSOFT, "client_id": "my application"}, "client_id", "no spaces"),
    ({**MICROSOFT, "client_id": "application"}, "client_id", "Application (client) ID"),
    ({**MICROSOFT, "client_id": ""}, "client_id", "Enter the client ID"),
    ({**MICROSOFT, "tenant": "contoso"}, "tenant", "one of its domains"),
    ({**MICROSOFT, "tenant": "https://contoso.com"}, "tenant", "one of its domains"),
    ({**MICROSOFT, "tenant": "10.0.0.1"}, "tenant", "one of its domains"),
    ({**MICROSOFT, "way": "client_credentials"}, "tenant", "one tenant"),
    ({**MICROSOFT, "way": "client_credentials", "tenant": "common"}, "tenant", "one tenant"),
    ({**MICROSOFT, "way": "service_account"}, "way", "does not offer"),
    ({**MICROSOFT, "way": "password"}, "way", "Choose one of these"),
    ({**MICROSOFT, "way": ["code"]}, "way", "Choose one of these"),
    ({**MICROSOFT, "cloud": "moon"}, "cloud", "choose one of these"),
    ({**MICROSOFT, "authority": "http://login.example.com"}, "authority", "https://"),
    ({**MICROSOFT, "authority": "https://user:pass@login.example.com"}, "authority", "https://"),
    ({**MICROSOFT, "scope": 'a"b'}, "scope", "as the provider names it"),
    ({**MICROSOFT, "scope": "https://["}, "scope", "as the provider names it"),
    ({**MICROSOFT, "scope": "https://outlook.office.com/SMTP.Send https://[::1"}, "scope", "as the provider names it"),
    ({**MICROSOFT, "provider": "yahoo"}, "provider", "Choose one of these"),
    ({**MICROSOFT, "secret_ends_on": "2020-01-01"}, "secret_ends_on", "already ended"),
    ({**MICROSOFT, "secret_ends_on": "31.05.2027"}, "secret_ends_on", "2027-05-31"),
    ({**MICROSOFT, "secret_ends_on": "2027-02-30"}, "secret_ends_on", "a date that exists"),
    ({**MICROSOFT, "secret_ends_on": "9999-12-31"}, "secret_ends_on", "2027-05-31"),
    ({**MICROSOFT, "secret_ends_on": 20270531}, "secret_ends_on", "2027-05-31"),
    ({**MICROSOFT, "is_testing": "yes"}, "is_testing", "true or false"),
    ({**MICROSOFT, "unknown": "x"}, "unknown", "Unknown field"),
    ({**GOOGLE, "client_id": CLIENT}, "client_id", ".apps.googleusercontent.com"),
    ({**GOOGLE, "client_id": "GOCSPX-abc"}, "client_id", "the client secret"),
    ({**GOOGLE, "client_secret": GOOGLE["client_id"]}, "client_secret", "the client ID"),
    ({**GOOGLE, "client_secret": ""}, "client_secret", "Google asks for it"),
    ({**GOOGLE, "way": "device"}, "way", "does not offer"),
    ({**GOOGLE, "way": "service_account"}, "service_account", "JSON file"),
    ({**GOOGLE, "way": "service_account", "service_account": "{}"}, "service_account", "JSON file"),
    ({**GOOGLE, "way": "service_account", "service_account": '{"type": "web", "client_email": "a@b.example"}'},
     "service_account", "not of a service account"),
    ({**CUSTOM, "token_url": ""}, "token_url", "Enter the token URL"),
    ({**CUSTOM, "token_url": "id.example.com/token"}, "token_url", "https://"),
    ({**CUSTOM, "revoke_url": "https://id.example.com/#x"}, "revoke_url", "https://"),
    ({**CUSTOM, "scope": ""}, "scope", "Enter the scope"),
    ({**CUSTOM, "authorize_url": ""}, "authorize_url", "Enter where people sign in"),
    ({**CUSTOM, "way": "device"}, "device_url", "Enter where codes are given"),
    ({**CUSTOM, "way": "client_credentials", "client_secret": ""}, "client_secret", "a certificate"),
    ({"client_id": CLIENT}, "provider", "Choose who"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "field", "said"), WRONG)
def test_what_is_wrong_is_told_at_its_field(app: Flask, values: dict[str, Any], field: str, said: str) -> None:
    errors = refused(values)
    assert said in " ".join(errors[field])


@pytest.mark.parametrize("provider", ["google", "microsoft", "fastmail"])
def test_a_providers_tokens_are_for_its_own_mail_servers(app: Flask, provider: str) -> None:
    assert "own mail servers" in refused({**GOOGLE, **MICROSOFT, "provider": provider}, host=OWN)["provider"][0]


def test_a_guid_may_be_the_secret_of_another_provider(app: Flask) -> None:
    assert after({**CUSTOM, "client_secret": TENANT}).client_secret == Secret(TENANT)


@pytest.mark.parametrize("again", [{}, {"client_secret": ""}, {"client_secret": MASK}])
def test_an_absent_empty_or_masked_secret_is_the_stored_one(app: Flask, again: dict[str, Any]) -> None:
    stored = after({**MICROSOFT, "secret_ends_on": "2027-05-31"})
    found = after({"tenant": "contoso.com", **again}, stored, OFFICE)
    assert (found.client_secret, found.secret_ends_on) == (Secret(SECRET), date(2027, 5, 31))


def test_a_new_secret_has_not_the_end_of_the_one_before(app: Flask) -> None:
    stored = after({**MICROSOFT, "secret_ends_on": "2027-05-31"})
    assert after({"client_secret": "another~one"}, stored, OFFICE).secret_ends_on is None
    assert after({"remove_client_secret": True}, stored, OFFICE) == replace(
        stored, client_secret=Secret(""), secret_ends_on=None
    )


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": TENANT},
        {"authority": "https://login.example.com"},
        {"cloud": "us"},
        {
            "provider": "custom",
            "token_url": "https://evil.example/token",
            "scope": "a",
            "authorize_url": "https://e.example",
        },
    ],
)
def test_a_stored_secret_is_not_kept_for_another_application_or_address(app: Flask, change: dict[str, Any]) -> None:
    host = "smtp.office365.us" if "cloud" in change else OFFICE
    assert refused(change, after(MICROSOFT), host) == {"client_secret": [ENTER_AGAIN]}
    assert after({**change, "client_secret": "new~one"}, after(MICROSOFT), host).client_secret == Secret("new~one")


@pytest.mark.parametrize("name", ["token_url", "revoke_url"])
def test_a_stored_secret_is_not_kept_for_another_url(app: Flask, name: str) -> None:
    assert refused({name: "https://evil.example/token"}, after(CUSTOM), OWN) == {"client_secret": [ENTER_AGAIN]}


def test_a_certificate_goes_in_the_place_of_a_secret_and_back(app: Flask, pair: ClientPair) -> None:
    by_pair = {"client_certificate": pair.certificate, "client_key": pair.key}
    found = after({**by_pair, "way": "client_credentials", "tenant": TENANT}, after(MICROSOFT), OFFICE)
    assert (found.client_secret, found.client_key) == (Secret(""), Secret(pair.key))
    assert after({"tenant": "contoso.com"}, found, OFFICE).client_key == Secret(pair.key)
    back = after({"client_secret": SECRET}, found, OFFICE)
    assert (back.client_secret, back.client_certificate, back.client_key) == (Secret(SECRET), "", Secret(""))
    assert "not both" in refused({**MICROSOFT, **by_pair})["client_secret"][0]


def test_a_pair_is_checked_whole(app: Flask, pair: ClientPair) -> None:
    bare = {key: value for key, value in MICROSOFT.items() if key != "client_secret"}
    other = certificates.client_pair(key=rsa.generate_private_key(65537, 2048))
    curve = certificates.client_pair()
    assert "Enter the key" in refused({**bare, "client_certificate": pair.certificate})["client_key"][0]
    assert "Enter the certificate" in refused({**bare, "client_key": pair.key})["client_certificate"][0]
    mixed = {**bare, "client_certificate": pair.certificate, "client_key": other.key}
    assert "does not belong" in refused(mixed)["client_key"][0]
    elliptic = {**bare, "client_certificate": curve.certificate, "client_key": curve.key}
    assert "RSA" in refused(elliptic)["client_key"][0]
    assert "BEGIN CERTIFICATE" in refused({**bare, "client_certificate": "x"})["client_certificate"][0]


def test_a_service_account_is_kept_whole_and_alone(app: Flask, pair: ClientPair) -> None:
    text = json.dumps({"type": "service_account", "client_email": "robot@p.example", "private_key": pair.key})
    found = after({**GOOGLE, "way": "service_account", "service_account": text})
    assert (found.service_account, found.client_secret, found.client_id) == (Secret(text), Secret(""), "")
    assert after({"service_account": MASK}, found, GMAIL).service_account == Secret(text)
    assert after({**GOOGLE}, found).service_account == Secret("")
