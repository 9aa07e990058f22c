"""Security mail while the one thread of a process waits for a silent server: for whoever has no sender kept for it."""

import threading
from collections.abc import Callable
from typing import Final

import structlog
from flask import Flask
from sqlalchemy.exc import InterfaceError, OperationalError

from database.outbox_db import Priority
from services.accounts import password_reset
from services.worker import groups, lease
from services.worker.lease import Group, Heartbeat, Pace
from utils import incidents

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0  # between two looks for security mail


class StandIn:
    """A thread, while it is needed: one in this process, however many wait here."""

    def __init__(self, is_stopping: Callable[[], bool]) -> None:
        self._is_stopping = is_stopping
        self._lock = threading.Lock()
        self._stands_in = False

    def begin(self, app: Flask, held: Group) -> None:
        """Answer requests for password resets and send security mail, for as long as the group's server is silent."""
        if held.is_security:
            return
        with self._lock:
            if self._stands_in:
                return
            self._stands_in = True
        work = incidents.watched(lambda: self._run(app, held))
        try:
            # What it has in hand at the end of the process is under a lease, as everything is.
            threading.Thread(target=work, name="mail-stand-in", daemon=True).start()
        except RuntimeError:  # no thread is to be had: the next beat tries again
            self._stands_in = False

    def _run(self, app: Flask, held: Group) -> None:
        pause = threading.Event()
        try:
            with app.app_context(), Heartbeat(pace := Pace(), self._is_stopping) as heartbeat:
                worker = lease.worker_name()
                while held.span.silent_seconds >= lease.SILENT_SECONDS and not self._is_stopping():
                    if not self._sends(worker, pace, heartbeat):
                        pause.wait(LOOK_SECONDS)
        finally:
            self._stands_in = False

    def _sends(self, worker: str, pace: Pace, heartbeat: Heartbeat) -> bool:
        """Whether there was any to send. Goes on after whatever happens, as the rows are the truth."""
        try:
            password_reset.process_requests()
            group = groups.claim_group(worker, pace, (Priority.SECURITY,))
            if group:
                heartbeat.hold(group)
                groups.work_off(group, pace)
        except (OperationalError, InterfaceError) as failure:  # the database is away
            log.error("mail_stand_in_failed", kind=type(failure).__name__, where=incidents.place(failure))
        except Exception as error:
            incidents.report("mail_stand_in_failed", error)
        else:
            return group is not None
        return False
