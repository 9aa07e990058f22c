"""The addresses among the variables: our own, the database's, the broker's; and which of them go unprotected."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from utils import own_addresses
from utils.addresses import InvalidAddress, is_loopback, parse_host
from utils.env_reader import ConfigurationError, Reader

ESCAPES: Final = "In its password write @ as %40, / as %2F, : as %3A, # as %23, ? as %3F and % as %25"
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~-]+")
_WILDCARDS: Final = ("0.0.0.0", "::")  # noqa: S104 - which are told from addresses here, not listened on


def is_wildcard(host: str) -> bool:
    """Whether ``HOST`` means every address of the machine: one to listen on, and none to open."""
    return host in _WILDCARDS


def base_url(env: Reader, *, is_production: bool, listens_on: tuple[str, int]) -> str:
    """``BASE_URL`` without a trailing slash, or in development where `make run` listens. Raises ConfigurationError."""
    text, allows_http = env.text("BASE_URL"), env.boolean("ALLOW_HTTP", default=False)
    if not text:
        if is_production:
            raise ConfigurationError("BASE_URL is not set. Set it to the public address, like https://app.example.com")
        host, port = listens_on
        return http_url(own_addresses.reachable(host)[0] if is_wildcard(host) else host, port)
    parts = parsed(text)
    if parts is None or not _is_base(parts):
        raise ConfigurationError(
            "BASE_URL must be an address like https://app.example.com or https://example.com/mail, without user name, "
            "query or fragment."
        )
    if is_production and parts.scheme == "http" and not allows_http and not is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            "BASE_URL is http:// in production: anyone on the network can read passwords and reset links. Set it to "
            "the https:// address of the proxy in front, or set ALLOW_HTTP=true."
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def http_url(host: str, port: int) -> str:
    """What listens there, as browsers write it."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def parsed(text: str) -> SplitResult | None:
    """The parts of an address that names a host; None for what is none."""
    try:
        parts = urlsplit(text)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def _is_base(parts: SplitResult) -> bool:
    segments = parts.path.rstrip("/").split("/")[1:]
    is_plain = all(_SEGMENT.fullmatch(segment) and segment.strip(".") for segment in segments)
    beside = parts.username is not None or parts.query or parts.fragment
    return parts.scheme in ("http", "https") and is_plain and not beside and _has_host(parts)


def _has_host(parts: SplitResult) -> bool:
    """Whether links that begin so lead anywhere: a quote or a space that got in makes a host that nobody has."""
    try:
        return bool(parse_host(parts.hostname or "")) and not parts.netloc.endswith(":")
    except InvalidAddress:
        return False


def database_url(url: str) -> str:
    """SQLAlchemy's URL; PostgreSQL always through psycopg 3. Raises ConfigurationError."""
    for prefix in ("postgres://", "postgresql://", "postgresql+psycopg://"):
        if url.startswith(prefix):
            rest = url.removeprefix(prefix)
            if not _is_clear(f"postgresql://{rest}"):
                raise ConfigurationError(f"DATABASE_URL must be like postgresql://user:password@host/name. {ESCAPES}.")
            return f"postgresql+psycopg://{rest}"
    if not url.startswith("sqlite:///"):
        raise ConfigurationError("DATABASE_URL must start with sqlite:/// or postgresql://")
    return url


def broker_url(text: str) -> str:
    """The broker's URL; several of them, for the next where one is away, stand between semicolons."""
    if text and not all(_is_broker(url) for url in text.split(";")):
        raise ConfigurationError(
            "CELERY_BROKER_URL must be like amqp://user:password@host// or redis://:password@host/0 "
            "(or amqps://, rediss://). In its password write @ as %40 and / as %2F."
        )
    return text


def _is_broker(url: str) -> bool:
    parts = parsed(url)
    return parts is not None and parts.scheme in ("amqp", "amqps", "redis", "rediss") and _is_clear(url)


def _is_clear(url: str) -> bool:
    """Whether what ends the password cannot be part of it: its own @ or / would move where the host begins."""
    try:
        parts = urlsplit(url)
        return parts.port != 0 and parts.netloc.count("@") == url.count("@") <= 1
    except ValueError:
        return False


def unprotected(database: str, urls: Mapping[str, str], environment: Mapping[str, str]) -> list[str]:
    """What of these goes to another host without verified TLS, a sentence each, with the remedy.

    ``urls`` are those of RabbitMQ and Redis by their variables.
    """
    found = []
    if _is_open_postgresql(database, environment):
        found.append(
            "DATABASE_URL names another host without sslmode=verify-full: anyone on the network can read and change "
            "everything. Add ?sslmode=verify-full&sslrootcert=system, or the file of your authority."
        )
    for variable, text in urls.items():
        for scheme in sorted({urlsplit(url).scheme for url in text.split(";") if _is_open(url)}):
            better = {"redis": "rediss", "amqp": "amqps", "pyamqp": "amqps"}.get(scheme)
            remedy = f"Write {better}://" if better else "Remove the parameter that turns verification off"
            found.append(f"{variable} names another host without verified TLS. {remedy}.")
    return found


def _is_open_postgresql(url: str, environment: Mapping[str, str]) -> bool:
    if not url.startswith("postgresql"):
        return False
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    named = parts.netloc.rpartition("@")[2] or ",".join(asked.get("host", [environment.get("PGHOST", "")]))
    hosts = [_host_of(each) for each in named.split(",")]
    mode = asked.get("sslmode", [environment.get("PGSSLMODE", "")])[-1]
    return mode != "verify-full" and not all(map(_is_here, hosts))


def _host_of(place: str) -> str:
    """The host of ``host:port``, ``[::1]:port`` or either alone."""
    return place[1:].partition("]")[0] if place.startswith("[") else place.rpartition(":")[0] or place


def _is_here(host: str) -> bool:
    """Whether that is this machine: a loopback address, or a socket's folder."""
    return not host or host.startswith(("/", "%2F", "%2f")) or is_loopback(host)


def _is_open(url: str) -> bool:
    parts = parsed(url)
    if parts is None or _is_here(parts.hostname or ""):
        return False
    if parts.scheme in ("redis", "amqp", "pyamqp"):
        return True
    wants = parse_qs(parts.query)
    said = {value.lower() for name in ("ssl_cert_reqs", "cert_reqs") for value in wants.get(name, [])}
    return parts.scheme in ("rediss", "amqps") and bool(said & {"none", "cert_none", "optional", "cert_optional"})
