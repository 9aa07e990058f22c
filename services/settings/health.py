"""How a server is, from what mail and tests have met there: the one place that says so, for every process.

What is about one email or one recipient is not counted: ``retry_policy`` tells whose a failure is, and whoever notes
one brings a ``Meeting`` that was made of its verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import health_db, oauth_db, probe_db, smtp_db
from database.engine import driver_reading, reading, reading_in
from database.health_db import LONGEST_TALLY, ServerHealth
from database.oauth_db import OAuthSignIn
from database.probe_db import ServerProbe
from services.connecting.calendar import Ending
from services.outbox import reasons
from services.outbox.reasons import Reason
from services.settings import configs, connections, endings, offer_changes, sealing
from services.settings.connections import Connection
from services.settings.offer_changes import OfferChange
from services.settings.route import RouteStep
from services.settings.sealing import StoredConfig
from services.smtp import client_certificate
from services.smtp.settings import SmtpSettings
from utils import clock
from utils.encryption_utils import known_keys
from utils.json_shapes import Moment
from utils.same_names import shared

IN_A_ROW: Final = 5  # failures of a kind that passes, after which nothing gets out
TOO_LONG: Final = timedelta(minutes=10)  # of those without a success: likewise; and how long one is remembered
SOME: Final = 2  # of the last outcomes
FRESH: Final = timedelta(minutes=10)  # that a success is noted again, if nothing else is news
UNTESTED: Final = "These settings have not been tested yet."
_WENT, _FAILED = "o", "x"  # in a tally
ENV: Final = "env"  # the source of its step


class HealthState(StrEnum):
    """How a server is. UNUSABLE: it is not asked at all, since its stored settings cannot be used."""

    WORKING = "working"  # the last email got out, or the last test passed
    UNPROVEN = "unproven"  # nothing was tried with these settings
    STRUGGLING = "struggling"  # some emails are refused for reasons of the server
    PAUSED = "paused"
    DOWN = "down"  # nothing gets out
    UNUSABLE = "unusable"


LEVELS: Final = {
    HealthState.WORKING: "ok",
    HealthState.UNPROVEN: "warning",
    HealthState.STRUGGLING: "warning",
    HealthState.PAUSED: "warning",
    HealthState.DOWN: "error",
    HealthState.UNUSABLE: "error",
}


class What(StrEnum):
    """What a mail or a test met. ANSWERED: the server refused the one mail, and so it is there."""

    WENT = "went"
    ANSWERED = "answered"
    FAILED = "failed"
    PAUSED = "paused"  # it was not asked, or wants no more for now


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """What one mail, or a test, met at a server, and the ``reason`` as a code.

    ``is_broken``: we could not connect or sign in (``is_unreachable``), or it lasts until a person mends something.
    ``seconds`` is for how long the server is left alone after it. ``is_refused_sign_in``: it has refused our sign-in.
    """

    what: What
    reason: str = ""
    is_broken: bool = False
    is_unreachable: bool = False
    may_be_crowded: bool = False  # it has perhaps too many of our connections, and serves the others
    seconds: float = 0.0
    is_test: bool = False
    is_refused_sign_in: bool = False


@dataclass(frozen=True, kw_only=True)
class Health:
    """How a server is. ``reason`` is why, in words without a full stop; "" where there is nothing to say.

    ``since`` is when it went down, ``until`` when it is tried again (None: soon); ``failed`` of ``seen`` emails and
    tests were refused lately. ``ends`` says, in a sentence, what about it will end soon, or has.
    """

    state: HealthState
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None
    last_success: datetime | None = None
    last_failure: datetime | None = None
    failed: int = 0
    seen: int = 0
    ends: str = ""
    endings: tuple[Ending, ...] = ()
    is_unreachable: bool = False  # it could not be connected or signed in to
    in_a_row: int = 0  # failures since a mail got out, a test passed, or it was seen to be back
    refusals: int = 0  # sign-ins that it refused in a row, whoever tried
    looked_at: datetime | None = None  # when it last answered a look without an email
    changes: tuple[OfferChange, ...] = ()  # of what it offers
    connection: Connection | None = None  # its sign-in by token, in use or prepared

    @property
    def needs_sign_in(self) -> bool:
        """Whether somebody has to sign in again, or mend what is registered at the provider."""
        return self.connection is not None and self.connection.serves and self.connection.needs_sign_in

    @property
    def level(self) -> str:
        """The look of it on a page: ok, warning or error."""
        level = LEVELS[self.state]
        return "warning" if level == "ok" and (self.ends or self.needs_sign_in or self.loud_changes) else level

    @property
    def loud_changes(self) -> str:
        """What is new of its offers and may keep mail from going, in sentences; "" if nothing is."""
        return offer_changes.in_sentences(self.changes)

    @property
    def is_down(self) -> bool:
        return self.state is HealthState.DOWN

    @property
    def has_trouble(self) -> bool:
        """Whether mail does not go as it should, as far as anyone knows."""
        return self.state not in (HealthState.WORKING, HealthState.UNPROVEN)

    @property
    def is_doubtful(self) -> bool:
        """Whether to ask, and to offer a test, before mail is made to go through it."""
        never_worked = self.has_trouble and self.last_success is None
        return never_worked or self.state in (HealthState.UNPROVEN, HealthState.DOWN, HealthState.UNUSABLE)

    @property
    def sentence(self) -> str:
        """What there is to say of it; "" for a server that works, and that nothing of ends soon."""
        return " ".join(filter(None, (self._told, self.ends, self.loud_changes)))

    @property
    def _told(self) -> str:
        told = self.reason
        if self.connection and self.needs_sign_in and self.state is not HealthState.UNUSABLE:
            return self.connection.told
        match self.state:
            case HealthState.UNPROVEN:
                return UNTESTED
            case HealthState.WORKING | HealthState.UNUSABLE:
                return told
            case HealthState.STRUGGLING:
                many = f"{self.failed} of its last {self.seen} attempts" if self.seen > self.failed else ""
                told = f"{many or 'Its last attempt'} failed: {told}."
            case HealthState.PAUSED if self.until:
                told = f"Paused until {clock.readable(self.until)}: {told}."
            case HealthState.DOWN if self.since:
                told = f"Down since {clock.readable(self.since)}: {told}."
        return told


@dataclass(frozen=True, kw_only=True)
class HealthData:
    """How a server is, as the API answers it."""

    state: str
    reason: str
    since: Moment | None
    until: Moment | None
    last_success: Moment | None
    ends: str
    looked_at: Annotated[Moment | None, Field(description="When it last answered a look without an email.")]
    offer_changes: Annotated[list[str], Field(description="What it offers otherwise than before, of the last week.")]


def data(known: Health) -> HealthData:
    """What may be shown of it to who may see the server."""
    return HealthData(offer_changes=[each.sentence for each in known.changes], **shared(HealthData, known))


def of_config(stored: StoredConfig) -> Health:
    """How a stored server is, active or not."""
    return of_configs([stored])[stored.row.id]


def of_changed(stored: StoredConfig) -> Health:
    """The same of one that was just changed: that is done, so where the database fails now the row alone tells."""
    try:
        return of_config(stored)
    except SQLAlchemyError:
        return _of_stored(stored, None, None)


def of_configs(found: Sequence[StoredConfig], session: Session | None = None) -> dict[int, Health]:
    """The same for several, by their ids, in one question; in the caller's session if there is one."""
    with reading_in(session) as own:
        rows = health_db.of(own, [owner_of(each.row.id) for each in found])
        sign_ins = oauth_db.of(own, [each.row.id for each in found])
        probes = probe_db.of(own, [owner_of(each.row.id) for each in found])
    return {
        each.row.id: _looked_at(
            _of_stored(each, rows.get(owner_of(each.row.id)), sign_ins.get(each.row.id)),
            probes.get(owner_of(each.row.id)),
            each.settings if each.is_usable else None,
        )
        for each in found
    }


