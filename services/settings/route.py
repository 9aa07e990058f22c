"""Whose server sends: an account's own, then the global one, then `.env`; each with why it is used or passed over."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

import structlog
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import schema_db
from database.health_db import Quiet
from services.settings import configs, personal_route, rules, sealing, usable_senders
from services.settings.fields import parse_change
from services.settings.personal_policy import Fallback
from services.settings.personal_route import OWN_NAME, PERSONAL, Behalf, OwnServer, UnusableAccount
from services.settings.rules import merged
from services.settings.sealing import Condition, StoredConfig
from services.settings.table import NUMBERS, VALUES, VARIABLES
from services.smtp import client_certificate
from services.smtp.client_certificate import LONGEST_CERTIFICATE, LONGEST_KEY, UnusablePem
from services.smtp.settings import OwnInbox, Security, SmtpSettings
from utils import inbox_place
from utils.addresses import InvalidAddress, is_loopback, parse_mailbox
from utils.env_reader import as_boolean
from utils.env_utils import LOCAL_INBOX_PORT, Settings, get_settings
from utils.errors import InvalidInput
from utils.inbox_place import InboxPlace
from utils.numbers import number_or_text

log = structlog.get_logger(__name__)
security_log = structlog.get_logger("security")

NO_ACTIVE_ROW: Final = "No active SMTP configuration in the database"
NOTHING_IS_SENT: Final = "Nothing is sent: MAIL_SUPPRESS_SEND is on."
# With both kinds of quotes: the inner ones are the address's, the outer ones those of `.env`.
FROM_LINE: Final = "The line: DEFAULT_FROM_EMAIL='\"Shop, Ltd.\" <name@example.com>'"
INBOX: Final = "inbox"  # the source of its step
INBOX_SENDER: Final = "noreply@sealpost.example"  # where DEFAULT_FROM_EMAIL names none
LONGEST_FILE: Final = LONGEST_CERTIFICATE + LONGEST_KEY
# The specification's words.
FALLING_BACK: Final = "No active SMTP Configuration found in database. Falling back to {} ({})."

# Per application, so that two in one process do not silence each other's warnings.
_last_reasons: WeakKeyDictionary[Settings, dict[str, str]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class RouteStep:
    """One server on the way of a mail; without ``settings`` it is passed over, and ``reason`` says why.

    ``account_id`` is whose own server it is, ``behalf`` for whom another's sends, and ``stands_in_for`` what of the
    account's own it does so instead of. ``blocks``: it is passed over, and no other may stand in for it.
    """

    source: str
    name: str
    reason: str
    settings: SmtpSettings | None = None
    config_id: int | None = None
    falls_back: Fallback = Fallback.NEVER  # when the next server is tried instead
    emails_per_minute: int | None = None  # its own limits
    emails_per_day: int | None = None
    last_error: str | None = None  # as noted on the configuration
    quiet: Quiet | None = field(default=None, compare=False)  # of one without trouble; None: it was not looked up
    has_failed_over: bool = False
    is_broken: bool = False  # it is passed over because of something that somebody has to mend
    is_altered: bool = False  # somebody edited the row behind our back
    account_id: int | None = None
    behalf: Behalf | None = None
    stands_in_for: "RouteStep | None" = None
    is_told_broken: bool = False  # its owner knows that it is
    blocks: bool = False

    @property
    def failover(self) -> bool:
        """Whether the next server is ever tried while this one is down."""
        return self.falls_back is not Fallback.NEVER

    def lets_go(self, *, is_down: bool, is_unreachable: bool) -> bool:
        """Whether the next server is tried: because this one is at fault, or cannot be connected or signed in to."""
        if self.falls_back is Fallback.CONNECTION:
            return is_unreachable
        return is_down and self.failover

    @property
    def is_personal(self) -> bool:
        return self.source == PERSONAL

    @cached_property
    def _known_senders(self) -> dict[str, bool]:
        return {}

    def may_send_as(self, email: str) -> bool:
        """Whether its account may send from this address through it; looked up once."""
        if self.account_id is None:
            return False
        if email not in self._known_senders:
            self._known_senders[email] = usable_senders.may_use(self.account_id, email)
        return self._known_senders[email]

    @property
    def is_local_inbox(self) -> bool:
        return self.source == INBOX

    @cached_property
    def owner(self) -> str:
        """By what pool, circuit and limits know the server: it stays the same when its settings change."""
        return f"config:{self.config_id}" if self.config_id is not None else self.source

    @cached_property
    def fingerprint(self) -> str:
        """Tells these settings from any others."""
        return sealing.fingerprint(self.settings) if self.settings else ""


def steps(account_id: int | None = None, session: Session | None = None) -> Iterator[RouteStep]:
    """The servers in the order in which they are asked, looked up only as far as they are needed.

    Raises UnusableAccount.
    """
    if account_id is None:
        yield from _global_steps(session)
        return
    own = personal_route.find(account_id, session)
    first = _personal_step(account_id, own)
    yield first
    meant = first if own.is_meant else None
    for step in _global_steps(session):
        kept = replace(step, settings=None, reason=personal_route.NOBODY_ELSE) if own.blocks and step.settings else step
        yield replace(kept, behalf=own.behalf, stands_in_for=meant)


def _global_steps(session: Session | None) -> Iterator[RouteStep]:
    first, row_decides = _global_step(session)
    yield first
    yield _last_step(database_decides=row_decides)


def _personal_step(account_id: int, own: OwnServer) -> RouteStep:
    step = RouteStep(
        source=PERSONAL,
        name=OWN_NAME,
        reason=own.reason,
        account_id=account_id,
        falls_back=own.falls_back,
        is_broken=own.is_broken,
        blocks=own.blocks,
    )
    if own.stored is None:
        return step
    row = own.stored.row
    return replace(
        step,
        settings=own.stored.settings if own.is_used else None,
        config_id=row.id,
        emails_per_minute=row.emails_per_minute,
        emails_per_day=row.emails_per_day,
        last_error=row.last_error,
        quiet=own.stored.quiet,
        has_failed_over=row.failed_over_at is not None,
        is_told_broken=row.broken_told_at is not None,
        is_altered=own.is_broken and own.stored.condition in (Condition.ALTERED, Condition.OUTDATED),
    )


def blocking(account_id: int | None) -> RouteStep | None:
    """The account's own server, where that cannot be used and no other may stand in for it."""
    if account_id is None:
        return None
    try:
        first = next(steps(account_id))
    except UnusableAccount:  # since a moment ago
        return None
    return first if first.blocks else None


