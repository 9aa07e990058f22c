"""One side of a measurement in a process of its own: `python -m benchmarks.sender NAME`, told "send N".

Its imports, its first connection and whatever else happens once are over before the first answer.
"""

import resource
import sys
import time
from importlib import import_module

from benchmarks.child import answer, questions, settings_line
from benchmarks.message import Target


def cpu_seconds() -> float:
    """User and system time of this process and of those that it has waited for."""
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def main() -> None:
    settings = settings_line()
    module = import_module(f"benchmarks.senders.{sys.argv[1]}")
    with module.sender(Target(**settings["target"]), **settings["options"]) as send:
        answer(ready=True)
        for _, count in questions():
            cpu, started = cpu_seconds(), time.perf_counter()
            send(int(count))
            answer(seconds=time.perf_counter() - started, cpu=cpu_seconds() - cpu)


if __name__ == "__main__":
    main()
