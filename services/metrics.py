"""Figures for Prometheus, asked of the database when they are scraped: each process of an installation tells the same.

No label holds an address, a host or a domain, nor a name that could be one. Counters begin anew with each month, so
that a scrape adds up no more hours than that has.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, time
from typing import Any, Final, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from database import alert_db, mail_hour_db, outbox_db, outbox_turn_db
from database.engine import reading
from database.mail_hour_db import BINS, NOT_QUEUED, TOOK_BINS, HourTotal
from database.outbox_db import SETTLED, Priority, State
from services.alerts.rules import RuleName
from services.alerts.states import AlertStage
from services.checks import outlook
from services.checks.outlook import MailFitness
from services.connecting.calendar import Ending, EndOf
from services.delivery.outcome import ACCEPTED, NOT_CONFIGURED, SUPPRESSED, THROTTLED
from services.outbox import figures, log
from services.outbox.reasons import Reason
from services.settings import configs, health, route
from services.settings.health import Health, HealthState
from services.settings.personal_route import OWN_NAME
from services.worker import pulse
from utils import clock, late
from utils.errors import Misconfigured, OutcomeUnknown, Permanent, Temporary

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OTHER: Final = "other"  # a server that is not stored any more, and whose name might tell where it was
NO_CONFIG: Final = "none"  # no server was asked
DIRECT: Final = "direct"  # in the place of a priority
NEVER_BEGUN: Final = "none"  # in the place of a phase
_PRIORITIES: Final = {each.value: each.name.lower() for each in Priority}
# What an email is after an attempt that came to this, if it is a queued one.
STATES: Final = {
    ACCEPTED: State.SENT,
    Temporary.outcome: State.DEFERRED,
    Permanent.outcome: State.FAILED,
    Misconfigured.outcome: State.DEFERRED,
    OutcomeUnknown.outcome: State.UNCERTAIN,
    NOT_CONFIGURED: State.DEFERRED,
    THROTTLED: State.DEFERRED,
    SUPPRESSED: State.SUPPRESSED,
}
_FITNESS: Final = {MailFitness.READY: 1.0, MailFitness.DEGRADED: 0.5, MailFitness.DOWN: 0.0}
_BROKEN: Final = (HealthState.DOWN, HealthState.UNUSABLE)
_LEFT_ALONE: Final = (HealthState.DOWN, HealthState.PAUSED)
_ENDINGS: Final = {
    "sealpost_token_expires_seconds": ("a sign-in by token", (EndOf.REFRESH_TOKEN,)),
    "sealpost_certificate_expires_seconds": (
        "a certificate",
        (EndOf.SERVER_CERTIFICATE, EndOf.CLIENT_CERTIFICATE, EndOf.OAUTH_CERTIFICATE),
    ),
    "sealpost_secret_expires_seconds": ("a client secret or a password", (EndOf.CLIENT_SECRET, EndOf.PASSWORD)),
}
_LISTED: Final = (Reason.LISTED_REFUSED, Reason.LISTED_COMPLAINT, Reason.LISTED_MANUAL, Reason.NOTHING_IS_SENT)
# An address, a host, a domain or an IP address, however its dots are written.
_MAY_BE_A_PLACE: Final = re.compile(r"@|＠|\w[.．。｡]\w|:\w*:|\blocalhost\b", re.IGNORECASE)

Samples = Mapping[Any, float]  # by the values of the labels, in their order


def text() -> bytes:
    """All figures, as Prometheus reads them. Where the database is away, that is what they say. Never raises for it."""
    exposition, core = late.load("prometheus_client.exposition"), late.load("prometheus_client.core")
    found: bytes = exposition.generate_latest(_Collected(core))
    return found


class _Server(NamedTuple):
    """A server of the system by its label, how it is, and whether mail goes through it or may."""

    label: str
    known: Health
    is_active: bool


class _Collected:
    """What ``generate_latest`` asks of a registry."""

    def __init__(self, core: Any) -> None:  # noqa: ANN401 - a module that is loaded late
        self._core = core

    def collect(self) -> Iterator[Any]:
        """Every metric with its samples, or that there is no database to ask."""
        with suppress(SQLAlchemyError):  # what was counted before is still good
            figures.count_up(briefly=True)
        families: list[Any] = []
        with suppress(SQLAlchemyError):
            families = [*self._of_attempts(), *self._of_queue(), *self._of_servers(), *self._of_machinery()]
        yield self._gauge("database_up", "Whether the database can be read.", {(): float(bool(families))})
        yield from families or [self._ready(MailFitness.DOWN)]

    def _of_attempts(self) -> Iterator[Any]:
        labels = _labels()
        with reading() as session:
            totals = mail_hour_db.totals(session, _beginning_of_month())
        asked = [each for each in totals if each.outcome != SUPPRESSED]
        mails: Counter[tuple[str, ...]] = Counter()
        attempts: Counter[tuple[str, ...]] = Counter()
        failures: Counter[tuple[str, ...]] = Counter()
        for config in {*labels.values(), *(_labelled(each, labels) for each in asked)}:
            # From zero on, since Prometheus sees no increase in what was not there before.
            attempts.update({(config, outcome): 0 for outcome in STATES if outcome != SUPPRESSED})
            mails.update({(state, config, name): 0 for state in _COUNTED for name in (*_PRIORITIES.values(), DIRECT)})
        for each in asked:
            config = _labelled(each, labels)
            mails[(_state_of(each), config, _PRIORITIES.get(each.priority, DIRECT))] += each.mails
            attempts[(config, each.outcome)] += each.mails
            if each.cause:
                failures[(config, each.cause)] += each.mails
        suppressed: Counter[tuple[str, ...]] = Counter({(reason.value,): 0 for reason in _LISTED})
        for each in totals:
            if each.outcome == SUPPRESSED:
                suppressed[(each.cause,)] += each.mails
        yield self._counter("mails", "Emails by what an attempt made of them.", mails, ("state", "config", "priority"))
        yield self._counter("attempts", "Attempts by what they came to.", attempts, ("config", "outcome"))
        yield self._counter("failures", "Attempts that failed, by why.", failures, ("config", "reason"))
        yield self._counter("suppressed", "Emails that were not sent to anyone, by why.", suppressed, ("reason",))
        yield self._durations(asked, labels)
        yield self._acceptances(asked, labels)

    def _durations(self, totals: Sequence[HourTotal], labels: Mapping[str, str]) -> Any:  # noqa: ANN401
        words = "How long attempts took, by the phase in which they ended."
        family = self._core.HistogramMetricFamily("sealpost_attempt_seconds", words, labels=("phase", "config"))
        found: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * (len(TOOK_BINS) + 2))
        for each in totals:
            phase = ACCEPTED if each.outcome == ACCEPTED else each.phase or NEVER_BEGUN
            _add(found[(phase, _labelled(each, labels))], (*each.took, each.mails, each.ms))
        edges = [*(str(ms / 1000) for ms in TOOK_BINS.values()), "+Inf"]
        for names, (*counts, ms) in found.items():
            family.add_metric(names, list(zip(edges, counts, strict=True)), sum_value=ms / 1000)
        return family

    def _acceptances(self, totals: Sequence[HourTotal], labels: Mapping[str, str]) -> Any:  # noqa: ANN401
        words = "From the promise of an email to its acceptance by a server."
        family = self._core.HistogramMetricFamily("sealpost_acceptance_seconds", words, labels=("config",))
        found: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BINS) + 1))
        for each in totals:
            if each.outcome == ACCEPTED:
                _add(found[_labelled(each, labels)], (*each.within, each.mails))
        edges = [*(f"{seconds}.0" for seconds in BINS.values()), "+Inf"]
        for config, counts in found.items():
            family.add_metric([config], list(zip(edges, counts, strict=True)), sum_value=None)
        return family

    def _of_queue(self) -> Iterator[Any]:
        now = clock.now()
        with reading() as session:
            found, due = outbox_db.depths(session), outbox_turn_db.oldest_dues(session, now)
        depth = {(state.value, name): 0.0 for state in State if state not in SETTLED for name in _PRIORITIES.values()}
        depth |= {(state.value, _PRIORITIES[priority]): mails for state, priority, mails in found}
        ages = {(name,): 0.0 for name in _PRIORITIES.values()}
        ages |= {(_PRIORITIES[priority],): (now - since).total_seconds() for priority, since in due.items()}
        yield self._gauge("queue_depth", "Emails that are not settled.", depth, ("state", "priority"))
        yield self._gauge("oldest_due_seconds", "For how long the oldest email has been due.", ages, ("priority",))

    def _of_servers(self) -> Iterator[Any]:
        found = list(_servers())
        up = {(each.label,): _is_up(each.known) for each in found}
        active = {(each.label,): each.is_active for each in found}
        left_alone = {(each.label,): each.known.state in _LEFT_ALONE for each in found}
        last = {(each.label,): each.known.last_success.timestamp() for each in found if each.known.last_success}
        config = ("config",)
        yield self._gauge("config_up", "Whether email gets out through a server, as far as is known.", up, config)
        yield self._gauge("config_active", "Whether email goes through a server, or may.", active, config)
        yield self._gauge("circuit_open", "Whether a server is left alone for now.", left_alone, config)
        yield self._gauge("config_last_success_timestamp_seconds", "When a server worked last.", last, config)
        for name, (words, kinds) in _ENDINGS.items():
            ends = {
                (each.label, ending.what.value): _seconds_to(ending)
                for each in found
                for ending in each.known.endings
                if ending.what in kinds
            }
            yield self._gauge(name.removeprefix("sealpost_"), f"Until {words} ends.", ends, ("config", "what"))

    def _of_machinery(self) -> Iterator[Any]:
        with reading() as session:
            last = alert_db.pulse(session, pulse.WORKER)
            firing = Counter(row.rule for row in alert_db.states(session) if row.state == AlertStage.FIRING)
        silent = {(): max(0.0, (clock.now() - last.at).total_seconds())} if last else {}
        yield self._gauge("worker_heartbeat_seconds", "Since the last sign of life of any worker.", silent)
        unattended = {(): float(log.is_unattended())}
        yield self._gauge("unattended", "Whether email is due that no worker takes.", unattended)
        alerts = {(rule.value,): firing[rule.value] for rule in RuleName}
        yield self._gauge("alerts_firing", "Sealpost’s own alerts that fire, by their rules.", alerts, ("rule",))
        yield self._ready(outlook.fitness())

    def _ready(self, fitness: MailFitness) -> Any:  # noqa: ANN401
        words = "Whether email gets out: 1, 0.5 while a server has trouble, 0 in an outage."
        return self._gauge("ready", words, {(): _FITNESS[fitness]})

    def _gauge(self, name: str, words: str, samples: Samples, labels: Iterable[str] = ()) -> Any:  # noqa: ANN401
        return _filled(self._core.GaugeMetricFamily(f"sealpost_{name}", words, labels=tuple(labels)), samples)

    def _counter(self, name: str, words: str, samples: Samples, labels: Iterable[str]) -> Any:  # noqa: ANN401
        words = f"{words} Since the month began, in UTC."
        return _filled(self._core.CounterMetricFamily(f"sealpost_{name}", words, labels=tuple(labels)), samples)


def _filled(family: Any, samples: Samples) -> Any:  # noqa: ANN401
    for values, number in sorted(samples.items()):
        family.add_metric(values, float(number))
    return family


def _add(to: list[int], numbers: Iterable[int]) -> None:
    to[:] = [before + now for before, now in zip(to, numbers, strict=True)]


def _servers() -> Iterator[_Server]:
    """Every server of the system, and how it is."""
    stored = configs.search()
    known = health.of_configs(stored)
    active = {step.config_id for step in route.steps() if step.config_id is not None}
    for each in stored:
        yield _Server(_shown(each.name, each.id), known[each.id], each.id in active)
    last = route.without_database()
    if last.settings and not last.is_local_inbox:
        yield _Server(last.name, health.of_step(last), is_active=True)


def _is_up(known: Health) -> bool:
    return known.state not in _BROKEN and not known.needs_sign_in


def _labels() -> dict[str, str]:
    """The labels of the servers by their names: those that there are, and what the log calls the rest."""
    return {each.name: _shown(each.name, each.id) for each in configs.search()} | {".env": ".env", OWN_NAME: OWN_NAME}


def _labelled(total: HourTotal, labels: Mapping[str, str]) -> str:
    """The label of a server that the log calls “name (host:port)”."""
    name = total.server.rpartition(" (")[0] or total.server
    if not name:
        return NO_CONFIG
    return labels.get(name) or (OTHER if _MAY_BE_A_PLACE.search(name) else name)


def _shown(name: str, config_id: int) -> str:
    """The name of a server, unless it might say where that is, or whose."""
    return f"server {config_id}" if _MAY_BE_A_PLACE.search(name) else name


def _state_of(total: HourTotal) -> str:
    """What the emails were after these attempts; of those that were not queued, none is tried again."""
    state = STATES.get(total.outcome, State.FAILED)
    return State.FAILED if state is State.DEFERRED and total.priority == NOT_QUEUED else state


def _seconds_to(ending: Ending) -> float:
    end = ending.ends_at or datetime.combine(ending.ends_on, time(), UTC)
    return (end - clock.now()).total_seconds()


def _beginning_of_month() -> datetime:
    return datetime.combine(clock.now().date().replace(day=1), time(), UTC)


_COUNTED: Final = (State.SENT, State.DEFERRED, State.FAILED, State.UNCERTAIN)
