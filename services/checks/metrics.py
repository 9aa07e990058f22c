"""Figures for Prometheus, asked of the database when they are scraped; none of them names a person or a place."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from database import mail_hour_db, outbox_db
from database.engine import reading
from database.mail_hour_db import BINS
from database.outbox_db import SETTLED, Priority, State
from services.checks import readiness
from services.checks.outlook import MailFitness
from services.delivery.outcome import ACCEPTED
from services.outbox import figures, log
from services.settings import configs, health, route
from services.settings.health import Health, HealthState
from utils import clock, late

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PRIORITIES: Final = {each.value: each.name.lower() for each in Priority}


def text() -> bytes:
    """All figures, as Prometheus reads them."""
    figures.count_up()
    exposition, core = late.load("prometheus_client.exposition"), late.load("prometheus_client.core")
    found: bytes = exposition.generate_latest(_Collected(core))
    return found


class _Collected:
    """What ``generate_latest`` asks of a registry."""

    def __init__(self, core: Any) -> None:  # noqa: ANN401 - a module that is loaded late
        self._core = core

    def collect(self) -> Iterator[Any]:
        """Every metric with its samples."""
        yield from self._of_attempts()
        yield from self._of_queue()
        yield from self._of_servers()
        yield self._gauge("sealpost_ready", "Whether mail gets out: 1, degraded 0.5, down 0.", {(): _fitness()}, ())

    def _of_attempts(self) -> Iterator[Any]:
        labels = ("server", "outcome", "reason", "phase")
        totals: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
        attempts = self._core.CounterMetricFamily("sealpost_attempts", "Attempts at sending an email.", labels=labels)
        took = self._core.SummaryMetricFamily("sealpost_attempt_seconds", "How long attempts took.", labels=labels)
        until = self._core.HistogramMetricFamily(
            "sealpost_acceptance_seconds",
            "From the promise of an email to its acceptance by a server.",
            labels=("server",),
        )
        bins: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BINS) + 1))
        with reading() as session:
            rows = mail_hour_db.totals(session)
        for label, outcome, cause, phase, mails, ms, *within in rows:
            server = _named(label)
            total = totals[(server, outcome, cause, phase)]
            total[0] += int(mails)
            total[1] += int(ms)
            if outcome == ACCEPTED:
                bins[server] = [before + int(now) for before, now in zip(bins[server], (*within, mails), strict=True)]
        for names, (mails, ms) in totals.items():
            attempts.add_metric(names, mails)
            took.add_metric(names, mails, ms / 1000)
        edges = [*(f"{seconds}.0" for seconds in BINS.values()), "+Inf"]
        for server, counts in bins.items():
            until.add_metric([server], list(zip(edges, counts, strict=True)), sum_value=None)
        yield from (attempts, took, until)

    def _of_queue(self) -> Iterator[Any]:
        now = clock.now()
        with reading() as session:
            depth = outbox_db.depths(session)
            due = outbox_db.oldest_due(session, now)
        waiting: dict[Any, float] = {
            (state.value, name): 0 for state in State if state not in SETTLED for name in _PRIORITIES.values()
        }
        waiting |= {(State(state).value, _PRIORITIES[priority]): mails for state, priority, mails in depth}
        yield self._gauge("sealpost_mails", "Emails that are not settled.", waiting, ("state", "priority"))
        ages = {(name,): 0.0 for name in _PRIORITIES.values()}
        ages |= {(_PRIORITIES[priority],): max(0.0, (now - since).total_seconds()) for priority, since in due}
        yield self._gauge("sealpost_oldest_due_seconds", "Since when the oldest mail is due.", ages, ("priority",))
        unattended = {(): float(log.is_unattended())}
        yield self._gauge("sealpost_unattended", "Whether mail waits that no worker takes up.", unattended, ())

    def _of_servers(self) -> Iterator[Any]:
        found = dict(_servers())
        up = {(name,): float(not known.has_trouble) for name, known in found.items()}
        down = {(name,): float(known.is_down) for name, known in found.items()}
        paused = {(name,): float(known.state is HealthState.PAUSED) for name, known in found.items()}
        labels = ("server",)
        yield self._gauge("sealpost_server_up", "Whether a server works, as far as is known.", up, labels)
        yield self._gauge("sealpost_server_down", "Whether nothing gets out through a server.", down, labels)
        yield self._gauge("sealpost_server_paused", "Whether a server is left alone for now.", paused, labels)
        last = {(name,): known.last_success.timestamp() for name, known in found.items() if known.last_success}
        yield self._gauge("sealpost_server_last_success_timestamp_seconds", "When it worked last.", last, labels)
        ends = {
            (name, str(each.what)): _seconds_to(each.ends_on) for name, known in found.items() for each in known.endings
        }
        yield self._gauge(
            "sealpost_end_seconds",
            "Until a certificate, a token or a secret of a server ends.",
            ends,
            ("server", "what"),
        )

    def _gauge(self, name: str, words: str, samples: dict[Any, float], labels: Iterable[str]) -> Any:  # noqa: ANN401
        family = self._core.GaugeMetricFamily(name, words, labels=tuple(labels))
        for values, number in samples.items():
            family.add_metric([str(value) for value in values], number)
        return family


def _servers() -> Iterator[tuple[str, Health]]:
    """Every server of the system by its name, and how it is."""
    stored = configs.search()
    known = health.of_configs(stored)
    for each in stored:
        yield each.name, known[each.id]
    last = route.without_database()
    if last.settings and not last.is_local_inbox:
        yield last.name, health.of_step(last)


def _named(label: str) -> str:
    """The name alone of a server that the log calls “name (host:port)”: no label holds an address."""
    return label.rpartition(" (")[0] or label


def _seconds_to(day: Any) -> float:  # noqa: ANN401 - a date
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) - clock.now()).total_seconds()


def _fitness() -> float:
    fitness, _ = readiness.look_at_mail()
    return {MailFitness.READY: 1.0, MailFitness.DEGRADED: 0.5}.get(fitness, 0.0)
