"""Looking at servers while no mail goes through them, so that nobody has to find out that one is down, or back.

One look at a time: whichever process has the row of a server looks, and the others leave it for that period. What comes
of it is noted as what a mail meets. A sign-in that was refused is tried ever less: wrong passwords lock accounts.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import attempt_db, outbox_db, probe_db
from database.engine import reading, transaction
from database.probe_db import ServerProbe
from services.delivery import looking, record
from services.delivery.looking import LookResult, ServerLook
from services.oauth import keeping
from services.settings import health, offer_changes, route
from services.settings.health import Health, HealthState, Meeting, What
from services.settings.offer_changes import OfferChange
from services.settings.personal_route import UnusableAccount
from services.settings.route import RouteStep
from services.smtp import offers
from services.smtp.patience import Span
from services.smtp.settings import NO_PASSWORD, Bearer, SmtpSettings
from utils import clock, incidents
from utils.clock_watch import JUMP, ClockWatch
from utils.env_utils import get_settings
from utils.log_utils import logged
from utils.secret import Secret

log = structlog.get_logger(__name__)

SOON: Final = timedelta(minutes=1)  # after the first failure, which may have been a moment's
AGAIN: Final = timedelta(minutes=5)
# After one refused sign-in, two, and more; from MOST_REFUSALS on it is left to mail, and to people.
AGAIN_SIGNING_IN: Final = (timedelta(minutes=30), timedelta(hours=2), timedelta(days=1))
MOST_REFUSALS: Final = 9
OF_ACCOUNTS: Final = timedelta(days=1)  # between two looks at an account's own server for which no mail waits
_JITTER: Final = 0.2
_WITHOUT_SIGN_IN: Final = {"username": "", "password": NO_PASSWORD, "bearer": None}


class Probing:
    """One round at a time of a process, on a thread of its own: a silent server holds up nothing else."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._prober = Prober()
        self._round: threading.Thread | None = None

    def begin(self) -> None:
        """Begin a round, unless the last one is still under way."""
        if self._round is None or not self._round.is_alive():
            self._round = threading.Thread(target=incidents.watched(self._look), name="server-look", daemon=True)
            self._round.start()

    def end(self, seconds: float) -> None:
        """End what is under way; nothing is at stake in it."""
        self._prober.end()
        if self._round is not None:
            self._round.join(seconds)

    def _look(self) -> None:
        with logged(log.error, "servers_not_looked_at", SQLAlchemyError), self._app.app_context():
            self._prober.look()


class Prober:
    """Looks at the server whose turn it is, if there is one. ``seconds`` is the clock that nobody sets."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._clock = ClockWatch(seconds)
        self._span: Span | None = None
        self._is_ended = False

    def end(self) -> None:
        """End what is under way, from another thread, and look no more."""
        self._is_ended = True
        if span := self._span:
            span.end()

    def look(self) -> bool:
        """Look at one server, or at none; whether it did. In an application context."""
        self._clock.look()
        period = timedelta(minutes=get_settings().probe_minutes)
        if not period or route.is_suppressed():  # of a copy of production, no server is to hear
            return False
        return any(self._has_looked(step, each) for step, each in _candidates(period) if not self._is_ended)

    def _has_looked(self, step: RouteStep, period: timedelta) -> bool:
        found = health.of_step(step)
        known = _row_of(step, found, period)
        if known is None or not self._is_due(step, known, found, period):
            return False
        values: dict[str, object] = {"begun_at": clock.now(), "spread": random.random()}  # noqa: S311 - no secret
        if known.fingerprint != step.fingerprint:
            values |= {"fingerprint": step.fingerprint, "offers": None, "changes": [], "looked_at": None, "refusals": 0}
        with transaction(durable=False) as session:
            is_ours = probe_db.claim(session, known.server, known.turns, **values)
        if is_ours and step.settings is not None:
            self._look_at(step, step.settings, known, found)
        return is_ours

    def _is_due(self, step: RouteStep, known: ServerProbe, found: Health, period: timedelta) -> bool:
        now, is_new = clock.now(), known.fingerprint != step.fingerprint
        refusals = found.refusals + (0 if is_new else known.refusals)
        gap = _gap(found, refusals, period)
        if gap is None or found.state is HealthState.PAUSED:
            return False
        if refusals and self._clock.is_doubted(gap.total_seconds()):
            return False
        moments = [at for at in (found.last_success, found.last_failure) if at]
        moments += [known.begun_at] if known.begun_at and not is_new else []
        past = [at for at in moments if at <= now + timedelta(seconds=JUMP)]
        if moments and not past:  # noted by a clock that was ahead: the gap begins anew
            _begin_gap(known, step)
            return False
        gap = _spread(gap, known, is_refused=bool(refusals), is_usual=gap == period)
        return all(now - at >= gap for at in past) and not _has_sent(step, now - gap, now)

    def _look_at(self, step: RouteStep, settings: SmtpSettings, known: ServerProbe, found: Health) -> None:
        self._span = Span(looking.SECONDS)
        if self._is_ended:
            return
        seen = looking.look_at(step, _as_looked_with(settings), self._span)
        self._span = None
        log.info("server_looked_at", server=step.name, config_id=step.config_id, result=seen.result.value)
        if seen.failure:
            record.note([seen.failure])
        elif seen.result is LookResult.GOOD and seen.has_signed_in and (found.is_unreachable or found.refusals):
            record.note_met(step, Meeting(what=What.ANSWERED))
        with transaction(durable=False) as session:
            probe_db.note(session, known.server, known.turns + 1, _brought_up(session, step, settings, known, seen))


def _candidates(period: timedelta) -> Iterator[tuple[RouteStep, timedelta]]:
    """The servers to look at, and how often each."""
    for step in route.steps():
        if step.settings is not None and not step.is_local_inbox:
            yield step, period
    now = clock.now()
    rested = timedelta(seconds=period.total_seconds() * (1 - _JITTER))
    with reading() as session:
        found = probe_db.personal_due(
            session, with_mail_before=now - rested, before=now - OF_ACCOUNTS, now=now, refusals=MOST_REFUSALS
        )
    for each in found:
        try:
            step = next(route.steps(each.account_id))
        except UnusableAccount:
            _pass_over(each.config_id)
            continue
        if step.config_id != each.config_id or step.settings is None:
            _pass_over(each.config_id)
        else:
            yield step, period if each.has_mail else OF_ACCOUNTS


def _gap(found: Health, refusals: int, period: timedelta) -> timedelta | None:
    """How long to leave a server alone after whatever was heard of it last; None: for as long as it is as it is."""
    if refusals >= MOST_REFUSALS:
        return None
    if refusals:
        return max(period, AGAIN_SIGNING_IN[min(refusals, len(AGAIN_SIGNING_IN)) - 1])
    if found.is_unreachable:
        return min(period, AGAIN if found.in_a_row > 1 else SOON)
    return period


def _spread(gap: timedelta, known: ServerProbe, *, is_refused: bool, is_usual: bool) -> timedelta:
    """The gap with its jitter, which makes none shorter after a refusal."""
    if not (is_refused or is_usual):
        return gap
    spread = 1 - _JITTER + 2 * _JITTER * known.spread
    return gap * (max(1.0, spread) if is_refused else spread)


def _row_of(step: RouteStep, found: Health, period: timedelta) -> ServerProbe | None:
    """What was written down of looks at a server; a first row where there is none."""
    with reading() as session:
        known = probe_db.find(session, step.owner)
    if known is not None:
        return known
    # Each takes a place of its own in the period, so that not all are looked at in the same moment.
    is_known = found.last_success or found.last_failure
    place = (1 - _JITTER) * random.random()  # noqa: S311 - no secret
    begun_at = None if is_known else clock.now() - period * place
    return _added(step.owner, step.config_id, step.fingerprint, begun_at)


def _added(server: str, config_id: int | None, fingerprint: str, begun_at: datetime | None) -> ServerProbe | None:
    spread = random.random()  # noqa: S311 - no secret
    row = ServerProbe(server=server, config_id=config_id, fingerprint=fingerprint, begun_at=begun_at, spread=spread)
    probe_db.add(row)
    with reading() as session:
        return probe_db.find(session, server)


def _pass_over(config_id: int) -> None:
    """Leave an account's server that nobody may use now, for as long as others of accounts."""
    server = health.owner_of(config_id)
    with reading() as session:
        known = probe_db.find(session, server)
    if known is None:
        _added(server, config_id, "", clock.now())
    else:
        with transaction(durable=False) as session:
            probe_db.claim(session, server, known.turns, begun_at=clock.now())


