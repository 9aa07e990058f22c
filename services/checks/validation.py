"""What `flask smtp validate` checks before a deploy is called done: each finding as it is made, with its remedy."""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from database import outbox_db, outbox_turn_db, reset_request_db, schema_db, user_db
from database.engine import reading
from database.outbox_db import IN_HAND, WAITING
from services.checks import connection_test, noting, outlook, start
from services.checks.connection_test import TestPlan, TestResult
from services.checks.readiness import NO_DATABASE
from services.connecting.calendar import EndOf
from services.diagnosis import diagnosis
from services.diagnosis.picture import Picture
from services.gallery import showing
from services.outbox import holding, log
from services.settings import configs, endings, health, key_rotation, route, rules
from services.settings.fields import parse_address_field
from services.settings.key_rotation import Role, Status
from services.settings.route import RouteStep
from services.smtp import client_certificate, dial
from services.smtp.client import Step
from services.smtp.settings import SmtpSettings
from services.smtp.wire import Deadline, WireError
from utils import clock
from utils.addresses import ip_literal, is_loopback
from utils.encryption_utils import current_key_id
from utils.env_utils import get_base_url, get_settings
from utils.errors import Phase, Temporary
from utils.numbers import counted

DNS_SECONDS: Final = 10.0
OVERDUE: Final = timedelta(minutes=5)  # a running application answers within seconds
SEE_STATUS: Final = "See why: flask mail status"
ADD_ONE: Final = "Create one: flask smtp add NAME --host HOST --from ADDRESS --activate; or set EMAIL_HOST in .env."
NO_ADMINISTRATOR: Final = "There is no administrator yet. Pass the address: --test-email ADDRESS"
MIGRATE: Final = "Check DATABASE_URL and run: flask db upgrade"


class Mark(StrEnum):
    """What a finding means. BEGUN announces something that takes a while."""

    OK = "ok"
    FAILED = "failed"
    INFO = "info"
    BEGUN = "begun"


@dataclass(frozen=True)
class Told:
    """One line of a check; a failed one says in ``remedy`` what to do, a good one what it does not prove."""

    mark: Mark
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """A question with its findings, made while they are read. It holds unless one of them failed."""

    title: str
    findings: Callable[[], Iterator[Told]]


def checks(test_email: str | None = None) -> list[Check]:
    """The checks in their order.

    ``test_email`` is where a test mail goes: "" means the first administrator, None that no mail is sent.
    Raises InvalidInput for what is no address.
    """
    to = parse_address_field("test_email", test_email) if test_email else test_email
    questions: list[tuple[str, Callable[[], Iterator[Told]]]] = [
        ("Email/SMTP Configuration", lambda: _configuration(to)),
        ("Encryption Key", _keys),
        ("Route", _route),
        ("BASE_URL", _base_url),
        ("DNS", _dns),
        ("Pending Mail", _pending),
    ]
    return [Check(title, without_a_crash(findings)) for title, findings in questions]


def first_administrator() -> str:
    """The address of the first administrator, or ""."""
    with reading() as session:
        return next(iter(user_db.administrator_emails(session)), "")


def without_a_crash(findings: Callable[[], Iterator[Told]]) -> Callable[[], Iterator[Told]]:
    """A database that is away fails the check that needs it; the others are still made."""

    def run() -> Iterator[Told]:
        try:
            yield from findings()
        except SQLAlchemyError as error:
            needed = start.upgrade_needed(error)
            yield Told(Mark.FAILED, start.NOT_READY, needed) if needed else Told(Mark.FAILED, NO_DATABASE, MIGRATE)

    return run