def is_suppressed() -> bool:
    """Whether mail is dropped instead of sent, whichever server it would go through."""
    return get_settings().mail_suppress_send


def without_database() -> RouteStep:
    """The server that would be asked first if no configuration were active."""
    return _last_step(database_decides=False)


def usable(account_id: int | None = None, session: Session | None = None) -> Iterator[RouteStep]:
    """The servers that a mail may go through, in order. Warns once about each change of what is passed over."""
    last_reason = _last_reasons.setdefault(get_settings(), {})
    falls_back = False
    for step in steps(account_id, session):
        # One account's server says nothing of another's.
        key = step.source if step.account_id is None else f"{step.source}:{step.account_id}"
        if step.settings:
            last_reason.pop(key, None)
            if falls_back:
                log.warning(FALLING_BACK.format(step.settings.host, step.name))
                falls_back = False
            yield step
        elif step.is_personal and step.config_id is None and not step.blocks:  # most accounts have none
            last_reason.pop(key, None)
        elif last_reason.get(key) != step.reason:
            last_reason[key] = step.reason
            falls_back = falls_back or step.reason == f"{NO_ACTIVE_ROW}."
            warn = security_log.warning if step.is_altered else log.warning
            account = {"account_id": step.account_id} if step.is_personal else {}
            warn("smtp_server_passed_over", server=step.name, reason=step.reason, **account)
        if step.blocks:
            return


