"""The outbox at scale: Celery workers on any number of machines, over the same claims.

A message on the broker only hints that there is mail: a task drains what is due instead of carrying one mail, and the
sweep finds what a lost hint left. So a message that is lost, doubled or delivered late changes nothing but the time.
"""

import threading
import time
from functools import partial
from typing import Any, Final, Self

import structlog
from celery import Celery, shared_task, signals
from celery.exceptions import TaskPredicate
from flask import Flask, current_app
from kombu.exceptions import OperationalError

from database.engine import db
from database.outbox_db import Priority
from services.accounts import password_reset
from services.outbox import indexing, many, promise
from services.worker import groups, lease, pulse, turns
from services.worker.groups import Turn
from services.worker.lease import Group, Pace
from services.worker.probing import Prober
from services.worker.stand_in import StandIn
from utils import ending, incidents, service_manager
from utils.env_reader import ConfigurationError
from utils.env_utils import EXTENSION, Settings
from utils.shared_flag import SharedFlag

log = structlog.get_logger(__name__)

DRAIN_SECONDS: Final = 10.0  # of one task, and of a stop, of which tasks do not hear; the rest is hinted at again
SWEEP_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 30.0
TIDY_SECONDS: Final = 3600.0
HARD_LIMIT: Final = 25 * 60  # seconds; over DRAIN_SECONDS, a group's after it, and the wait for its last receipt
VISIBILITY: Final = 2 * HARD_LIMIT
HINT_PAUSE: Final = 0.05  # seconds; many commits at once are one hint

_stopping: Final = SharedFlag()  # made before any fork, so that it is every process's
_stand_in: Final = StandIn(_stopping.is_set)
_prober: Final = Prober()


class TaskFailed(Exception):
    """A task met what nobody foresaw; all that Celery logs of it is the reference to our own line."""


def make_celery(app: Flask) -> Celery:
    """The Celery application; its tasks run inside the Flask application's context.

    Raises ConfigurationError if CELERY_BROKER_URL is not set.
    """
    settings: Settings = app.extensions[EXTENSION]
    if not settings.celery_broker_url:
        raise ConfigurationError("CELERY_BROKER_URL is not set. Set it to the broker, like amqp://user:password@host//")
    celery = Celery("sealpost", broker=settings.celery_broker_url, set_as_current=True)
    is_redis = settings.celery_broker_url.startswith(("redis://", "rediss://"))
    # On Redis a dead worker's message comes back only after kombu has looked for it; without these two that took
    # over 100 seconds (kombu PR 2558). On RabbitMQ a message counts once the broker has confirmed it.
    redis = {"visibility_timeout": VISIBILITY, "unacked_restore_interval": 2, "unacked_restore_throttle": 1}
    celery.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_time_limit=HARD_LIMIT,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_soft_shutdown_timeout=lease.STOP_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a worker outlives any pause of the broker
        worker_cancel_long_running_tasks_on_connection_loss=False,  # the claims hold without the broker
        # A hint to a broker that is away is given up at once.
        broker_transport_options={"max_retries": 0, **(redis if is_redis else {"confirm_publish": True})},
        beat_schedule={
            "sweep": {"task": "mail.sweep", "schedule": SWEEP_SECONDS, "options": {"expires": SWEEP_SECONDS}},
            "look": {"task": "servers.look", "schedule": LOOK_SECONDS, "options": {"expires": LOOK_SECONDS}},
            "deeds": {"task": "mail.act", "schedule": SWEEP_SECONDS, "options": {"expires": SWEEP_SECONDS}},
            "tidy": {"task": "mail.tidy", "schedule": TIDY_SECONDS, "options": {"expires": TIDY_SECONDS}},
            "alerts": {"task": "alerts.look", "schedule": SWEEP_SECONDS, "options": {"expires": SWEEP_SECONDS}},
        },
        beat_scheduler="celery.beat:Scheduler",  # keeps nothing on disk: both are due at every start
    )
    celery.Task = _in_context(app, celery.Task)

    def begin_process(**_: object) -> None:
        """A forked worker process must not speak over its parent's connections."""
        with app.app_context():
            db.engine.dispose(close=False)

    signals.worker_process_init.connect(begin_process, weak=False)
    # The processes that run tasks hear of a stop only by this: what waits for a silent server is to end.
    signals.worker_init.connect(lambda **_: _stopping.clear(), weak=False)
    signals.worker_ready.connect(_begin_to_serve, weak=False)
    signals.worker_shutting_down.connect(_begin_to_end, weak=False)
    celery.set_default()
    return celery