def of_step(step: RouteStep) -> Health:
    """How a server of a route is: a stored one, or that of `.env`."""
    if step.settings is None:
        return Health(state=HealthState.UNUSABLE, reason=step.reason)
    with reading() as session:
        row = health_db.find(session, step.owner)
        config = smtp_db.find(session, step.config_id) if step.config_id is not None else None
        stored = configs.as_used(session, config) if config else None
        sign_in = oauth_db.find(session, config.id) if config else None
        probe = probe_db.find(session, step.owner)
    if stored is not None:
        return _looked_at(_of_stored(stored, row, sign_in), probe, stored.settings if stored.is_usable else None)
    known = row if _is_of(row, step.settings) else None
    found = _with_endings(judged(known), endings.of_step(step), step.settings)
    return _looked_at(found, probe, step.settings)


def judged(
    row: ServerHealth | None,
    *,
    verified_at: datetime | None = None,
    problem: str = "",
    last_error: str = "",
    now: datetime | None = None,
) -> Health:
    """How a server is of which this is known, if anything; ``verified_at`` is when its settings passed a test.

    ``last_error`` was noted before anything was known here, by an earlier version.
    """
    now = now or clock.now()
    if problem:
        return Health(state=HealthState.UNUSABLE, reason=problem)
    success = max((at for at in (row and row.ok_at, verified_at) if at), default=None)
    if row is None and last_error:
        return Health(state=HealthState.STRUGGLING, reason=last_error, failed=1)
    if row is None:
        return Health(state=HealthState.WORKING if success else HealthState.UNPROVEN, last_success=success)
    told = reasons.words(row.reason)
    until = row.paused_until if row.paused_until and row.paused_until > now else None
    failed, seen = row.tally.count(_FAILED), len(row.tally)
    is_failing = row.failing_since is not None and not (success and row.failed_at and success > row.failed_at)
    if is_failing and _is_down(row):
        state = HealthState.DOWN
    elif until:
        state = HealthState.PAUSED
    elif is_failing or (failed >= SOME and row.failed_at and now - row.failed_at < TOO_LONG):
        state = HealthState.STRUGGLING
    else:
        state, told = HealthState.WORKING if success else HealthState.UNPROVEN, ""
    since = row.failing_since if state is HealthState.DOWN else None
    return Health(
        state=state,
        reason=told,
        since=since,
        until=until,
        last_success=success,
        last_failure=row.failed_at,
        failed=max(failed, 1),
        seen=seen,
        is_unreachable=row.is_unreachable,
        in_a_row=row.failures,
        refusals=row.refusals,
    )


