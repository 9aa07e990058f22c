"""Celery workers and web processes die, on Redis and on RabbitMQ, and no mail is lost for it (faults F2 and F3)."""

import random
from collections.abc import Iterator

import pytest

from database.outbox_claim_db import GROUP
from tests import rabbitmq_server
from tests.faults import at_scale, figures
from tests.faults.child import Place
from tests.faults.points import POINTS
from tests.faults.storm import Storm
from tests.long_run import ALL
from tests.redis_server import RedisServer

MAILS, KILLS = (2000, 50) if ALL else (200, 5)
SEEDS = range(1, 21 if ALL else 2)
CRASHES = random.Random(2).sample(POINTS, len(POINTS)) * 10 if ALL else POINTS[5::6]


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    server = RedisServer()
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[str]:
    with rabbitmq_server.running() as url:
        yield url


@pytest.fixture(params=["Redis", "RabbitMQ"])
def at_scale_place(request: pytest.FixtureRequest, place: Place) -> Place:
    """A place whose mail Celery sends, over either broker."""
    place.environment["CELERY_BROKER_URL"] = request.getfixturevalue(request.param.lower())
    return place


def settled(storm: Storm, fault: str, faults: int) -> None:
    """No mail of a storm that is over is lost, or doubled more often than ``faults`` explain."""
    verdict = storm.verdict(bound=faults * GROUP)
    broker = storm.place.environment["CELERY_BROKER_URL"].partition(":")[0]
    figures.settle(f"{fault}, Celery ({broker})", storm, verdict, faults=faults)


@pytest.mark.parametrize("place", ["PostgreSQL"], indirect=True)
@pytest.mark.parametrize("seed", SEEDS)
def test_killing_celery_workers_and_web_processes_loses_no_mail(at_scale_place: Place, seed: int) -> None:
    with Storm(
        place=at_scale_place, seed=seed, mails=MAILS, web=at_scale.serve, worker=at_scale.send, mortal=at_scale.die_at
    ) as storm:
        storm.start(at_scale.beat, mortal=False)
        storm.kill(KILLS)
        storm.drain()
    settled(storm, "kill -9", KILLS)


@pytest.mark.parametrize("place", ["PostgreSQL"], indirect=True)
def test_a_celery_worker_that_dies_at_any_point_loses_no_mail(at_scale_place: Place) -> None:
    with Storm(place=at_scale_place, seed=2, mails=0, webs=0, workers=0, mortal=at_scale.die_at) as storm:
        storm.start(at_scale.beat)
        for point in CRASHES:
            storm.crash(point)
        storm.start(at_scale.send)
        storm.drain()
    settled(storm, "a crash", len(CRASHES))
