"""Processes that send through a server which is signed in to by token, all of them with the same few tokens."""

import threading
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from services import email_service
from services.oauth import keeping
from services.smtp.pool import pool
from services.worker import threads
from tests.faults.child import Orders, Place, begin, queue_one, wait_for_ever
from tests.faults.points import Point
from tests.patience import PATIENCE


def send_at_once(place: Place, orders: Orders, senders: int, start: Barrier, results: Connection) -> None:
    """So many threads, each with connections of its own, which send the mails of ``orders`` once those of all processes
    are ready. What each got for a mail goes into ``results``.
    """
    app = begin(place)
    _carry(1)
    pool.make_room(senders)
    found: list[Any] = []

    def work(number: int) -> None:
        with app.app_context():
            start.wait(PATIENCE)
            for mail in range(number, orders.count, senders):
                found.append(email_service.send_email(orders.recipients(mail), f"Order {mail}", "Thank you."))

    running = [threading.Thread(target=work, args=(number,)) for number in range(senders)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    results.send(found)


def serve(place: Place, orders: Orders, mails_a_connection: int) -> None:
    """A web process that queues its mails and sends what is queued, a few over each connection."""
    app = begin(place)
    _carry(mails_a_connection)
    threads.start(app, pace=place.pace)
    with app.app_context():
        _queue_all(orders)
    wait_for_ever()


def _queue_all(orders: Orders) -> None:
    """Queue each mail, however often a busy database says no."""
    for number in range(1, orders.count + 1):
        while True:
            with suppress(SQLAlchemyError):
                queue_one(orders, number)
                break


def die_at(place: Place, config_id: int, point: Point) -> None:
    """Get a token, and be killed on the way to it."""
    point.arm(1)
    app: Flask = begin(place)
    with app.app_context():
        keeping.current_token(config_id)


def _carry(mails: int) -> None:
    """Let a connection of this process carry no more than so many mails, so that one signs in often."""
    pool._limits = replace(pool._limits, messages=mails)
