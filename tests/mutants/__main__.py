"""``python -m tests.mutants [MODULE ...] [--most N] [--seed N]``: plants mistakes, and counts those that a test sees.

Each mutant is tried in a copy of the tree, by the tests that run its line. What was found is kept in ``.mutants``:
started again, it goes on, and asks anew only about mutants whose module or (if they survived) tests have changed.
"""

import argparse
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import pytest

from tests.mutants.mutations import Mutant, mutants_of
from tests.mutants.targets import TARGETS
from tests.mutants.trace import Chooser, Tracer

ROOT: Final = Path(__file__).parent.parent.parent
KEPT: Final = ROOT / ".mutants"
EQUIVALENT: Final = Path(__file__).parent / "equivalent.txt"
WORKERS: Final = 2
LEAST_SECONDS, SLOWER = 20.0, 5  # a test that takes longer than these hangs, which somebody would see
ENOUGH: Final = 90.0  # percent
OPTIONS: Final = (
    "-q",
    "-x",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-p",
    "no:schemathesis",
    "-k",
    "not postgresql and not wherever_the_connection_is_cut",  # which take minutes
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)
PASSED: Final = (0, 5)  # 5: no test at all runs the line
# What is slow to load and not ours is loaded once, before the fork.
HEAVY: Final = (
    "flask_migrate", "flask_limiter", "flask_login", "flask_wtf", "celery", "sqlalchemy.orm", "psycopg", "pydantic",
    "argon2", "cryptography.x509", "lxml.html", "dns.resolver", "aiosmtpd.smtp", "css_inline", "inscriptis",
    "alembic.autogenerate", "flask_sqlalchemy", "flask_bootstrap", "trustme", "structlog", "redis",
    "hypothesis.strategies", "hypothesis.stateful",
)  # fmt: skip

_moments = count(1)


class Hung(Exception):
    """The tests did not end in time."""


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.mutants")
    asked.add_argument("modules", nargs="*", default=list(TARGETS), help="path of a module; all of the list without")
    asked.add_argument("--most", type=int, default=0, help="mutants of each module, chosen by chance; 0 is all")
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    os.nice(5)
    for name in HEAVY:
        importlib.import_module(name)
    KEPT.mkdir(exist_ok=True)
    rates = [_tried(module, given.most, given.seed) for module in given.modules]
    return 0 if min(rates) >= ENOUGH else 1


def _tried(module: str, most: int, seed: int) -> float:
    """Try the mutants of a module and print what was found; how many in a hundred were killed."""
    source, tests = (ROOT / module).read_text(), [test for test in TARGETS[module] if (ROOT / test).exists()]
    with _copies(WORKERS) as copies:
        runs = _runs(module, tests, copies[0])
        equivalent = _equivalent(module)
        mutants = [mutant for mutant in mutants_of(source) if mutant.key not in equivalent]
        if most and most < len(mutants):
            mutants = sorted(random.Random(seed).sample(mutants, most), key=lambda mutant: mutant.line)
        known = _known(module)
        fates: dict[str, str] = {}
        for mutant in mutants:
            # What was killed stays so, whatever tests are added.
            digests = _digest(source, mutant.key, ()), _digest(source, mutant.key, tests)
            if fate := next((known[digest] for digest in digests if digest in known), None):
                fates[mutant.key] = fate
        free: SimpleQueue[Path] = SimpleQueue()
        for copy in copies:
            free.put(copy)

        def try_one(mutant: Mutant) -> None:
            copy = free.get()
            try:
                fates[mutant.key] = fate = _fate(copy, module, mutant, runs)
            finally:
                (copy / module).write_text(source)
                free.put(copy)
            _keep(module, _digest(source, mutant.key, tests if fate == "survived" else ()), fate)

        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(try_one, [mutant for mutant in mutants if mutant.key not in fates]))
    for mutant in mutants:
        if fates[mutant.key] == "survived":
            print(f"  survived  {module}:{mutant.line}  {mutant.key}", flush=True)
    killed = sum(fate != "survived" for fate in fates.values())
    rate = 100 * killed / max(len(fates), 1)
    total = sum(1 for _ in mutants_of(source))
    print(f"{module}: {killed} of {len(fates)} killed, {rate:.1f} % ({len(equivalent)} equivalent, {total} in all)")
    return rate


