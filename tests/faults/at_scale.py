"""The processes of an installation with Celery, to be killed: web processes, Celery workers, and the beat."""

import os
import time
from typing import Final

from flask import Flask

from services.worker import celery_tasks
from tests.faults.child import Orders, Place, begin, queue, wait_for_ever
from tests.faults.points import Point, wrap

BEAT_SECONDS: Final = 0.5


def serve(place: Place, orders: Orders) -> None:
    """A web process: queues the mails that nobody has been asked for yet, and tells the broker of them."""
    app = begin(place)
    celery_tasks.make_celery(app)
    celery_tasks.Hints().start()
    with app.app_context():
        queue(place, orders)
    wait_for_ever()


def send(place: Place) -> None:
    """A Celery worker."""
    _work(place, begin(place))


def die_at(place: Place, orders: Orders, point: Point, nth: int) -> None:
    """A Celery worker that first queues some mails, and is killed when it gets to ``point`` for the n-th time."""
    point.arm(nth)
    app = begin(place)
    with app.app_context():
        queue(place, orders)
    _work(place, app)


def _work(place: Place, app: Flask) -> None:
    """Work as a Celery worker does, but with the pace of this place."""
    wrap("services.worker.celery_tasks:Pace", lambda _: lambda: place.pace)
    options = ["--pool=solo", "--loglevel=WARNING", "--without-gossip", "--without-mingle"]
    celery_tasks.make_celery(app).worker_main(["worker", "-n", f"worker{os.getpid()}@localhost", *options])


def beat(place: Place) -> None:
    """The beat, more often than `celery beat` would."""
    celery_tasks.make_celery(begin(place))
    while True:
        celery_tasks.sweep.apply_async(expires=BEAT_SECONDS, retry=False)
        time.sleep(BEAT_SECONDS)
