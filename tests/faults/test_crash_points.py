"""A process dies at each point where it matters, and no mail is lost for it (fault F3)."""

import random
from dataclasses import replace

from tests.faults import child, figures
from tests.faults.child import Place
from tests.faults.points import POINTS
from tests.faults.storm import IN_FLIGHT, Storm
from tests.long_run import ALL
from tests.patience import pace

CRASHES = [point for seed in range(20 if ALL else 1) for point in random.Random(seed).sample(POINTS, len(POINTS))]


def test_a_crash_at_any_point_loses_no_mail(place: Place) -> None:
    with Storm(place=replace(place, pace=pace(lease=1)), seed=3, mails=0, webs=0, workers=0) as storm:
        for point in CRASHES:
            storm.crash(point)
        storm.start(child.send)
        storm.drain()
    verdict = storm.verdict(bound=len(CRASHES) * IN_FLIGHT)
    figures.settle("a crash", storm, verdict, faults=len(CRASHES))
