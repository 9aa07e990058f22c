"""`python -m benchmarks [--quick] [--only NAME] [--json FILE] [--publish]`: measure, print the table, write figures.

With ``--publish`` they are put into benchmarks/README.md, and the chart of README.md is drawn anew.
"""

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import (
    published,
    rows_accounts,
    rows_durable,
    rows_gateway,
    rows_memory,
    rows_pages,
    rows_promise,
    rows_search,
    rows_sending,
)
from benchmarks.databases import POSTGRESQL, SQLITE
from benchmarks.results import Result, table
from benchmarks.series import Effort
from benchmarks.servers import Unavailable

ROWS: Final[dict[str, Callable[[Effort], Result]]] = {
    "round-trips": rows_sending.round_trips,
    "round-trips-request": rows_sending.round_trips_request,
    "far-postfix": rows_sending.far_postfix,
    "cpu": rows_sending.cpu,
    "near-sink": rows_sending.near_sink,
    "near-postfix": rows_sending.near_postfix,
    "request-0ms": rows_sending.request,
    "request-20ms": rows_sending.far_request,
    "durable-sqlite": partial(rows_durable.durable, SQLITE),
    "durable-postgresql": partial(rows_durable.durable, POSTGRESQL),
    "promise-sqlite": partial(rows_promise.promises, SQLITE),
    "promise-postgresql": partial(rows_promise.promises, POSTGRESQL),
    "growth-sqlite": partial(rows_durable.growth, SQLITE),
    "growth-postgresql": partial(rows_durable.growth, POSTGRESQL),
    "accounts-sqlite": partial(rows_accounts.accounts, SQLITE),
    "accounts-postgresql": partial(rows_accounts.accounts, POSTGRESQL),
    "search-sqlite": partial(rows_search.search, SQLITE),
    "search-postgresql": partial(rows_search.search, POSTGRESQL),
    "pages-sqlite": partial(rows_pages.pages, SQLITE),
    "pages-postgresql": partial(rows_pages.pages, POSTGRESQL),
    "gateway": rows_gateway.gateway_speed,
    "gateway-memory": rows_gateway.gateway_memory,
    "worker-memory": rows_memory.worker_memory,
    "web-memory": rows_memory.web_memory,
}
FULL: Final = Effort(rounds=7, seconds=2.0, is_full=True)
QUICK: Final = Effort(rounds=5, seconds=0.3, is_full=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure sending against its peers.")
    parser.add_argument("--only", action="append", choices=ROWS, metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--quick", action="store_true", help="short turns: a look, not a measurement")
    parser.add_argument("--json", type=Path, default=Path("instance/benchmarks.json"), help="where the figures go")
    parser.add_argument("--publish", action="store_true", help="put them into benchmarks/README.md, too")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that Postfix and PostgreSQL are stopped, too
    effort = QUICK if asked.quick else FULL
    results, failed = [], False
    for name in asked.only or ROWS:
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            results.append(ROWS[name](effort))
        except Unavailable as lack:
            print(f"{name} is left out: {lack}.", file=sys.stderr, flush=True)
        except RuntimeError as error:  # the other rows are still worth having
            print(f"{name} failed: {error}", file=sys.stderr, flush=True)
            failed = True
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps({"machine": _machine(), "rows": [each.as_json() for each in results]}, indent=2))
    print(table(results))
    if asked.publish:
        published.publish(results)
    sys.exit(failed)


def _machine() -> dict[str, object]:
    return {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


if __name__ == "__main__":
    main()