def _configuration(to: str | None) -> Iterator[Told]:
    for doubt in start.doubts():
        yield Told(Mark.INFO, doubt)
    for broken in showing.broken():
        yield Told(Mark.FAILED, str(broken.fault), broken.state)
    first, used = next(route.steps()), route.first_of(route.steps())
    if first.reason == schema_db.UPGRADE:  # what is stored cannot be seen yet
        yield Told(Mark.FAILED, start.NOT_READY, first.reason)
        return
    if not first.settings and first.config_id is not None:
        yield Told(Mark.FAILED, f"SMTP config in the database cannot be used: {first.name}", first.reason)
    if used is None or used.settings is None:
        yield Told(Mark.FAILED, diagnosis.NOT_CONFIGURED, ADD_ONE)
        return
    yield Told(Mark.INFO, _source(used))
    yield Told(Mark.OK, "SMTP configuration looks valid")
    yield from _client_certificates(used.settings)
    yield from _endings(used)
    yield Told(Mark.BEGUN, "Testing SMTP connection...")
    address = to or first_administrator()
    if to == "" and not address:
        yield Told(Mark.FAILED, "No address for the test email", NO_ADMINISTRATOR)
        return
    prepared = connection_test.plan(
        used.settings,
        to=address if to is not None else "",
        rcpt=first_administrator(),
        also=to or "",
        config_name=used.name,
        server=used,
    )
    yield from _tested(prepared, used, address if to is not None else None)


def _client_certificates(used: SmtpSettings) -> Iterator[Told]:
    """Of the server that is used, whether from the database or from `.env`; and of each that is stored beside it."""
    own = client_certificate.facts_of(used.client_certificate)
    if own and own.has_expired:
        yield Told(Mark.FAILED, "The client certificate has expired", own.trouble)
    elif own:
        yield Told(Mark.INFO, own.trouble or f"Client certificate: {own.subject}, {own.days_left} days left")
    for stored in configs.search():
        if stored.certificate_trouble and stored.settings.client_certificate != used.client_certificate:
            yield Told(Mark.INFO, f"{stored.row.name}: {stored.certificate_trouble}")


def _endings(used: RouteStep) -> Iterator[Told]:
    """What else of it will end."""
    for ending in endings.of_step(used):
        if ending.is_near and ending.what is not EndOf.CLIENT_CERTIFICATE:
            yield Told(Mark.INFO, ending.words, ending.remedy)


def _source(used: RouteStep) -> str:
    if used.config_id is not None:
        return f"Using SMTP config from database: {used.name}"
    return "Using the local inbox" if used.is_local_inbox else "Using SMTP config from .env"


def _tested(prepared: TestPlan, used: RouteStep, to: str | None) -> Iterator[Told]:
    for item in connection_test.stream(prepared):
        if isinstance(item, Step):
            if item.status == "warning":
                yield Told(Mark.INFO, f"{diagnosis.STEP_LABELS[item.name]}: {item.fact}")
            continue
        yield _verdict(item, to)
        noting.note_test(prepared.settings, item, used.config_id)


def _verdict(result: TestResult, to: str | None) -> Told:
    if not result.ok:
        said = f" The server said: {result.server_line}" if result.server_line else ""
        return Told(Mark.FAILED, result.message, f"{result.remedy}{said}")
    if to is None:
        return Told(Mark.OK, f"{result.headline}; no email was sent", result.caveat)
    return Told(Mark.OK, f"Test email sent successfully to {to}", result.caveat)


def _keys() -> Iterator[Told]:
    state = key_rotation.status()
    yield Told(Mark.INFO, f"Current key: {current_key_id()}")
    rows = sum(use.rows for use in state.keys)
    for refusal in state.refused:
        if refusal.row.account_id is None:
            yield Told(Mark.FAILED, f"{refusal.row} cannot be read", refusal.reason)
        else:  # which its owner is told, and no deploy has to wait for
            yield Told(Mark.INFO, f"{refusal.row} cannot be read, until its account saves it again")
    if rows > len(state.refused):
        yield Told(Mark.OK, f"{counted(rows - len(state.refused), 'mail server')} can be read")
    elif not rows:
        yield Told(Mark.OK, "No mail server is stored")
    if state.to_rotate:
        yield Told(Mark.INFO, f"{_due(state)} sealed with a previous key: flask keys rotate")


def _due(state: Status) -> str:
    rows = sum(use.rows for use in state.keys if use.role is Role.PREVIOUS)
    return counted(rows, "mail server") if rows else f"{counted(state.to_rotate, 'other item')}"