def _begin_gap(known: ServerProbe, step: RouteStep) -> None:
    with transaction(durable=False) as session:
        probe_db.claim(
            session, known.server, known.turns, begun_at=clock.now(), spread=known.spread, fingerprint=step.fingerprint
        )


def _has_sent(step: RouteStep, since: datetime, until: datetime) -> bool:
    """Whether a mail went through the server since then, be it that nothing was noted of that."""
    with reading() as session:
        return attempt_db.last_accepted(session, step.config_id, step.name, since, until) is not None


def _as_looked_with(settings: SmtpSettings) -> SmtpSettings:
    """The settings for a look: with the token that lives, which is not renewed for this, or else without a sign-in."""
    bearer = settings.bearer
    if bearer is None:
        return settings
    token: Secret | None = bearer.token if isinstance(bearer.token, Secret) else None
    config_id = keeping.config_of(bearer)
    if config_id is not None:
        token = keeping.living_token(config_id)
    if not token:
        return replace(settings, **_WITHOUT_SIGN_IN)  # type: ignore[arg-type]
    return replace(settings, bearer=Bearer(bearer.grant, token))


def _brought_up(
    session: Session, step: RouteStep, settings: SmtpSettings, known: ServerProbe, seen: ServerLook
) -> dict[str, object]:
    """What is known of the looks at a server after this one."""
    is_same = known.fingerprint == step.fingerprint
    before = (known.offers or {}) if is_same else {}
    values: dict[str, object] = {"result": seen.result.value}
    if seen.result is LookResult.REFUSED_TOKEN:
        values["refusals"] = known.refusals + 1 if is_same else 1
    elif seen.has_signed_in:
        values["refusals"] = 0
    if seen.result in (LookResult.GOOD, LookResult.SLOW, LookResult.REFUSED_TOKEN):
        values["looked_at"] = clock.now()
    if seen.looked_at is None:
        values["offers"] = seen.offered
    if before and seen.looked_at != frozenset():
        earlier = offer_changes.of_row(known)
        is_size_new = before.get(offers.SIZE) != seen.offered.get(offers.SIZE)
        largest = outbox_db.largest_waiting(session) if is_size_new else 0
        changes = offer_changes.brought_up(
            earlier, before, seen.offered, seen.looked_at, settings=settings, largest=largest
        )
        _tell(step, earlier, changes)
        values["changes"] = offer_changes.as_json(changes)
    return values


def _tell(step: RouteStep, earlier: tuple[OfferChange, ...], changes: list[OfferChange]) -> None:
    """Write into the log what is new."""
    for change in changes:
        if change not in earlier:
            tell = log.warning if change.is_loud else log.info
            facts = {"what": change.what, "before": change.before, "after": change.after}
            tell("server_offers_changed", server=step.name, config_id=step.config_id, **facts)
