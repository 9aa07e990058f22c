"""The environment is read strictly, literally, and without ever printing a value."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import as_nobody
from utils.env_reader import ConfigurationError
from utils.env_utils import ROOT, load_settings, read_environment, write_first_env

GOOD = {"APP_KEY": "Zk3vX9qLw2RbT7yNc5MdJ8hPfG4sVuEa", "APP_ENV": "development"}


def refused(**variables: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({**GOOD, **variables})
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_ENV", "staging"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("TRUSTED_PROXIES", "-1"),
        ("LOCAL_INBOX_PORT", "many"),
        ("EMAILS_PER_DAY", "-1"),
        ("MAIL_SENDERS", "65"),
        ("MAIL_SUPPRESS_SEND", "maybe"),
        ("SMTP_ALLOW_PLAINTEXT_LOGIN", "perhaps"),
        ("BASE_URL", "mail.site.test"),
        ("BASE_URL", "https://app.example.com/path?query=1"),
        ("BASE_URL", "https://app.example.com/a//b"),
        ("BASE_URL", "https://app.example.com/../b"),
        ("BASE_URL", "https://app.example.com/a;b"),
        ("BASE_URL", "https://user:secret@app.example.com"),
        ("BASE_URL", "https://[broken"),
        ("BASE_URL", "https://app.example.com'"),
        ("BASE_URL", "https://app.example .com"),
        ("BASE_URL", "https://app..example.com"),
        ("BASE_URL", "https://app.example.com:"),
        ("BASE_URL", "https://-app.example.com"),
        ("BASE_URL", "http://127.1"),
        ("ALLOW_HTTP", "perhaps"),
        ("DATABASE_URL", "mysql://root:hunter2@db/x"),
        ("SMTP_CA_FILE", "/nowhere/ca.pem"),
        ("SMTP_CA_FILE", f"/nowhere/{'x' * 300}"),
        ("CELERY_BROKER_URL", "memory://"),
        ("CELERY_BROKER_URL", "redis:///0"),
        ("CELERY_BROKER_URL", "amqp://host;nowhere"),
        ("ADMIN_TOKEN", "tiny-token"),
        ("APP_NAME", "two\nlines"),
        ("APP_KEY_FILE", "/nowhere/key"),
        ("DNS_RESOLVER", "dns.site.test"),
        ("DNS_RESOLVER", "192.0.2.53:65536"),
    ],
)
def test_a_wrong_value_stops_the_start_with_a_line_that_names_the_variable(name: str, value: str) -> None:
    message = refused(**{name: value})
    assert name in message
    assert "\n" not in message
    assert value == "0" or value not in message


@pytest.mark.parametrize(
    "key",
    ["", "short", "a" * 64, "abababababababababababababababababab", "your-secret-key-here-0123456789-abcdef"],
)
def test_a_weak_app_key_is_refused_with_the_command_that_makes_one(key: str) -> None:
    message = refused(APP_KEY=key)
    assert "APP_KEY" in message
    assert "secrets.token_urlsafe" in message


def test_the_key_of_the_sample_file_is_refused() -> None:
    sample = read_environment(ROOT / ".env.example")
    with pytest.raises(ConfigurationError, match="APP_KEY"):
        load_settings(sample | {"APP_KEY": sample["APP_KEY"]})


def test_a_random_key_is_accepted() -> None:
    assert load_settings({**GOOD, "APP_KEY": secrets.token_urlsafe(48)}).app_key.reveal()


def test_the_key_can_stand_in_a_file_of_mode_600(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(GOOD["APP_KEY"] + "\n")
    file.chmod(0o600)
    assert load_settings({**GOOD, "APP_KEY": "", "APP_KEY_FILE": str(file)}).app_key.reveal() == GOOD["APP_KEY"]


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(GOOD["APP_KEY"])
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_settings({**GOOD, "APP_KEY": "", "APP_KEY_FILE": str(file)})


def test_production_wants_a_base_url() -> None:
    assert "BASE_URL" in refused(APP_ENV="production")


def test_base_url_follows_host_and_port_in_development() -> None:
    assert load_settings({**GOOD, "HOST": "::1", "PORT": "8080"}).base_url == "http://[::1]:8080"


def test_the_representation_of_the_settings_shows_no_secret() -> None:
    settings = load_settings(
        {**GOOD, "EMAIL_HOST_PASSWORD": "hunter2-hunter2", "DATABASE_URL": "postgresql://u:dbsecret@h/d"}
    )
    assert GOOD["APP_KEY"] not in repr(settings)
    assert "hunter2" not in repr(settings)
    assert "dbsecret" not in repr(settings)


def test_postgresql_goes_through_psycopg() -> None:
    url = load_settings({**GOOD, "DATABASE_URL": "postgres://user@host/name"}).database_url
    assert url == "postgresql+psycopg://user@host/name"


def test_wrong_email_variables_do_not_stop_the_start() -> None:
    assert load_settings({**GOOD, "EMAIL_HOST": "x", "EMAIL_PORT": "abc"}).email["EMAIL_PORT"] == "abc"


def test_a_password_in_dot_env_is_taken_literally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_text("EMAIL_HOST_PASSWORD='p${HOME}w #\"d'\n")
    monkeypatch.delenv("EMAIL_HOST_PASSWORD", raising=False)
    assert read_environment(file)["EMAIL_HOST_PASSWORD"] == 'p${HOME}w #"d'


def test_a_password_that_flask_has_loaded_with_interpolation_is_taken_literally_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env"
    file.write_text("EMAIL_HOST_PASSWORD=p${NOWHERE}w\n")
    monkeypatch.setenv("EMAIL_HOST_PASSWORD", "pw")
    assert read_environment(file)["EMAIL_HOST_PASSWORD"] == "p${NOWHERE}w"


def test_the_environment_beats_dot_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=5001\n")
    monkeypatch.setenv("PORT", "5002")
    assert read_environment(file)["PORT"] == "5002"


def test_the_first_env_is_private_complete_and_written_once(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    assert write_first_env(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert load_settings(read_environment(file)).admin_token
    before = file.read_text()
    assert not write_first_env(file)
    assert file.read_text() == before


def test_a_command_stops_with_that_one_line_and_no_traceback() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "account", "list"],
        cwd=ROOT,
        env={**os.environ, "APP_KEY": "short", "FLASK_SKIP_DOTENV": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "APP_KEY" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("resolver", ["", "192.0.2.53", "192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]:5353"])
def test_a_name_server_is_an_address_with_or_without_a_port(resolver: str) -> None:
    assert load_settings({**GOOD, "DNS_RESOLVER": resolver}).dns_resolver == resolver


@pytest.mark.parametrize("password", ["hunter@2", "hunter/2", "hunter#2", "hunter?2", "@hunter/2", "[hunter2"])
def test_a_brokers_password_that_is_not_escaped_is_told_with_the_remedy_and_not_shown(password: str) -> None:
    message = refused(CELERY_BROKER_URL=f"amqp://user:{password}@broker.test//")
    assert message.startswith("CELERY_BROKER_URL ")
    assert "write @ as %40 and / as %2F" in message
    assert not [word for word in ("hunter", "broker.test", "\n") if word in message]


@pytest.mark.parametrize(
    "url",
    [
        "amqp://user:hunter%402%2F@host//",
        "amqps://host:5671/sealpost",
        "redis://:x@[::1]:6379/0",
        "rediss://a;redis://b",
    ],
)
def test_brokers_are_amqp_or_redis_and_several_stand_between_semicolons(url: str) -> None:
    assert load_settings({**GOOD, "CELERY_BROKER_URL": url}).celery_broker_url == url


@pytest.mark.parametrize("folder_mode", [0o755, 0o700])
def test_certificates_that_may_not_be_read_stop_the_start_with_one_line(tmp_path: Path, folder_mode: int) -> None:
    file = tmp_path / "kept" / "ca.pem"
    file.parent.mkdir()
    file.write_text("-----BEGIN CERTIFICATE-----")
    file.chmod(0o600)
    file.parent.chmod(folder_mode)
    with as_nobody(tmp_path):
        message = refused(SMTP_CA_FILE=str(file))
    assert message == "SMTP_CA_FILE cannot be read: Permission denied."
