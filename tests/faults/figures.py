"""What faults did, as a table: `python -m tests.faults.figures FILE`, of what tests noted in FILE (FAULTS_FIGURES)."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from tests.faults.checker import Verdict
from tests.faults.child import Place
from tests.faults.storm import DRAIN_SECONDS, Storm

HEAD: Final = (
    "| fault | database | runs | emails | faults | lost | unexpected | duplicates / bound | most copies "
    "| gave up, and said so | drained in |"
)


def settle(fault: str, storm: Storm, verdict: Verdict, *, faults: int, within: float = DRAIN_SECONDS) -> None:
    """Assert that a storm did no harm; before, add it to the file that FAULTS_FIGURES names, if it names one."""
    note(fault, storm.place, verdict, faults=faults, drained_in=storm.drained_in)
    assert verdict.complaints == {}, f"with the seed {storm.seed}"
    assert storm.drained_in < within, f"with the seed {storm.seed}"


def note(fault: str, place: Place, verdict: Verdict, *, faults: int, drained_in: float) -> None:
    """Add what was found to the file that FAULTS_FIGURES names, if it names one."""
    url = place.environment["DATABASE_URL"]
    add(
        fault=fault,
        database="PostgreSQL" if url.startswith("postgresql") else "SQLite",
        mails=verdict.promised,
        faults=faults,
        lost=len(verdict.lost),
        unexpected=len(verdict.unexpected),
        duplicates=verdict.duplicates,
        bound=verdict.bound,
        copies=verdict.most_copies,
        given_up=len(verdict.given_up),
        seconds=drained_in,
    )


def add(**figures: object) -> None:
    """Add a line to that file: ``fault`` and ``database``, and a number for each other column."""
    file = os.environ.get("FAULTS_FIGURES")
    if file:
        with Path(file).open("a") as notes:
            notes.write(json.dumps(figures) + "\n")


def table(runs: Iterable[dict[str, Any]]) -> list[str]:
    """The runs as lines of Markdown, those with the same fault and database as one."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["fault"], run["database"]), []).append(run)
    return [HEAD, "|---" * HEAD.count(" | ") + "|---|", *(_line(*key, group) for key, group in sorted(groups.items()))]


def _line(fault: str, database: str, runs: list[dict[str, Any]]) -> str:
    def total(name: str) -> str:
        return f"{sum(run[name] for run in runs):,}"

    most = max(run["copies"] for run in runs)
    slowest = max(run["seconds"] for run in runs)
    cells = [fault, database, str(len(runs)), total("mails"), total("faults"), total("lost"), total("unexpected")]
    cells += [f"{total('duplicates')} / {total('bound')}", str(most), total("given_up"), f"{slowest:.0f} s"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(*table(json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()), sep="\n")