def has_news(step: RouteStep) -> bool:
    """Whether a success at this server is to be noted: something else stands there, or that was long ago."""
    known = step.quiet
    if known is None:
        with driver_reading() as driver:
            known = health_db.last_quiet(driver, step.owner)
    return known.fingerprint != step.fingerprint or known.ok_at is None or clock.now() - known.ok_at > FRESH


def note(
    session: Session, owner: str, config_id: int | None, fingerprint: str, meetings: Sequence[Meeting]
) -> ServerHealth:
    """Write down what was met at a server with these settings, in this order; whatever was known of others is void."""
    row = health_db.held(session, owner)
    if row is None:
        row = ServerHealth(server=owner, config_id=config_id, fingerprint="")
        session.add(row)
    if row.fingerprint != fingerprint:
        row.fingerprint, row.tally, row.reason = fingerprint, "", ""
        row.ok_at, row.failed_at, row.refusals = None, None, 0
        _end_failure(row)
    for meeting in meetings:
        _noted(row, meeting, clock.now())
    return row


def owner_of(config_id: int) -> str:
    """By what name a stored server is known here."""
    return f"config:{config_id}"


def _of_stored(stored: StoredConfig, row: ServerHealth | None, sign_in: OAuthSignIn | None) -> Health:
    known = row if stored.is_usable and _is_of(row, stored.settings) else None
    connection = connections.of(stored, sign_in)
    found = judged(
        known,
        verified_at=stored.row.verified_at if stored.is_verified else None,
        problem=stored.problem or connections.missing(stored, connection),
        last_error=stored.row.last_error or "",
    )
    if connection:
        found = _with_connection(found, connection, known)
    return _with_endings(found, endings.of_stored(stored, sign_in), stored.settings)


