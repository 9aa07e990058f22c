"""What dead servers of some accounts do to the mail of the others."""

from typing import Final

from benchmarks.child import Child
from benchmarks.databases import databases
from benchmarks.results import Goal, Result
from benchmarks.series import Effort
from tests.own_servers import PORT

ACCOUNTS: Final = 1_000
DEAD: Final = 50
SINKS: Final = 50
RATE: Final = 10.0  # mails a second, over all accounts
MOST_SECONDS: Final = 5.0


def accounts(engine: str, effort: Effort) -> Result:
    """1,000 accounts with a server each, of which 50 take a connection and say nothing."""
    seconds = 120.0 if effort.is_full else 30.0
    # Every address of 127.0.0.0/8 is this machine's.
    healthy = [f"127.77.1.{number}" for number in range(1, SINKS + 1)]
    dead = [f"127.77.2.{number}" for number in range(1, DEAD + 1)]
    servers = {"healthy": healthy, "dead": dead, "port": PORT}
    with databases(engine) as new, Child("benchmarks.many_servers", settings=servers):
        load = {"hosts": healthy, "dead": dead, "port": PORT, "accounts": ACCOUNTS, "rate": RATE, "seconds": seconds}
        with Child("benchmarks.accounts_load", settings={**load, "database": new()}) as child:
            found = child.ask("go")
    figures = {"p50": found["p50"], "p99": found["p99"]}
    what = f"{ACCOUNTS:,} accounts with a server each, {DEAD} of them dead, {engine}"
    goals = [Goal("s at the 99th percentile", found["p99"], MOST_SECONDS, True)]
    return Result(name=f"accounts-{engine.lower()}", what=what, unit="seconds", figures=figures, goals=goals)
