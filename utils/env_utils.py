"""The environment, parsed once into a frozen, typed object; and the two look-ups the specification names."""

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, cached_property, lru_cache
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from utils import (
    allowed_places,
    application,
    env_file,
    env_names,
    env_urls,
    oidc_env,
    personal_env,
    proxy_env,
    secret_files,
    submission_env,
)
from utils.addresses import InvalidAddress, parse_name_server, public_name
from utils.allowed_places import AllowedPlaces, PlacesForAccounts
from utils.env_file import EnvFile
from utils.env_reader import ConfigurationError, Reader
from utils.first_env import write_first_env
from utils.home import CODE, VARIABLE, home
from utils.key_strength import NEW_KEY_COMMAND, human_hand, weakness, weakness_of_key
from utils.net_guard import IPNetwork
from utils.oidc_env import OidcSettings
from utils.proxy_env import ProxySettings
from utils.secret import Secret
from utils.submission_env import Submission

__all__ = [
    "EXTENSION",
    "ROOT",
    "ConfigurationError",
    "Settings",
    "fernet_key_from",
    "get_base_url",
    "get_fernet_key",
    "get_settings",
    "load_settings",
    "read_environment",
    "write_first_env",
]

ROOT: Final = CODE
EXTENSION: Final = "sealpost"
A_YEAR: Final = 31_536_000  # seconds
LOCAL_INBOX_PORT: Final = 1025
MOST_FACTOR_DAYS: Final = 365
NO_CONVERSATIONS, FAILED_CONVERSATIONS, ALL_CONVERSATIONS = _CONVERSATIONS = ("off", "failures", "all")


