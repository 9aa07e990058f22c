"""The environment, parsed once into a frozen, typed object; and the two look-ups the specification names."""

import base64
import hashlib
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from dotenv import dotenv_values
from flask import current_app, has_app_context

from utils.addresses import InvalidAddress, parse_name_server
from utils.env_reader import ConfigurationError, Reader
from utils.key_strength import NEW_KEY_COMMAND, weakness
from utils.secret import Secret

ROOT: Final = Path(__file__).resolve().parent.parent
EXTENSION: Final = "sealpost"
MOST_EMAILS: Final = 10_000_000  # that a limit may name


@dataclass(frozen=True, kw_only=True, eq=False)
class Settings:
    """What the environment says. Secrets are wrapped; nothing here changes while the process lives."""

    app_key: Secret
    app_key_previous: tuple[Secret, ...]
    app_env: str
    app_name: str
    base_url: str
    database_url: str = field(repr=False)
    database_driver_path: bool
    admin_token: Secret | None
    email: Mapping[str, str] = field(repr=False)
    smtp_ca_file: Path | None
    smtp_allow_plaintext_login: bool
    host: str
    port: int
    trusted_proxies: int
    ratelimit_storage_uri: str = field(repr=False)
    celery_broker_url: str = field(repr=False)  # "": the web processes send themselves
    emails_per_minute: int  # 0: no limit
    emails_per_day: int
    emails_per_minute_per_domain: int
    local_inbox_port: int
    audit_retention_days: int
    mail_retention_days: int
    mail_senders: int  # 0: this process sends no queued mail
    mail_suppress_send: bool
    dns_resolver: str

    @property
    def is_production(self) -> bool:
        return self.app_env == "production"

    @property
    def base_host(self) -> str:
        """The host name of ``BASE_URL``, as mails and EHLO use it."""
        return urlsplit(self.base_url).hostname or "localhost"

    @property
    def is_https(self) -> bool:
        return self.base_url.startswith("https://")

    def secrets(self) -> list[str]:
        """Every secret of the environment, for the log filter."""
        held = [self.app_key, *self.app_key_previous, self.admin_token]
        password = self.email.get("EMAIL_HOST_PASSWORD", "")
        return [secret.reveal() for secret in held if secret] + ([password] if password else [])


