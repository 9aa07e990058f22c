"""Many trials at once: in threads of several processes, since each of them waits for its server most of the time."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from functools import partial
from typing import Final, Protocol

import structlog

from services.smtp import habits
from tests.faults.model.server import Loop
from tests.faults.model.trial import Tally
from tests.processes import CONTEXT

PROCESSES: Final = 3
THREADS: Final = 8
SLICE: Final = 50  # seeds that a process takes at a time
ENOUGH: Final = 20  # servers with which something is wrong: nobody reads more of them


class Trial(Protocol):
    """Has mail sent to the server with this seed."""

    def __call__(self, seed: int, *, loop: Loop) -> Tally: ...


def is_enough(tally: Tally) -> bool:
    return len(tally.wrong) >= ENOUGH


def harvest(
    trial: Trial, seeds: Sequence[int], *, size: int = SLICE, is_enough: Callable[[Tally], bool] = is_enough
) -> Tally:
    """What comes of the trials with these seeds, or of as many as it takes to see enough wrong."""
    slices = [seeds[start : start + size] for start in range(0, len(seeds), size)]
    total = Tally()
    with ProcessPoolExecutor(min(PROCESSES, len(slices)), CONTEXT, initializer=be_quiet) as pool:
        for done in as_completed([pool.submit(in_threads, trial, part) for part in slices]):
            total.add(done.result())
            if is_enough(total):
                pool.shutdown(cancel_futures=True)
                break
    return total


def in_threads(trial: Trial, seeds: Sequence[int], threads: int = THREADS) -> Tally:
    """The same in this process."""
    total = Tally()
    with Loop() as loop, ThreadPoolExecutor(threads) as pool:
        for done in pool.map(partial(trial, loop=loop), seeds):
            total.add(done)
    habits.forget_all()
    return total


def be_quiet() -> None:
    """What is logged about ten thousands of strange servers would hide what is said about one of them."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