@dataclass(frozen=True, kw_only=True, eq=False)
class Settings:
    """What the environment says. Secrets are wrapped; nothing here changes while the process lives."""

    app_key: Secret
    app_key_doubt: str  # what shows that no chance made the key, as the end of a sentence; "" for a good one
    app_key_previous: tuple[Secret, ...]
    app_env: str
    app_name: str
    order_currency: str  # before the price in the mail about an order
    mail_templates: Path | None  # a folder of templates beside the built-in ones
    base_url: str
    database_url: str = field(repr=False)
    database_driver_path: bool
    admin_token: Secret | None
    email: Mapping[str, str] = field(repr=False)
    email_fault: str  # why EMAIL_* cannot be used at all, or ""
    smtp_ca_file: Path | None
    smtp_allow_plaintext_login: bool
    smtp_allowed: AllowedPlaces
    smtp_allowed_accounts: PlacesForAccounts  # for servers of those who are no administrators
    personal: Mapping[str, object]  # what is fixed of the policy for servers of accounts, by its fields
    host: str
    port: int
    trusted_proxies: int
    metrics_addresses: tuple[IPNetwork, ...]  # who may read /metrics without a token
    otlp_endpoint: str = field(repr=False)  # where spans go; "": none are made
    ratelimit_storage_uri: str = field(repr=False)
    session_life: timedelta
    session_remembered_life: timedelta
    session_admin_idle: timedelta  # after which an administrator's session ends; 0: never
    second_factor_days: int | None  # that an administrator has for one; None: the page decides
    celery_broker_url: str = field(repr=False)  # "": the web processes send themselves
    emails_per_minute: int  # 0: no limit
    emails_per_day: int
    emails_per_minute_per_domain: int
    account_waiting_emails: int  # of one account, that it queued over HTTP; 0: no limit
    account_waiting_mb: int  # of the same, together
    local_inbox_port: int
    audit_retention_days: int
    mail_retention_days: int
    log_conversations: str  # of which attempts it is kept what was said
    mail_down_minutes: int  # that no email gets out before /readyz/mail says so
    probe_minutes: int  # between two looks at a server without an email; 0: none
    mail_senders: int  # 0: this process sends no queued mail
    mail_suppress_send: bool
    log_subjects: bool
    dns_resolver: str
    discover_by_http: bool  # a domain's web server is asked for its mail settings
    hsts_seconds: int  # 0: browsers are told nothing
    hsts_subdomains: bool
    submission: Submission  # what other programs hand over by SMTP
    oidc: OidcSettings | None  # whom people may sign in with
    proxy_user: ProxySettings | None  # how the proxy in front says who came
    doubts: tuple[str, ...]  # what is probably a mistake and stops nothing, in sentences

    @property
    def is_production(self) -> bool:
        return self.app_env == "production"

    @property
    def has_local_inbox(self) -> bool:
        """Whether there is a local inbox at all: never in production, and port 0 switches it off."""
        return bool(self.local_inbox_port) and not self.is_production

    def is_scraper(self, address: str) -> bool:
        """Whether somebody at this address may read the figures without showing who they are."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
        return any((mapped or found) in network for network in self.metrics_addresses)

    @property
    def base_host(self) -> str:
        """The host name of ``BASE_URL``, as mails and EHLO use it."""
        return urlsplit(self.base_url).hostname or "localhost"

    @cached_property  # asked for with every mail
    def public_host(self) -> str | None:
        """The same, if it is a name that others can know."""
        return public_name(self.base_host)

    @property
    def base_path(self) -> str:
        """The path of ``BASE_URL``, below which everything is; "" without one."""
        return urlsplit(self.base_url).path

    @property
    def is_https(self) -> bool:
        return self.base_url.startswith("https://")

    @property
    def hsts(self) -> str:
        """How long browsers are told to come by HTTPS only, as a header has it; "": nothing is said.

        They would hold every port of the host to it (RFC 6797 8.3), and what is on the others is not ours. What is on
        its subdomains is not either, unless that was said.
        """
        if not self.hsts_seconds or not self.is_https or urlsplit(self.base_url).port not in (None, 443):
            return ""
        return f"max-age={self.hsts_seconds}" + ("; includeSubDomains" if self.hsts_subdomains else "")

    def secrets(self) -> list[str]:
        """Every secret of the environment, for the log filter."""
        held = [self.app_key, *self.app_key_previous, self.admin_token]
        held += [self.oidc.client_secret if self.oidc else None, self.proxy_user.secret if self.proxy_user else None]
        password = self.email.get("EMAIL_HOST_PASSWORD", "")
        return [secret.reveal() for secret in held if secret] + ([password] if password else [])


def read_environment(path: Path | None = None) -> dict[str, str]:
    """Merge ``.env`` under the process's environment, without ``${…}`` interpolation.

    Flask's command line loads the same file *with* interpolation before we run, which would mangle a password
    that holds ``${``; where the environment's value is just that, the file's own text is taken instead.
    Raises ConfigurationError for a file or a line that cannot be read.
    """
    return _merged(path or home() / ".env")[0]


def _merged(path: Path) -> tuple[dict[str, str], EnvFile]:
    file = env_file.read(path)
    expanded = env_file.interpolated(path) if file.values else {}
    merged = {**file.values, **os.environ}
    return merged | {key: text for key, text in file.values.items() if merged[key] == expanded.get(key)}, file


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Parse and check the environment.

    Raises ConfigurationError, a ValueError, with one line that names the variable and the remedy.
    """
    is_lost = False
    if environment is None:
        environment, file = _merged(home() / ".env")
        is_lost = VARIABLE in file.values and VARIABLE not in os.environ
    else:
        file = EnvFile(dict(environment), [])
    doubts = [
        *_slips(environment, file.values),
        *(f"{name} is in .env more than once; the last one counts." for name in file.repeated),
        *([f"{VARIABLE} in .env has no effect. Set it in the environment."] if is_lost else []),
    ]
    email, email_fault = _email(environment)
    env = Reader(secret_files.filled_in(environment, left_out="EMAIL_HOST_PASSWORD"))
    return _settings(env, email, email_fault, doubts)


def _settings(env: Reader, email: Mapping[str, str], email_fault: str, doubts: list[str]) -> Settings:
    app_env = env.choice("APP_ENV", ("development", "production"), "production")
    is_production = app_env == "production"
    host, port = env.text("HOST", "127.0.0.1"), env.integer("PORT", 5000, 1, 65535)
    app_key, app_key_previous = _app_key(env), _previous_keys(env)
    database_url = env_urls.database_url(env.text("DATABASE_URL", "sqlite:///sealpost.db"))
    celery_broker_url = env_urls.broker_url(env.text("CELERY_BROKER_URL"))
    ratelimit_storage_uri = env.text("RATELIMIT_STORAGE_URI", "memory://")
    others = {"CELERY_BROKER_URL": celery_broker_url, "RATELIMIT_STORAGE_URI": ratelimit_storage_uri}
    doubts = [*doubts, *env_urls.unprotected(database_url, others, env.starting_with("PG"))]
    return Settings(
        app_key=app_key,
        app_key_doubt=human_hand(app_key.reveal()) or "",
        app_key_previous=app_key_previous,
        app_env=app_env,
        app_name=_app_name(env),
        order_currency=_order_currency(env),
        mail_templates=_mail_templates(env),
        base_url=env_urls.base_url(env, is_production=is_production, listens_on=(host, port)),
        database_url=database_url,
        database_driver_path=env.boolean("DATABASE_DRIVER_PATH", default=True),
        admin_token=_admin_token(env, (app_key, *app_key_previous) if is_production else ()),
        email=email,
        email_fault=email_fault,
        smtp_ca_file=_ca_file(env),
        smtp_allow_plaintext_login=env.boolean("SMTP_ALLOW_PLAINTEXT_LOGIN", default=False),
        smtp_allowed=allowed_places.named_by(env),
        smtp_allowed_accounts=allowed_places.for_accounts(env),
        personal=personal_env.named_by(env),
        host=host,
        port=port,
        trusted_proxies=env.integer("TRUSTED_PROXIES", 0, 0, 10),
        metrics_addresses=allowed_places.networks_named(env, "METRICS_ADDRESSES"),
        otlp_endpoint=_web_address(env.text("OTEL_EXPORTER_OTLP_ENDPOINT")),
        ratelimit_storage_uri=ratelimit_storage_uri,
        session_life=timedelta(hours=env.integer("SESSION_HOURS", 12, 1, 8760)),
        session_remembered_life=timedelta(days=env.integer("SESSION_REMEMBERED_DAYS", 30, 1, 400)),
        session_admin_idle=timedelta(minutes=env.integer("SESSION_ADMIN_IDLE_MINUTES", 60, 0, 525_600)),
        second_factor_days=_second_factor_days(env),
        celery_broker_url=celery_broker_url,
        emails_per_minute=env.integer("EMAILS_PER_MINUTE", 0, 0, personal_env.MOST_EMAILS),
        emails_per_day=env.integer("EMAILS_PER_DAY", 0, 0, personal_env.MOST_EMAILS),
        emails_per_minute_per_domain=env.integer("EMAILS_PER_MINUTE_PER_DOMAIN", 0, 0, personal_env.MOST_EMAILS),
        account_waiting_emails=env.integer("ACCOUNT_WAITING_EMAILS", 2000, 0, personal_env.MOST_EMAILS),
        account_waiting_mb=env.integer("ACCOUNT_WAITING_MB", 200, 0, personal_env.MOST_EMAILS),
        local_inbox_port=env.integer("LOCAL_INBOX_PORT", LOCAL_INBOX_PORT, 0, 65535),
        audit_retention_days=env.integer("AUDIT_RETENTION_DAYS", 365, 0, 36500),
        mail_retention_days=env.integer("MAIL_RETENTION_DAYS", 30, 0, 36500),
        log_conversations=env.choice("LOG_CONVERSATIONS", _CONVERSATIONS, NO_CONVERSATIONS),
        mail_down_minutes=env.integer("MAIL_DOWN_MINUTES", 5, 0, 1440),
        probe_minutes=env.integer("PROBE_MINUTES", 15, 0, 1440),
        mail_senders=env.integer("MAIL_SENDERS", 2, 0, 64),
        mail_suppress_send=env.boolean("MAIL_SUPPRESS_SEND", default=False),
        log_subjects=env.boolean("LOG_SUBJECTS", default=False),
        dns_resolver=_dns_resolver(env),
        discover_by_http=env.boolean("DISCOVER_BY_HTTP", default=True),
        hsts_seconds=env.integer("HSTS_SECONDS", A_YEAR, 0, 2 * A_YEAR),
        hsts_subdomains=env.boolean("HSTS_SUBDOMAINS", default=False),
        submission=submission_env.named_by(env),
        oidc=oidc_env.named_by(env, is_production=is_production),
        proxy_user=proxy_env.named_by(env),
        doubts=tuple(doubts),
    )


def get_settings() -> Settings:
    """The application's settings, or the environment's outside an application."""
    extensions = application.extensions()
    if extensions is None:
        return _environment_settings()
    settings: Settings = extensions[EXTENSION]
    return settings


def get_fernet_key() -> bytes:
    """The specified key: URL-safe base64 of the SHA-256 of ``APP_KEY``."""
    return fernet_key_from(get_settings().app_key)


@lru_cache(maxsize=16)
def fernet_key_from(app_key: Secret) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(app_key.reveal().encode()).digest())