def _route() -> Iterator[Told]:
    used = route.first_of(route.steps())  # which asks no further than needed, and is asked again for the rest
    for step in route.steps():
        yield _step(step, used)
    if used is None:
        yield Told(Mark.FAILED, "No mail can be sent", ADD_ONE)
    if route.is_suppressed():
        yield Told(Mark.INFO, route.NOTHING_IS_SENT)


def _step(step: RouteStep, used: RouteStep | None) -> Told:
    """Its place, and how it is as far as mail and tests have met it."""
    place = f"{step.name} ({step.settings.host}:{step.settings.port})" if step.settings else step.name
    if step.settings:
        is_used = used is not None and used.source == step.source
        known = None if step.is_local_inbox else health.of_step(step)
        if is_used and known and known.is_down:
            to_do = f"flask smtp connect {shlex.quote(step.name)}" if known.needs_sign_in else outlook.SEE_WHY
            return Told(Mark.FAILED, f"{place}: {known.sentence}", to_do)
        told = f"{place}: {step.reason}{'' if is_used else ' Standby.'} {known.sentence if known else ''}".strip()
        return Told(Mark.OK if is_used and not (known and known.has_trouble) else Mark.INFO, told)
    if step.is_broken:
        return Told(Mark.FAILED, f"{place} is skipped", step.reason)
    return Told(Mark.INFO, f"{place} is skipped: {step.reason}")


def _base_url() -> Iterator[Told]:
    settings, url = get_settings(), get_base_url()
    local = is_loopback(settings.base_host)
    if closed := start.closed_links():
        yield Told(Mark.FAILED, closed, start.SET_BASE_URL)
        return
    yield Told(Mark.OK, f"Links in emails start with {url}")
    if local:
        yield Told(Mark.INFO, "Only this machine can open them, which is fine for development")
    elif not settings.is_https:
        yield Told(Mark.INFO, "Not https: anyone on the network could use a reset link")


def _dns() -> Iterator[Told]:
    used = route.first_of(route.steps())
    if used is None or used.settings is None:
        yield Told(Mark.INFO, "No mail server to look up")
        return
    host = used.settings.host
    try:
        ours = get_settings()
        resolver, allowed = ours.dns_resolver, rules.allowed_for(used.settings, ours)
        addresses, left_out = dial.look_up(host, Deadline(DNS_SECONDS), resolver, allowed)
    except WireError as error:
        told = diagnosis.diagnose(Temporary(Phase.DNS, error.fault, error.text), Picture(settings=used.settings))
        yield Told(Mark.FAILED, f"{host}: {error.text}", told.remedy)
        return
    if ip_literal(host):
        yield Told(Mark.OK, f"{host} is an address and needs no lookup")
    else:
        yield Told(Mark.OK, f"{host} has {', '.join(map(str, addresses))}")
    for address, reason in left_out.items():
        yield Told(Mark.INFO, f"{host} also has {address}, {reason}, which is not used")


def _pending() -> Iterator[Told]:
    now = clock.now()
    with reading() as session:
        requests, asked_at = reset_request_db.waiting(session)
        states = outbox_db.counts(session)
        due_at = outbox_turn_db.oldest_due(session, now)
    # A password reset is a request before it is a mail: both wait for the same worker.
    mails = sum(states.get(state, 0) for state in (*WAITING, *IN_HAND))
    found = [
        (f"{counted(count, what)} waiting", since)
        for count, what, since in ((requests, "password reset", asked_at), (mails, "email", due_at))
        if count
    ]
    held = holding.count()
    if held:
        yield Told(Mark.INFO, f"{counted(held, 'email')} held", holding.WHAT_TO_DO)
    if not found and not held:
        yield Told(Mark.OK, "No email is waiting")
    nobody = not mails or log.is_unattended()
    for text, since in found:
        if since and now - since > OVERDUE:
            yield Told(Mark.FAILED, f"{text} since {clock.readable(since)}", log.NOBODY_SENDS if nobody else SEE_STATUS)
        else:
            yield Told(Mark.INFO, f"{text} since {clock.readable(since)}" if since else f"{text} for a later time")