def looked_up(account_id: int | None = None) -> tuple[SmtpSettings | None, Iterator[RouteStep]]:
    """The settings of the first usable server, and the whole way, of which the rest is looked up when it is needed."""
    way = usable(account_id)
    first = next(way, None)
    return (first.settings, chain([first], way)) if first else (None, way)


def first_of(steps: Iterable[RouteStep]) -> RouteStep | None:
    """The first of these that a mail may go through; asks no further than that one."""
    return next((step for step in steps if step.settings), None)


def first_usable(account_id: int | None = None, session: Session | None = None) -> RouteStep | None:
    """The server that a mail goes through now.

    Whoever holds a session looks it up in that: a second connection beside it might have to wait for the first.
    """
    return next(usable(account_id, session), None)


def message_id_domain(account_id: int | None = None, session: Session | None = None) -> str:
    """The right side of a new mail's Message-ID; a server is looked up only where BASE_URL's host is no public name."""
    if host := get_settings().public_host:
        return host
    with session.no_autoflush if session else nullcontext():  # the caller may not be done with what it would write
        first = first_usable(account_id, session)
    return rules.message_id_domain(first.settings if first else None)


def _global_step(session: Session | None) -> tuple[RouteStep, bool]:
    """The database's step, and whether an active row stands there: then the local inbox may not serve."""
    try:
        stored = configs.find_active(session=session)
    except SQLAlchemyError as error:
        reason = schema_db.UPGRADE if schema_db.lacks_something(error) else "The database is not responding."
        return RouteStep(source="database", name="Database", reason=reason, is_broken=True), True
    if not stored:
        return RouteStep(source="database", name="Database", reason=f"{NO_ACTIVE_ROW}."), False
    return step_of(stored), True


def step_of(stored: StoredConfig) -> RouteStep:
    """The step that a stored configuration is on the way of a mail while it is active."""
    row = stored.row
    usable = stored.is_usable
    return RouteStep(
        source="database",
        name=row.name,
        reason="The active server." if usable else stored.problem,
        settings=stored.settings if usable else None,
        config_id=row.id,
        falls_back=Fallback.ALWAYS if row.failover else Fallback.NEVER,
        emails_per_minute=row.emails_per_minute,
        emails_per_day=row.emails_per_day,
        last_error=row.last_error,
        quiet=stored.quiet,
        has_failed_over=row.failed_over_at is not None,
        is_broken=not usable,
        is_altered=stored.condition in (Condition.ALTERED, Condition.OUTDATED),
    )


def _last_step(*, database_decides: bool) -> RouteStep:
    """The server of `.env`; where that names none, in development the local inbox."""
    step = partial(RouteStep, source="env", name=".env")
    try:
        settings = from_env()
    except InvalidInput as error:
        return step(reason=_first_sentence(error), is_broken=True)
    if settings is not None and not _names_the_inbox(settings):
        return step(reason="Set by EMAIL_HOST in .env.", settings=settings)
    if get_settings().has_local_inbox:
        return _inbox_step(database_decides=database_decides)
    return step(reason="The local inbox is for development only." if settings else "EMAIL_HOST is not set.")


def _inbox_step(*, database_decides: bool) -> RouteStep:
    step = RouteStep(source=INBOX, name="Local inbox", reason="Used only while no server is active.")
    if database_decides:
        return step
    place = inbox_place.find(Path(current_app.instance_path), get_settings())
    if place is None:
        return replace(step, reason=inbox_place.NOT_RUNNING)
    if place.fault:
        return replace(step, reason=place.fault, is_broken=True)
    try:
        settings = _inbox_settings(place)
    except InvalidInput as error:
        return replace(step, reason=_first_sentence(error), is_broken=True)
    return replace(step, reason="Local inbox, until a server is active.", settings=settings)


