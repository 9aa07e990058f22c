"""The incidents that the log is told of, from whichever thread."""

import logging
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from utils.log_utils import configure_logging

Reported = queue.SimpleQueue[dict[str, Any]]


@contextmanager
def reported() -> Iterator[Reported]:
    lines: Reported = queue.SimpleQueue()

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if isinstance(record.msg, dict):
                lines.put(record.msg)

    configure_logging([], as_json=True)
    handler, logger = Kept(), logging.getLogger("utils.incidents")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
