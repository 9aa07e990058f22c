"""The thread that writes opens of mails: what was noted in this process, all of a while at once."""

import threading
from typing import Final, Self

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from services.outbox import opens
from utils import incidents

log = structlog.get_logger(__name__)

GATHER_SECONDS: Final = 2.0  # from the first open until it is written with all that came meanwhile
AGAIN_SECONDS: Final = 30.0  # until what could not be written is tried again
LAST_SECONDS: Final = 1.0  # of a stop


class OpenWriter:
    """Sleeps until there is something to write."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._told = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=incidents.watched(self._work), name="open-writer", daemon=True)

    def start(self) -> Self:
        opens.new_open.add(self._told.set)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Write what there is, but wait for no database that is locked."""
        opens.new_open.remove(self._told.set)
        self._stopping.set()
        self._told.set()
        self._thread.join(LAST_SECONDS)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._told.wait()
            self._stopping.wait(GATHER_SECONDS)
            self._told.clear()
            if not self._write():
                self._stopping.wait(AGAIN_SECONDS)
                self._told.set()

    def _write(self) -> bool:
        """Whether it could be written."""
        try:
            with self._app.app_context():
                opens.write_out()
        except SQLAlchemyError as failure:
            log.warning("opens_not_written", kind=type(failure).__name__)
            return False
        except Exception as error:
            incidents.report("opens_not_written", error)
            return False
        return True