def _inbox_settings(place: InboxPlace) -> OwnInbox:
    name, address = _sender(get_settings().email.get("DEFAULT_FROM_EMAIL", "").strip() or INBOX_SENDER)
    return OwnInbox(
        host=inbox_place.HOST,
        port=place.port,
        security=Security.NONE,
        from_email=address,
        from_name=name,
        mark=place.mark,
    )


def from_env() -> SmtpSettings | None:
    """The server of the environment, or None without ``EMAIL_HOST``. Raises InvalidInput."""
    own = get_settings()
    settings = env_settings(own.email)
    if settings and own.email_fault:
        raise InvalidInput({"smtp_password": [own.email_fault]})
    if settings and not _names_the_inbox(settings):
        rules.check_place(settings)
    return settings


def env_settings(variables: Mapping[str, str]) -> SmtpSettings | None:
    """The server that Django's ``EMAIL_*`` names describe, or None without ``EMAIL_HOST``. Raises InvalidInput."""
    if not variables.get("EMAIL_HOST", "").strip():
        return None
    texts = {field: variables.get(name, "").strip() for field, name in VARIABLES.items()}
    raw: dict[str, object] = {field: text for field, text in texts.items() if text and field in VALUES}
    raw |= {field: number_or_text(texts[field]) for field in NUMBERS if texts.get(field)}
    raw |= {field: _flag(texts[field]) for field in ("use_tls", "use_ssl") if texts[field]}
    if password := variables.get(VARIABLES["smtp_password"]):  # whose spaces are its own
        raw["smtp_password"] = password
    raw["from_name"], raw["from_email"] = _sender(variables.get("DEFAULT_FROM_EMAIL", ""))
    files = {field: texts[field] for field in ("client_certificate", "client_key") if texts[field]}
    return merged(None, parse_change(raw | identity_in(files)))


def _sender(text: str) -> tuple[str, str]:
    try:
        return parse_mailbox(text)
    except InvalidAddress as error:
        raise InvalidInput({"from_email": [f"{error} {FROM_LINE}"]}) from None


def _flag(text: str) -> bool | str:
    """What the variable says, or else its text, for the check to refuse."""
    said = as_boolean(text)
    return text if said is None else said


def identity_in(files: Mapping[str, str]) -> dict[str, object]:
    """The texts of the files for ``client_certificate`` and ``client_key``; the former may hold the key as well.

    Raises InvalidInput.
    """
    texts = {field: _text_of(field, Path(path)) for field, path in files.items()}
    certificate = texts.get("client_certificate", "")
    if client_certificate.holds_key(certificate):
        texts.setdefault("client_key", certificate)
        texts["client_certificate"] = _certificates_of(certificate)
    return dict(texts)


def _certificates_of(text: str) -> str:
    try:
        return client_certificate.certificates_in(text)
    except UnusablePem as fault:
        raise InvalidInput({"client_certificate": [str(fault)]}) from None


def _text_of(field: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_FILE).decode()
    except OSError:
        raise InvalidInput({field: ["The file cannot be read."]}) from None
    except UnicodeDecodeError:
        raise InvalidInput({field: ["The file is not PEM text."]}) from None


def _names_the_inbox(settings: SmtpSettings) -> bool:
    """Whether `.env` describes the local inbox as a server, as the first ones did: by its port, or by its usual one."""
    own = get_settings()
    if not is_loopback(settings.host) or not own.local_inbox_port:
        return False
    is_as_first_written = settings.security is Security.NONE and not settings.has_login and own.has_local_inbox
    return settings.port == own.local_inbox_port or (is_as_first_written and settings.port == LOCAL_INBOX_PORT)


def _first_sentence(error: InvalidInput) -> str:
    field, sentences = next(iter(error.errors.items()))
    return f"{VARIABLES.get(field, field)} in .env: {sentences[0]}"
