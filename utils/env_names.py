"""The names of our variables, and names that are nearly ours: what somebody meant to say and we would not hear."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

# Those that hold a secret. Each may stand in a file instead, named by the variable with _FILE behind it.
SECRETS: Final = (
    "APP_KEY", "APP_KEY_PREVIOUS", "ADMIN_TOKEN", "DATABASE_URL", "EMAIL_HOST_PASSWORD", "CELERY_BROKER_URL",
    "RATELIMIT_STORAGE_URI", "OIDC_CLIENT_SECRET", "PROXY_USER_SECRET",
)  # fmt: skip
FILES: Final = tuple(f"{name}_FILE" for name in SECRETS)
OURS: Final = frozenset(SECRETS) | frozenset(FILES) | frozenset((
    "SEALPOST_HOME", "APP_ENV", "APP_NAME", "BASE_URL", "ALLOW_HTTP", "HSTS_SECONDS", "HOST", "PORT", "TRUSTED_PROXIES",
    "HSTS_SUBDOMAINS", "DATABASE_DRIVER_PATH", "MIGRATE_AT_START", "SMTP_CA_FILE", "SMTP_ALLOW_PLAINTEXT_LOGIN",
    "EMAILS_PER_MINUTE", "EMAILS_PER_DAY",
    "EMAILS_PER_MINUTE_PER_DOMAIN", "LOCAL_INBOX_PORT", "AUDIT_RETENTION_DAYS", "MAIL_RETENTION_DAYS", "MAIL_SENDERS",
    "LOG_CONVERSATIONS", "LOG_SUBJECTS", "MAIL_DOWN_MINUTES", "PROBE_MINUTES", "METRICS_ADDRESSES",
    "OTEL_EXPORTER_OTLP_ENDPOINT", "MAIL_SUPPRESS_SEND", "DNS_RESOLVER", "DISCOVER_BY_HTTP",
    "SESSION_HOURS", "SESSION_REMEMBERED_DAYS", "SESSION_ADMIN_IDLE_MINUTES",
    "SECOND_FACTOR_DAYS",
    "SMTP_ALLOWED_CIDRS", "SMTP_ALLOWED_PORTS", "SMTP_ALLOWED_CIDRS_ACCOUNTS",
    "PERSONAL_SMTP", "PERSONAL_SMTP_HOSTS", "PERSONAL_SMTP_FALLBACK", "PERSONAL_SMTP_SIGN_IN",
    "ACCOUNT_EMAILS_PER_MINUTE",
    "ACCOUNT_EMAILS_PER_DAY", "FALLBACK_EMAILS_PER_MINUTE", "FALLBACK_EMAILS_PER_DAY",
    "ACCOUNT_WAITING_EMAILS", "ACCOUNT_WAITING_MB",
    "EMAIL_HOST", "EMAIL_PORT", "EMAIL_USE_TLS", "EMAIL_USE_SSL", "EMAIL_HOST_USER", "EMAIL_TIMEOUT",
    "SUBMISSION_LISTEN", "SUBMISSION_TLS_CERT", "SUBMISSION_TLS_KEY", "SUBMISSION_TRUSTED",
    "ORDER_CURRENCY", "MAIL_TEMPLATES",
    "EMAIL_SSL_CERTFILE", "EMAIL_SSL_KEYFILE", "DEFAULT_FROM_EMAIL",
    "OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_SCOPES", "OIDC_NAME", "OIDC_ADMIN_CLAIM", "OIDC_ADMIN_VALUE",
    "OIDC_CREATE_ACCOUNTS", "OIDC_ONLY", "OIDC_RECHECK_MINUTES", "PROXY_USER_HEADER", "PROXY_USER_BY_SOCKET",
    "PROXY_SIGN_OUT_URL",
))  # fmt: skip
# Those that an earlier version knew, each with what to do instead, as a sentence.
GONE: Final[Mapping[str, str]] = {}
# Django's settings for mail that say nothing to us: a `.env` that is shared with it, or was its own, has them.
DJANGO: Final = frozenset((
    "ADMINS", "MANAGERS", "SERVER_EMAIL", "DEFAULT_CHARSET", "EMAIL_BACKEND", "EMAIL_FILE_PATH", "EMAIL_SUBJECT_PREFIX",
    "EMAIL_USE_LOCALTIME",
))  # fmt: skip
# Unheard, these send mail that must not leave, write into another database, or seal with another key.
_GRAVE: Final = ("MAIL_SUPPRESS_SEND", "DATABASE_URL", "APP_KEY", "APP_KEY_PREVIOUS")
_SHORT: Final = 8  # letters; names of this length are near each other by chance (API_KEY, HOME)
_FARTHEST: Final = 2  # letters that a slip changes


@dataclass(frozen=True)
class Slip:
    """A name that is set and not ours, and the one of ours that was probably meant."""

    written: str
    meant: str
    is_grave: bool

    def __str__(self) -> str:
        return f"{self.written} is no variable of Sealpost and has no effect. Did you mean {self.meant}?"


def slips(environment: Mapping[str, str], in_file: Iterable[str]) -> list[Slip]:
    """The names that are nearly ours and say something; ``in_file`` are those that stand in `.env`.

    Names in the process's environment are often other programs', so that the shortest of ours are not guessed there.
    """
    written = set(in_file)
    names = [name for name, value in environment.items() if value.strip() and name not in OURS | DJANGO]
    found = (_slip(name, environment, is_in_file=name in written) for name in names)
    return sorted(filter(None, found), key=lambda slip: (not slip.is_grave, slip.written))


def meant_by(name: str, *, short_ones_too: bool = True) -> str | None:
    """The variable of ours that a name is meant to be: itself, another spelling of it, or two letters from it."""
    if name in OURS:
        return name
    plain = _plain(name)
    spelt = _plain_ones().get(plain)
    if spelt:
        return spelt
    near = [
        (distance, ours)
        for ours in sorted(OURS)
        if (short_ones_too or "_" in ours)
        and (distance := _distance(name.upper(), ours)) <= (_FARTHEST if "_" in ours else 1)
    ]
    return min(near)[1] if near else None


def _slip(name: str, environment: Mapping[str, str], *, is_in_file: bool) -> Slip | None:
    meant = meant_by(name, short_ones_too=is_in_file)
    if meant is None:
        return None
    subject = meant.removesuffix("_FILE") if meant in FILES else meant
    is_said = any(environment.get(each, "").strip() for each in (subject, f"{subject}_FILE"))
    is_spelling = _plain(name) == _plain(meant)
    if is_said and not is_spelling and len(meant) <= _SHORT:
        return None  # API_KEY beside APP_KEY is somebody else's
    is_grave = subject in _GRAVE and (not is_said or is_spelling or subject == "MAIL_SUPPRESS_SEND")
    return Slip(name, meant, is_grave)


@cache
def _plain_ones() -> dict[str, str]:
    return {_plain(ours): ours for ours in OURS}


def _plain(name: str) -> str:
    """A name without what spelling adds: case, quotes, hyphens, invisible characters."""
    return re.sub(r"[^A-Z0-9]", "", name.upper())


def _distance(one: str, other: str) -> int:
    """How many letters are wrong, missing, too many or swapped with their neighbour; more than two count as three."""
    if abs(len(one) - len(other)) > _FARTHEST or len(set(one) - set(other)) > _FARTHEST:
        return _FARTHEST + 1  # each letter that the other has not is wrong or too many: most names end here
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        before, last, row = row, before, [at]
        for to, wanted in enumerate(other, 1):
            cost = min(before[to] + 1, row[to - 1] + 1, before[to - 1] + (letter != wanted))
            if at > 1 and to > 1 and letter == other[to - 2] and one[at - 2] == wanted:
                cost = min(cost, last[to - 2] + 1)
            row.append(cost)
    return row[-1]
