"""A client certificate through the page, the administration API, the command line and .env."""

import json
import re
from functools import cache
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from app import create_app
from services.settings import configs, route
from services.settings.fields import MASK
from services.settings.rules import CHANGED_SERVER_FOR_KEY
from services.smtp.client_certificate import ENCRYPTED_KEY, KEY_IN_CERTIFICATE, OTHER_KEY
from services.smtp.settings import Security
from tests import certificates
from tests.certificates import ClientPair, client_pair
from tests.scripted_server import ScriptedServer
from tests.server_form import FORM, NEW, run_test, save, stored, url, version
from tests.visitors import Visitor
from utils.secret import Secret

API = "/api/settings/smtp"
SERVER = {"smtp_server": "smtp.example.com", "from_email": "a@example.com"}


@cache
def pair() -> ClientPair:
    return client_pair()


def given() -> dict[str, str]:
    return {"client_certificate": pair().certificate, "client_key": pair().key}


def secret_part() -> str:
    return pair().key.splitlines()[2]


# --- The page


def test_the_form_takes_a_certificate_with_its_key(admin: Visitor) -> None:
    assert save(admin, **given()).status_code == 303
    assert stored().settings.client_certificate == pair().certificate
    assert stored().settings.client_key == Secret(pair().key)


def test_the_form_tells_the_certificate_and_never_the_key(admin: Visitor) -> None:
    save(admin, **given())
    page = admin.get(url()).text
    assert "CN=client.example" in page
    assert "A key is stored. Leave this empty to keep it." in page
    assert secret_part() not in page
    assert pair().certificate.splitlines()[2] not in page


def test_saving_the_form_without_them_keeps_both(admin: Visitor) -> None:
    save(admin, **given())
    save(admin, from_name="New", smtp_password="", version=version())
    assert stored().settings.client_key == Secret(pair().key)


def test_the_box_removes_both(admin: Visitor) -> None:
    save(admin, **given())
    save(admin, remove_client_certificate="1", smtp_password="", version=version())
    assert (stored().row.client_certificate, stored().row.client_key) == ("", "")


def test_a_refusal_stands_at_its_field_in_the_opened_fold_and_the_key_is_not_sent_back(admin: Visitor) -> None:
    answer = save(admin, client_certificate=pair().certificate, client_key=client_pair("other").key)
    assert answer.status_code == 422
    assert OTHER_KEY in answer.text
    assert re.search(r'<details class="fold" open>\s*<summary>Client certificate', answer.text)
    assert pair().certificate.splitlines()[2] in answer.text
    assert "BEGIN PRIVATE KEY-----\n" not in answer.text


def test_a_key_that_was_pasted_with_the_certificate_is_not_sent_back(admin: Visitor) -> None:
    answer = save(admin, client_certificate=pair().certificate + pair().key)
    assert KEY_IN_CERTIFICATE in answer.text
    assert secret_part() not in answer.text


def test_after_another_refusal_the_page_asks_for_the_key_again(admin: Visitor) -> None:
    answer = save(admin, **given(), smtp_server="")
    assert "Paste the key again. Sealpost never shows it." in answer.text
    assert secret_part() not in answer.text


def test_a_copy_has_the_certificate_and_asks_for_the_key(admin: Visitor) -> None:
    save(admin, **given())
    page = admin.get(f"{NEW}?copy={stored().row.id}").text
    assert pair().certificate.splitlines()[2] in page
    assert "Paste the key. It was not copied." in page
    assert secret_part() not in page


def test_another_server_needs_the_key_again_on_saving_and_on_testing(admin: Visitor) -> None:
    save(admin, **given())
    with ScriptedServer(tls=certificates.good_context()) as server:
        for answer in (
            save(admin, smtp_server="other.example.com", version=version()),
            run_test(admin, server, security="starttls", version=version()),
        ):
            assert answer.status_code == 422
            assert CHANGED_SERVER_FOR_KEY in answer.text
        assert server.connections == []


def test_a_typed_certificate_is_tested_before_it_is_saved(
    environment: dict[str, str], admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(tls=certificates.good_context(), implicit=True) as server:
        answer = run_test(admin, server, **given(), security="tls", smtp_server="localhost")
        assert answer.status_code == 200
    assert configs.search() == []


def test_a_form_from_before_the_fields_still_saves(admin: Visitor) -> None:
    assert not {"client_certificate", "client_key"} & set(FORM)
    assert save(admin).status_code == 303


# --- The administration API


def test_the_api_takes_shows_and_removes_it(client: Visitor, bearer: dict[str, str]) -> None:
    assert client.post(API, json={**SERVER, **given()}, headers=bearer).status_code == 200
    answer = client.get(API, headers=bearer)
    data = answer.get_json()["data"]
    assert (data["client_certificate"], data["client_key"], data["has_client_key"]) == (pair().certificate, MASK, True)
    assert set(data["client_certificate_facts"]) == {"subject", "issuer", "sha256", "not_before", "not_after"}
    assert secret_part() not in answer.text
    back = client.post(API, json=data, headers=bearer)
    assert back.status_code == 200
    assert stored().settings.client_key == Secret(pair().key)
    path = f"{API}/configs/{stored().row.id}"
    assert client.patch(path, json={"remove_client_certificate": True}, headers=bearer).status_code == 200
    assert client.get(API, headers=bearer).get_json()["data"]["has_client_key"] is False


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"client_certificate": "x"}, "client_certificate"),
        ({"client_key": "x"}, "client_key"),
        ({"client_certificate": None}, "client_certificate"),
        ({"client_key": 1}, "client_key"),
        ({"remove_client_certificate": "yes"}, "remove_client_certificate"),
    ],
)
def test_the_api_refuses_at_the_field_and_echoes_nothing(
    client: Visitor, bearer: dict[str, str], change: dict[str, object], field: str
) -> None:
    answer = client.post(API, json={**SERVER, **change}, headers=bearer)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, [field])


