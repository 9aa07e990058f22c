"""How long pages take at the server while the mail log has very many emails: for one visitor, and for eight at once."""

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from flask import Flask

from benchmarks.application import application
from benchmarks.databases import databases
from benchmarks.message import NOWHERE
from benchmarks.results import Goal, Result
from benchmarks.rows_search import ROWS, filled
from benchmarks.series import Effort
from tests.visitors import Visitor, make_alice, visit

PAGES: Final = "/emails", "/settings/smtp", "/login"
VISITORS: Final = 8
VISITS: Final = 200  # of each page
MOST_MS: Final = {"median": 10.0, "99 %": 50.0}


def pages(engine: str, effort: Effort) -> Result:
    """Milliseconds from a request's coming to the end of its answer, within the application."""
    rows = ROWS if effort.is_full else ROWS // 20
    figures: dict[str, float] = {}
    goals = []
    with databases(engine) as new, application(NOWHERE, new(), APP_ENV="development") as app:
        filled(rows)
        make_alice(is_admin=True)
        for page in PAGES:
            alone, together = _visits(app, page, 1), _visits(app, page, VISITORS)
            for told, visits in ((page, alone), (f"{page}, {VISITORS} at once", together)):
                figures |= {f"{told}, {share}": found for share, found in _shares(visits).items()}
            goals += [
                Goal(f"ms, {page}, {share}", found, MOST_MS[share], True) for share, found in _shares(alone).items()
            ]
    return Result(
        name=f"pages-{engine.lower()}",
        what=f"a page at the server, {rows:,} emails in the log, {engine}",
        unit="ms",
        figures=figures,
        goals=goals,
    )


def _visits(app: Flask, page: str, visitors: int) -> list[float]:
    """What each visit of a page took, in milliseconds; the first of each visitor is nobody's speed."""
    ready = threading.Barrier(visitors)

    def look(_number: int) -> list[float]:
        visitor = _visitor(app, page)
        ready.wait()
        return [_milliseconds(visitor, page) for _ in range(VISITS // visitors)]

    with ThreadPoolExecutor(visitors) as pool:
        return [taken for each in pool.map(look, range(visitors)) for taken in each]


def _visitor(app: Flask, page: str) -> Visitor:
    visitor = visit(app)
    if page != "/login":
        visitor.sign_in()
    _milliseconds(visitor, page)
    return visitor


def _milliseconds(visitor: Visitor, page: str) -> float:
    began = time.perf_counter()
    answer = visitor.get(page)
    taken = time.perf_counter() - began
    if answer.status_code != 200:
        raise RuntimeError(f"{page} answered {answer.status}.")
    return taken * 1e3


def _shares(visits: list[float]) -> dict[str, float]:
    return {"median": statistics.median(visits), "99 %": statistics.quantiles(visits, n=100)[-1]}