def _fate(copy: Path, module: str, mutant: Mutant, runs: dict[str, Any]) -> str:
    """killed, hung or survived."""
    concerns_all = not mutant.scope or mutant.line in runs["at_import"]
    chosen = [test for test, lines in runs["lines"].items() if concerns_all or mutant.line in lines]
    chosen.sort(key=lambda test: runs["seconds"][test])
    if not chosen:
        return "survived"
    (copy / module).write_text(mutant.source)
    moment = time.time() + next(_moments)  # another one each time, or the bytecode of the last mutant would be taken
    os.utime(copy / module, (moment, moment))
    limits = {test: LEAST_SECONDS + SLOWER * runs["seconds"][test] for test in chosen}
    files = list(dict.fromkeys(test.partition("::")[0] for test in chosen))
    try:
        status = _in_fork(copy, lambda: int(pytest.main([*OPTIONS, *files], [Chooser(limits)])), sum(limits.values()))
    except Hung:
        return "hung"
    return "survived" if status in PASSED else "hung" if status == -signal.SIGALRM else "killed"


def _runs(module: str, tests: list[str], copy: Path) -> dict[str, Any]:
    """Which lines of the module each test runs, and its seconds: of a run without any mutant."""
    kept = KEPT / f"{Path(module).parent.name}-{Path(module).stem}.lines.json"
    digest = _digest((ROOT / module).read_text(), "", tests)
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        if found["digest"] == digest:
            return found

    def traced() -> int:
        tracer = Tracer(str(copy / module))
        pytest.main([option for option in [*OPTIONS, *tests] if option != "-x"], [tracer])
        if tracer.failed:
            print("These fail without a mutant and are left out:", *tracer.failed, sep="\n  ", file=sys.__stdout__)
        good = {test: lines for test, lines in tracer.lines.items() if test not in tracer.failed}
        found = {"at_import": sorted(tracer.at_import), "lines": good, "seconds": tracer.seconds}
        kept.write_text(json.dumps({"digest": digest, **found}))
        return 0

    if _in_fork(copy, traced, 1800):
        raise SystemExit(f"The tests of {module} do not run.\n{(copy / 'said').read_text()}")
    return dict(json.loads(kept.read_text()))


def _in_fork(copy: Path, work: Callable[[], int], seconds: float) -> int:
    """The exit code of this work in a process of its own, that stands in the copy. Raises Hung."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.setsid()
            signal.alarm(int(seconds) + 5)  # should the parent be stopped meanwhile
            os.chdir(copy)
            sys.path[:] = [str(copy), *(path for path in sys.path if path not in ("", str(ROOT)))]
            for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
                del sys.modules[name]
            with (copy / "said").open("w") as said:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    ends_at = time.monotonic() + seconds
    try:
        while time.monotonic() < ends_at:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        raise Hung
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


@contextmanager
def _copies(number: int) -> Iterator[list[Path]]:
    """Copies of what the tests need, with the same virtual environment."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [Path(folder) / str(place) for place in range(number)]
        left = shutil.ignore_patterns(
            ".git", ".venv", ".mutants", "instance", ".mypy_cache", ".ruff_cache", ".hypothesis"
        )
        for copy in copies:
            shutil.copytree(ROOT, copy, ignore=left)
            (copy / ".venv").symlink_to((ROOT / ".venv").resolve())
        yield copies


def _digest(source: str, key: str, tests: Iterable[str]) -> str:
    """Of everything that a mutant's fate hangs on."""
    parts = [source, key, *((ROOT / test).read_text() for test in tests)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _known(module: str) -> dict[str, str]:
    kept = KEPT / "fates.jsonl"
    lines = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    return {line["digest"]: line["fate"] for line in lines if line["module"] == module}


def _keep(module: str, digest: str, fate: str) -> None:
    with (KEPT / "fates.jsonl").open("a") as kept:
        kept.write(json.dumps({"module": module, "digest": digest, "fate": fate}) + "\n")


def _equivalent(module: str) -> set[str]:
    """The keys of mutants that change nothing that can be seen; each line says why behind a #."""
    if not EQUIVALENT.exists():
        return set()
    lines = [line.partition("  #")[0].strip() for line in EQUIVALENT.read_text().splitlines()]
    return {line.partition(" | ")[2] for line in lines if line.startswith(f"{module} | ")}


if __name__ == "__main__":
    sys.exit(main())