def get_base_url() -> str:
    """Where the application is reached, without a trailing slash; links in mails start with it."""
    return get_settings().base_url


@cache
def _environment_settings() -> Settings:
    return load_settings()


def _slips(environment: Mapping[str, str], in_file: Iterable[str]) -> list[str]:
    """What is said of names that are nearly ours. Raises ConfigurationError where what was meant must not be missed."""
    found = env_names.slips(environment, in_file)
    if found and found[0].is_grave:
        raise ConfigurationError(f"{found[0]} Correct the name, or remove it.")
    return [str(slip) for slip in found]


def _email(environment: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """The fallback's variables, and what is wrong with the file of its password: a mistake here stops no start."""
    found = Reader(environment).starting_with("EMAIL_", "DEFAULT_FROM_EMAIL")
    try:
        password = secret_files.held(environment, "EMAIL_HOST_PASSWORD")
    except ConfigurationError as fault:
        return found, str(fault)
    return found | ({"EMAIL_HOST_PASSWORD": password} if password else {}), ""


def _app_key(env: Reader) -> Secret:
    key = env.text("APP_KEY").strip()
    if not key:
        raise ConfigurationError(f"APP_KEY not configured. Create one with: {NEW_KEY_COMMAND}")
    return _strong("APP_KEY", key, weakness_of_key(key))


def _strong(name: str, text: str, fault: str | None) -> Secret:
    if fault:
        raise ConfigurationError(f"{name} {fault}. Create a new one with: {NEW_KEY_COMMAND}")
    return Secret(text)


def _previous_keys(env: Reader) -> tuple[Secret, ...]:
    return tuple(Secret(key.strip()) for key in env.listed("APP_KEY_PREVIOUS"))


def _admin_token(env: Reader, keys: tuple[Secret, ...]) -> Secret | None:
    """The token, which is no key: it is sent with every request, and a key opens every stored password."""
    token = env.text("ADMIN_TOKEN")
    if not token:
        return None
    found = _strong("ADMIN_TOKEN", token, weakness(token))
    if found in keys:
        raise ConfigurationError(f"ADMIN_TOKEN is the same as APP_KEY. Create a new one with: {NEW_KEY_COMMAND}")
    return found


def _app_name(env: Reader) -> str:
    name = env.text("APP_NAME", "OpenAlgo")
    if len(name) > 64 or not name.isprintable():  # noqa: PLR2004 - a mail subject's worth
        raise ConfigurationError("APP_NAME must be at most 64 printable characters.")
    return name


def _second_factor_days(env: Reader) -> int | None:
    name = "SECOND_FACTOR_DAYS"
    return env.integer(name, 0, 0, MOST_FACTOR_DAYS) if env.text(name) else None


def _web_address(text: str) -> str:
    """The address, or "" where it is none: the variable is not ours alone, and others need no scheme."""
    try:
        place = urlsplit(text)
    except ValueError:
        return ""
    return text if place.scheme in ("http", "https") and place.hostname else ""


def _order_currency(env: Reader) -> str:
    """The sign, or the letters with a space behind them."""
    text = env.text("ORDER_CURRENCY", "₹")
    if len(text) > 8 or not text.isprintable():  # noqa: PLR2004
        raise ConfigurationError("ORDER_CURRENCY must be at most 8 printable characters.")
    return currency_before(text)


def currency_before(text: str) -> str:
    """A currency as it stands before a price: €5, and EUR 5."""
    return f"{text} " if text[-1:].isalpha() else text


def _mail_templates(env: Reader) -> Path | None:
    text = env.text("MAIL_TEMPLATES")
    if not text:
        return None
    path = Path(text)
    if not path.is_absolute():
        path = home() / path
    if not path.is_dir():
        raise ConfigurationError("MAIL_TEMPLATES is not a folder.")
    if not os.access(path, os.R_OK | os.X_OK):
        raise ConfigurationError("MAIL_TEMPLATES cannot be read. Let your user read this folder.")
    return path


def _ca_file(env: Reader) -> Path | None:
    text = env.text("SMTP_CA_FILE")
    if not text:
        return None
    path = Path(text)
    try:
        is_fit = path.is_file() and "BEGIN CERTIFICATE" in path.read_text(errors="replace")
    except OSError as error:
        raise ConfigurationError(f"SMTP_CA_FILE cannot be read: {error.strerror}.") from None
    if not is_fit:
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
