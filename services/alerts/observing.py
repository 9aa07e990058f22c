"""Looking for trouble: what each rule finds now, each by a handful of bounded questions."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from flask import Flask, current_app

from database import alert_db, alert_facts_db, outbox_db, outbox_turn_db
from database.engine import reading
from services.alerts.rules import RuleInForce, RuleName
from services.alerts.states import Sighting
from services.checks import outlook
from services.connecting.calendar import Ending
from services.outbox import log
from services.settings import endings, health, route
from services.settings.route import RouteStep
from services.worker import pulse, threads
from utils import clock
from utils.numbers import counted
from utils.private_files import RECEIPTS

SERVER_PAGE: Final = "Open Mail servers, and test it."
ALL: Final = ""  # the subject of an alert that is about all mail
SILENT: Final = timedelta(minutes=2)  # without a sign of life, after which no worker counts as running
_WINDOW: Final = timedelta(hours=1)
_PROBE: Final = b"x" * 4096
NO_DATABASE: Final = Sighting(
    headline="The database does not respond, or cannot be written to.",
    remedy="Check the database server and its disk. Email that is queued waits until it is back.",
)

AlertPlace = tuple[RuleName, str]  # a rule and its subject
Sightings = dict[AlertPlace, Sighting]


def look(rules: Mapping[RuleName, RuleInForce]) -> Sightings:
    """All trouble that these rules find, but for that of the storage. Raises SQLAlchemyError."""
    found: Sightings = {}
    for name, rule in rules.items():
        if name in _LOOKS:
            found |= {(name, subject): finding for subject, finding in _LOOKS[name](rule)}
    return found


def disk_fault(folder: Path) -> Sighting | None:
    """Whether nothing can be written where emails are noted while the database is away.

    That folder is made when it is needed, so that beside PostgreSQL often only one above it is there.
    """
    place = next(each for each in (folder / RECEIPTS, folder, *folder.parents) if each.is_dir())
    try:
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(_PROBE)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return Sighting(
            headline=f"The disk cannot be written to: {error.strerror or 'it failed'}.",
            remedy="Free some space, or make it writable. What happens to email may not be recorded.",
        )
    return None


def _no_mail(rule: RuleInForce) -> Iterator[tuple[str, Sighting]]:
    with reading() as session:
        waiting = outbox_db.waiting(session)
        is_stuck = outbox_db.is_stuck(session, log.HALTED, clock.now())
        has_accepted = alert_facts_db.has_accepted(session, clock.now() - timedelta(minutes=rule.amount))
    if not waiting.mails or route.is_suppressed():
        return
    is_halted = (is_stuck and not has_accepted) or outlook.look(has_configs=True).is_outage
    if is_halted:
        emails = f"{counted(waiting.mails, 'email')} {'is' if waiting.mails == 1 else 'are'} waiting"
        oldest = f", the oldest since {clock.readable(waiting.oldest)}" if waiting.oldest else ""
        told = next(filter(None, _troubles()), "")
        yield (
            ALL,
            Sighting(headline=" ".join(filter(None, (f"No email gets out. {emails}{oldest}.", told))), remedy=_FIX),
        )


def _servers(_rule: RuleInForce) -> Iterator[tuple[str, Sighting]]:
    for step in _steps():
        if told := _trouble_of(step):
            yield step.owner, Sighting(headline=told, remedy=SERVER_PAGE)


def _troubles() -> Iterator[str]:
    return map(_trouble_of, _steps())


def _trouble_of(step: RouteStep) -> str:
    """What is wrong with a server of the route; "" where it may be used, or is none."""
    if step.settings is None:
        return f"{step.name} cannot be used: {step.reason}" if step.is_broken else ""
    named = f"{step.name} ({step.settings.host})"
    known = health.of_step(step)
    if known.needs_sign_in:
        return f"{named} needs a new sign-in."
    return f"{named} is down: {known.reason}." if known.is_down else ""


def _waiting(rule: RuleInForce) -> Iterator[tuple[str, Sighting]]:
    with reading() as session:
        due = outbox_turn_db.oldest_due(session, clock.now() - timedelta(minutes=rule.amount))
    if due is not None:
        headline = f"Email that was due at {clock.readable(due)} has not been sent."
        yield ALL, Sighting(headline=headline, remedy="Open the mail log, and check that a worker is running.")


def _refusals(rule: RuleInForce) -> Iterator[tuple[str, Sighting]]:
    with reading() as session:
        found = alert_facts_db.refusals(session, clock.now() - _WINDOW)
    if found.attempts >= (rule.least or 1) and found.refused * 100 > rule.amount * found.attempts:
        percent = round(found.refused * 100 / found.attempts)
        headline = f"Servers refused {found.refused} of {found.attempts} emails within an hour ({percent} %)."
        yield ALL, Sighting(headline=headline, remedy="Open the mail log to see why.")


def _endings(rule: RuleInForce) -> Iterator[tuple[str, Sighting]]:
    for step in _steps():
        first = next((each for each in endings.of_step(step) if _is_near(each, rule.amount)), None)
        if first is not None:
            yield step.owner, Sighting(headline=f"{step.name}: {first.words}", remedy=first.remedy)


def _is_near(ending: Ending, days: int) -> bool:
    """Whether it is over, as far as that is certain, or will be within so many days."""
    return ending.is_soon if ending.is_over else ending.days_left <= days


def _worker(_rule: RuleInForce) -> Iterator[tuple[str, Sighting]]:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    with reading() as session:
        last = alert_db.pulse(session, pulse.WORKER)
    if last is not None and clock.now() - last.at > SILENT:
        yield ALL, Sighting(headline=f"No worker has run since {clock.readable(last.at)}.", remedy=_START)
    elif threads.is_alive(app) is False:
        yield ALL, Sighting(headline="The worker of a process has stopped.", remedy="Restart the application.")
    elif log.is_unattended():
        yield ALL, Sighting(headline="Email is due, and no worker takes it.", remedy=_START)


def _steps() -> Iterator[RouteStep]:
    return (step for step in route.steps() if not step.is_local_inbox)


_FIX: Final = "Open Mail servers to see what to do. Email goes out by itself once a server works."
_START: Final = "Start the application, or run: flask mail worker"
_LOOKS: Final[Mapping[RuleName, Callable[[RuleInForce], Iterator[tuple[str, Sighting]]]]] = {
    RuleName.NO_MAIL: _no_mail,
    RuleName.SERVER: _servers,
    RuleName.WAITING: _waiting,
    RuleName.REFUSALS: _refusals,
    RuleName.ENDINGS: _endings,
    RuleName.WORKER: _worker,
}