def _with_connection(found: Health, connection: Connection, row: ServerHealth | None) -> Health:
    """With how it is connected: without a token nothing gets out, whether a mail has met that yet or not."""
    if not connection.serves or found.state is HealthState.UNUSABLE:
        return replace(found, connection=connection)
    met = reasons.code_of(row.reason) if row and found.is_down else ""
    if met == Reason.TOKEN_DEAD or (met == Reason.SIGN_IN and not connection.is_app_only):
        connection = connections.refused(connection, found.since)
    if not connection.needs_sign_in:
        return replace(found, connection=connection)
    told = reasons.words(Reason.TOKEN_DEAD)
    if connection.good_until:
        return replace(found, reason=told, connection=connection)
    since = found.since or connection.since
    return replace(found, state=HealthState.DOWN, reason=told, since=since, until=None, connection=connection)


def _with_endings(found: Health, ending: tuple[Ending, ...], settings: SmtpSettings) -> Health:
    """With what will end; where nothing does soon, with what else is to be said of our client certificate."""
    own = client_certificate.facts_of(settings.client_certificate)
    soon = next((each.sentence for each in ending if each.is_soon), "")
    return replace(found, ends=soon or (own.trouble if own else ""), endings=ending)


def _looked_at(found: Health, probe: ServerProbe | None, settings: SmtpSettings | None) -> Health:
    """With what looks at it have shown, if they were at exactly these settings."""
    if probe is None or settings is None or not _is_of(probe, settings):
        return found
    return replace(found, looked_at=probe.looked_at, changes=offer_changes.of_row(probe))


def _is_of(row: ServerHealth | ServerProbe | None, settings: SmtpSettings) -> bool:
    """Whether what is known is of exactly these settings."""
    if row is None:
        return False
    return any(row.fingerprint == sealing.fingerprint(settings, key) for key in known_keys().values())


def _is_down(row: ServerHealth) -> bool:
    """Whether nothing gets out, and not only the last email did not."""
    lasted = row.failed_at - row.failing_since if row.failed_at and row.failing_since else timedelta(0)
    return row.is_broken or row.failures >= IN_A_ROW or (row.failures >= SOME and lasted >= TOO_LONG)


def _noted(row: ServerHealth, meeting: Meeting, now: datetime) -> None:
    if meeting.is_refused_sign_in:
        row.refusals += 1
    elif meeting.what in (What.WENT, What.ANSWERED):
        row.refusals = 0
    if meeting.what is What.WENT:
        _note_success(row, meeting, now)
    elif meeting.what is What.ANSWERED:
        if row.is_unreachable:  # it is there again, be it that it would not have this mail
            _end_failure(row)
    elif meeting.what is What.PAUSED:
        if row.failing_since is not None and _is_down(row):  # which says more
            return
        row.paused_until, row.reason = now + timedelta(seconds=meeting.seconds), meeting.reason
    else:
        row.failing_since = row.failing_since or now
        row.failed_at, row.failures, row.reason = now, row.failures + 1, meeting.reason
        serves = meeting.may_be_crowded and row.ok_at is not None and now - row.ok_at < 2 * FRESH
        row.is_broken = row.is_broken or (meeting.is_broken and not serves)
        row.is_unreachable = meeting.is_unreachable
        row.tally = f"{row.tally}{_FAILED}"[-LONGEST_TALLY:]
        row.paused_until = now + timedelta(seconds=meeting.seconds) if meeting.seconds else None


def _note_success(row: ServerHealth, meeting: Meeting, now: datetime) -> None:
    was_down = row.failing_since is not None and _is_down(row)
    is_paused = row.paused_until is not None and row.paused_until > now
    # A test that sends no mail says nothing of how many emails the server still takes.
    if not (meeting.is_test and is_paused and not was_down):
        _end_failure(row)
    row.ok_at = now
    row.tally = "" if was_down or not row.tally else f"{row.tally}{_WENT}"[-LONGEST_TALLY:]
    if _FAILED not in row.tally:
        row.tally = row.reason = ""


def _end_failure(row: ServerHealth) -> None:
    row.failing_since = row.paused_until = None
    row.failures, row.is_broken, row.is_unreachable = 0, False, False