def read_environment(env_file: Path | None = None) -> dict[str, str]:
    """Merge ``.env`` under the process's environment, without ``${…}`` interpolation.

    Flask's command line loads the same file *with* interpolation before we run, which would mangle a password
    that holds ``${``; where the environment's value is just that, the file's own text is taken instead.
    """
    path = env_file or ROOT / ".env"
    literal = {key: value or "" for key, value in dotenv_values(path, interpolate=False).items()}
    expanded = dotenv_values(path, interpolate=True)
    merged = {**literal, **os.environ}
    return merged | {key: text for key, text in literal.items() if merged[key] == expanded.get(key)}


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Parse and check the environment.

    Raises ConfigurationError with one line that names the variable and the remedy.
    """
    env = Reader(read_environment() if environment is None else environment)
    app_env = env.choice("APP_ENV", ("development", "production"), "development")
    host, port = env.text("HOST", "127.0.0.1"), env.integer("PORT", 5000, 1, 65535)
    return Settings(
        app_key=_app_key(env),
        app_key_previous=tuple(Secret(key.strip()) for key in env.listed("APP_KEY_PREVIOUS")),
        app_env=app_env,
        app_name=_app_name(env),
        base_url=_base_url(env, app_env, host, port),
        database_url=_database_url(env.text("DATABASE_URL", "sqlite:///sealpost.db")),
        database_driver_path=env.boolean("DATABASE_DRIVER_PATH", default=True),
        admin_token=_admin_token(env),
        email=env.starting_with("EMAIL_", "DEFAULT_FROM_EMAIL"),
        smtp_ca_file=_ca_file(env),
        smtp_allow_plaintext_login=env.boolean("SMTP_ALLOW_PLAINTEXT_LOGIN", default=False),
        host=host,
        port=port,
        trusted_proxies=env.integer("TRUSTED_PROXIES", 0, 0, 10),
        ratelimit_storage_uri=env.text("RATELIMIT_STORAGE_URI", "memory://"),
        celery_broker_url=_broker_url(env.text("CELERY_BROKER_URL")),
        emails_per_minute=env.integer("EMAILS_PER_MINUTE", 0, 0, MOST_EMAILS),
        emails_per_day=env.integer("EMAILS_PER_DAY", 0, 0, MOST_EMAILS),
        emails_per_minute_per_domain=env.integer("EMAILS_PER_MINUTE_PER_DOMAIN", 0, 0, MOST_EMAILS),
        local_inbox_port=env.integer("LOCAL_INBOX_PORT", 1025, 0, 65535),
        audit_retention_days=env.integer("AUDIT_RETENTION_DAYS", 365, 0, 36500),
        mail_retention_days=env.integer("MAIL_RETENTION_DAYS", 30, 0, 36500),
        mail_senders=env.integer("MAIL_SENDERS", 2, 0, 64),
        mail_suppress_send=env.boolean("MAIL_SUPPRESS_SEND", default=False),
        dns_resolver=_dns_resolver(env),
    )


def get_settings() -> Settings:
    """The application's settings, or the environment's outside of an application."""
    if has_app_context():
        settings: Settings = current_app.extensions[EXTENSION]
        return settings
    return _environment_settings()


def get_fernet_key() -> bytes:
    """The specified key: URL-safe base64 of the SHA-256 of ``APP_KEY``."""
    return fernet_key_from(get_settings().app_key)


@lru_cache(maxsize=16)
def fernet_key_from(app_key: Secret) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(app_key.reveal().encode()).digest())


def get_base_url() -> str:
    """Where the application is reached, without a trailing slash; links in mails start with it."""
    return get_settings().base_url


def write_first_env(path: Path = ROOT / ".env") -> bool:
    """Write a ``.env`` with fresh secrets unless there is one. True if it was written."""
    if path.exists():
        return False
    text = (
        "# Written by the first `make run`. Every variable is explained in .env.example.\n"
        f"APP_KEY={secrets.token_urlsafe(48)}\n"
        f"ADMIN_TOKEN={secrets.token_urlsafe(48)}\n"
        "APP_ENV=development\n"
        "# Mail goes to the local inbox until a server is active at /settings/smtp.\n"
        "EMAIL_HOST=127.0.0.1\n"
        "EMAIL_PORT=1025\n"
        "EMAIL_USE_TLS=false\n"
        "DEFAULT_FROM_EMAIL=noreply@sealpost.example\n"
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return True


@cache
def _environment_settings() -> Settings:
    return load_settings()


def _app_key(env: Reader) -> Secret:
    text, file = env.text("APP_KEY"), env.text("APP_KEY_FILE")
    if text and file:
        raise ConfigurationError("Set either APP_KEY or APP_KEY_FILE, not both.")
    if file:
        name, key = "APP_KEY_FILE", _key_in_file(Path(file))
    else:
        name, key = "APP_KEY", text
    if not key:
        raise ConfigurationError(f"APP_KEY is not set. Make one with: {NEW_KEY_COMMAND}")
    return _strong(name, key)


def _strong(name: str, key: str) -> Secret:
    if fault := weakness(key):
        raise ConfigurationError(f"{name} {fault}. Make a new one with: {NEW_KEY_COMMAND}")
    return Secret(key)


def _key_in_file(path: Path) -> str:
    try:
        status = path.stat()
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("APP_KEY_FILE cannot be read. Check the path and its owner.") from error
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ConfigurationError("APP_KEY_FILE can be read by others. Run chmod 600 on it.")
    if status.st_uid not in (os.getuid(), 0):
        raise ConfigurationError("APP_KEY_FILE belongs to another user. Run chown on it.")
    return key


def _admin_token(env: Reader) -> Secret | None:
    token = env.text("ADMIN_TOKEN")
    return _strong("ADMIN_TOKEN", token) if token else None


def _app_name(env: Reader) -> str:
    name = env.text("APP_NAME", "OpenAlgo")
    if len(name) > 64 or not name.isprintable():  # noqa: PLR2004 - a mail subject's worth
        raise ConfigurationError("APP_NAME must be at most 64 printable characters.")
    return name


def _base_url(env: Reader, app_env: str, host: str, port: int) -> str:
    text = env.text("BASE_URL")
    if not text:
        if app_env == "production":
            raise ConfigurationError("BASE_URL is not set. Give the public address, like https://app.example.com")
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"
    parts = _parts(text, ("http", "https"))
    if not parts or parts.username or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigurationError("BASE_URL must be an address without a path, like https://app.example.com")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _parts(url: str, schemes: tuple[str, ...]) -> SplitResult | None:
    """The parts of a URL with one of these schemes, a host, and a port that can be one; None for all else."""
    try:
        parts = urlsplit(url)
        return parts if parts.scheme in schemes and parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def _database_url(url: str) -> str:
    """SQLAlchemy's URL; PostgreSQL always through psycopg 3."""
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ConfigurationError("DATABASE_URL must start with sqlite:/// or postgresql://")
    return url


def _broker_url(text: str) -> str:
    """The broker's URL; several of them, for the next where one is away, stand between semicolons."""
    if text and not all(_is_broker(url) for url in text.split(";")):
        raise ConfigurationError(
            "CELERY_BROKER_URL must be like amqp://user:password@host// or redis://:password@host/0 "
            "(or amqps://, rediss://). In its password write @ as %40 and / as %2F."
        )
    return text


def _is_broker(url: str) -> bool:
    parts = _parts(url, ("amqp", "amqps", "redis", "rediss"))
    # A password's own @ or / moves where the host begins, so whoever parses it next would ask another host.
    return parts is not None and parts.netloc.count("@") == url.count("@") <= 1


def _ca_file(env: Reader) -> Path | None:
    text = env.text("SMTP_CA_FILE")
    if not text:
        return None
    path = Path(text)
    if not path.is_file() or "BEGIN CERTIFICATE" not in path.read_text(errors="replace"):
        raise ConfigurationError("SMTP_CA_FILE must be a file of PEM certificates.")
    return path


def _dns_resolver(env: Reader) -> str:
    text = env.text("DNS_RESOLVER")
    try:
        if text:
            parse_name_server(text)
    except InvalidAddress as error:
        raise ConfigurationError(f"DNS_RESOLVER is not an address. {error}") from error
    return text
