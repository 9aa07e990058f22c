"""Servers that accept connections and say nothing hold up nobody but the mail that is for them (fault F9)."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import quantiles

from flask import Flask

from database.outbox_db import State
from services import email_service, outbox, worker
from services.worker import SENDERS
from tests.faults.storm import ALL, configure
from tests.visitors import Visitor

MAILS = 50
REQUESTS = 250
SLOWEST_ANSWER = 0.3  # seconds, for 99 of 100
ROUNDS = 20 if ALL else 1


@contextmanager
def tarpit() -> Iterator[int]:
    """The port of a server whose system takes every connection, and which never looks at one."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield int(listener.getsockname()[1])


def test_a_server_that_says_nothing_leaves_the_pages_quick_and_the_threads_few(app: Flask, admin: Visitor) -> None:
    with tarpit() as port:
        configure(port)
        ids = [email_service.queue_email("to@example.com", f"Number {number}", "Text") for number in range(MAILS)]
        before = threading.active_count()
        sending = worker.start(app)
        try:
            for _ in range(ROUNDS):
                times, threads = zip(*(answered(admin) for _ in range(REQUESTS)), strict=True)
                assert quantiles(times, n=100)[-1] < SLOWEST_ANSWER
                assert max(threads) <= before + SENDERS + 3  # senders, one for security mail, claimer, keeper
        finally:
            sending.stop(0.1)
    assert {outbox.find(mail_id).state for mail_id in ids} <= {State.QUEUED, State.LEASED, State.DEFERRED}


def answered(admin: Visitor) -> tuple[float, int]:
    """How long a page took, in seconds, and how many threads there were."""
    began = time.perf_counter()
    assert admin.get("/settings/smtp").status_code == 200
    return time.perf_counter() - began, threading.active_count()