def test_the_document_names_the_fields_and_the_key_as_write_only(client: Visitor) -> None:
    document = json.dumps(client.get("/api/openapi.json").get_json())
    for name in ("client_certificate", "client_key", "remove_client_certificate", "client_certificate_facts"):
        assert f'"{name}"' in document


# --- The command line


def run(app: Flask, *words: str) -> Result:
    return app.test_cli_runner().invoke(args=["smtp", *words])


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Of the certificate, the key, and both in one."""
    texts = {"crt": pair().certificate, "key": pair().key, "both": pair().key + pair().certificate}
    for name, text in texts.items():
        (tmp_path / f"client.{name}").write_text(text)
    return {name: str(tmp_path / f"client.{name}") for name in texts}


def test_the_command_line_stores_shows_and_removes_it(app: Flask, files: dict[str, str]) -> None:
    words = ["--client-certificate", files["crt"], "--client-key", files["key"]]
    assert run(app, "add", "Primary", "--host", "a.example", "--from", "a@example.com", *words).exit_code == 0
    shown = run(app, "show", "Primary").stdout
    assert "client_certificate: CN=client.example, until " in shown
    assert "has_client_key:    yes" in shown
    assert secret_part() not in shown + run(app, "show", "Primary", "--json").stdout
    assert run(app, "edit", "Primary", "--remove-client-certificate").exit_code == 0
    assert configs.named("Primary").row.client_key == ""


def test_one_file_may_hold_both(app: Flask, files: dict[str, str]) -> None:
    run(app, "add", "Primary", "--host", "a.example", "--from", "a@example.com", "--client-certificate", files["both"])
    assert configs.named("Primary").settings.client_key == Secret(pair().key)
    assert configs.named("Primary").row.client_certificate == pair().certificate


@pytest.mark.parametrize(
    ("text", "words"),
    [("x", "--client-key"), ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----", "")],
)
def test_the_command_line_names_the_option_in_one_line(
    app: Flask, files: dict[str, str], tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "bad.key").write_text(text)
    options = ["--client-certificate", files["crt"], "--client-key", str(tmp_path / "bad.key")]
    result = run(app, "add", "Primary", "--host", "a.example", "--from", "a@example.com", *options)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert (words or ENCRYPTED_KEY) in result.stderr


def test_a_binary_file_is_refused_in_one_line(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "bundle.p12").write_bytes(b"\x30\x82\xff\xfe")
    options = ["--client-certificate", str(tmp_path / "bundle.p12")]
    result = run(app, "add", "Primary", "--host", "a.example", "--from", "a@example.com", *options)
    assert result.stderr == "Error: --client-certificate: The file is not PEM text.\n"


# --- .env


def env(files: dict[str, str], **more: str) -> dict[str, str]:
    base = {"EMAIL_HOST": "mail.example", "DEFAULT_FROM_EMAIL": "a@example.com"}
    return {**base, "EMAIL_SSL_CERTFILE": files["crt"], "EMAIL_SSL_KEYFILE": files["key"], **more}


def test_env_names_the_files_as_django_does(files: dict[str, str]) -> None:
    settings = route.env_settings(env(files))
    assert settings
    assert (settings.client_certificate, settings.client_key) == (pair().certificate, Secret(pair().key))


def test_env_may_name_one_file_for_both(files: dict[str, str]) -> None:
    settings = route.env_settings(env(files, EMAIL_SSL_CERTFILE=files["both"], EMAIL_SSL_KEYFILE=""))
    assert settings
    assert settings.client_key == Secret(pair().key)


def test_a_renewed_file_serves_from_the_next_mail_on(files: dict[str, str]) -> None:
    route.env_settings(env(files))
    renewed = client_pair("renewed.example")
    Path(files["crt"]).write_text(renewed.certificate)
    Path(files["key"]).write_text(renewed.key)
    settings = route.env_settings(env(files))
    assert settings
    assert settings.client_certificate == renewed.certificate


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"EMAIL_SSL_CERTFILE": "/nowhere.pem"}, "EMAIL_SSL_CERTFILE in .env: The file cannot be read."),
        ({"EMAIL_SSL_KEYFILE": ""}, "EMAIL_SSL_KEYFILE in .env: Enter the key"),
        ({"EMAIL_SSL_CERTFILE": ""}, "EMAIL_SSL_CERTFILE in .env: Enter the certificate"),
        ({"EMAIL_USE_TLS": "false", "EMAIL_USE_SSL": "false"}, "EMAIL_SSL_CERTFILE in .env: A client certificate"),
    ],
)
def test_a_mistake_in_env_names_the_variable_and_the_route_goes_on(
    environment: dict[str, str], files: dict[str, str], tmp_path: Path, change: dict[str, str], words: str
) -> None:
    app = create_app({**environment, **env(files, **change)}, instance_path=tmp_path)
    with app.app_context():
        assert [step for step in route.steps() if step.settings] == []
        assert list(route.steps())[-1].reason.startswith(words)


def test_an_import_of_env_takes_it_along(environment: dict[str, str], files: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, **env(files)}, instance_path=tmp_path)
    with app.app_context():
        result = run(app, "import-env", "--name", "Main")
        assert configs.named("Main").settings.client_key == Secret(pair().key)
        assert configs.named("Main").settings.security is Security.STARTTLS
        assert "EMAIL_SSL_CERTFILE, EMAIL_SSL_KEYFILE" in result.stdout