def _begin_to_serve(**_: object) -> None:
    """It waits for a broker that is away, for as long as that takes: this tells no more than that threads still run."""
    service_manager.watch(lambda: True)
    service_manager.ready()


def _begin_to_end(**_: object) -> None:
    """In the process that got the signal; those that it forked hear of it by the event, while they work."""
    _stopping.set()
    ending.begin()


def _in_context(app: Flask, base: Any) -> Any:  # noqa: ANN401 - Celery's classes are untyped
    class ContextTask(base):  # type: ignore[misc]
        abstract = True

        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                try:
                    return self.run(*args, **kwargs)
                except (TaskFailed, TaskPredicate):
                    raise
                except Exception as error:
                    raise TaskFailed(incidents.report("mail_task_failed", error, task=self.name)) from None

    return ContextTask


@shared_task(name="mail.drain")  # type: ignore[untyped-decorator]
def drain() -> None:
    """Send what is due, for some seconds."""
    worker, pace, until = lease.worker_name(), Pace(), time.monotonic() + DRAIN_SECONDS
    group = groups.claim_group(worker, pace)
    if group is None:
        return
    _hint(drain)  # another worker may help, and then go on; it ends at once if nothing is left
    in_silence = partial(_stand_in.begin, current_app._get_current_object())  # type: ignore[attr-defined]
    with lease.Heartbeat(pace, _stopping.is_set, in_silence) as heartbeat:
        while group:
            heartbeat.hold(group)
            turn = _worked_off(group, pace, until)
            group = turn.next_group
            if group is None and _goes_on(until):  # after trouble, none was claimed along
                if turn.is_stuck:
                    turns.turns().rest_system()
                group = groups.claim_group(worker, pace)
    if time.monotonic() >= until:
        # Who came to help may have found none but of the account that was in hand here, and ended.
        _hint(drain, SWEEP_SECONDS)


def _goes_on(until: float) -> bool:
    return time.monotonic() < until and not _stopping.is_set()


def _worked_off(group: Group, pace: Pace, until: float) -> Turn:
    try:
        return groups.work_off(group, pace, lambda: Priority if _goes_on(until) else ())
    except Exception as error:
        raise TaskFailed(incidents.report("mail_task_failed", error, task=drain.name, mails=group.mail_ids)) from None


@shared_task(name="mail.sweep")  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Take up what a lost hint or a dead worker left, and answer requests for password resets."""
    incidents.each_of(
        partial(groups.sweep, Pace()),
        indexing.index_some,
        pulse.beat,
        password_reset.process_requests,
        partial(_hint, drain, SWEEP_SECONDS),
    )


@shared_task(name="mail.act")  # type: ignore[untyped-decorator]
def act() -> None:
    """Go on with deeds on many mails, for some seconds."""
    many.go_on_with_all(DRAIN_SECONDS)


@shared_task(name="mail.answer_requests")  # type: ignore[untyped-decorator]
def answer_requests() -> None:
    """Answer requests for password resets."""
    password_reset.process_requests()
    _hint(drain)


@shared_task(name="servers.look")  # type: ignore[untyped-decorator]
def look() -> None:
    """Look at a server that no mail has gone through lately, if it is one's turn."""
    _prober.look()


@shared_task(name="mail.tidy")  # type: ignore[untyped-decorator]
def tidy() -> None:
    """Delete what is older than it is kept."""
    groups.tidy()


def _hint(task: Any, expires: float = VISIBILITY) -> None:  # noqa: ANN401 - Celery's classes are untyped
    """Tell the broker that there is work; a hint that it does not take is only late."""
    try:
        task.apply_async(expires=expires, retry=False)
    except (OperationalError, OSError) as failure:  # the broker is away
        log.warning("mail_hint_not_published", kind=type(failure).__name__)
    except Exception as error:
        incidents.report("mail_hint_not_published", error)


class Hints:
    """A thread of a web process that tells the broker of new mail; a hint that it does not take is only late."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._asked = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=incidents.watched(self._run), name="mail-hints", daemon=True)

    def start(self) -> Self:
        """Tell the broker of new mail from now on. The caller stops it."""
        promise.new_mail.add(self._woken.set)
        password_reset.new_request.add(self._ask)
        self._thread.start()
        return self

    def stop(self) -> None:
        promise.new_mail.remove(self._woken.set)
        password_reset.new_request.remove(self._ask)
        self._stopping.set()
        self._woken.set()
        self._thread.join(5.0)

    def _ask(self) -> None:
        self._asked.set()
        self._woken.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.wait()
            self._stopping.wait(HINT_PAUSE)
            self._woken.clear()
            task = answer_requests if self._asked.is_set() else drain
            self._asked.clear()
            _hint(task)
