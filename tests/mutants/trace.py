"""Which test runs which lines of a module, as a plugin of pytest; and a plugin that runs chosen tests alone."""

import signal
import sys
import threading
import time
from collections.abc import Generator, Mapping
from types import FrameType
from typing import Any

import pytest


class Tracer:
    """Hears which lines of one file each test runs, on all threads, and how long the test takes.

    ``at_import`` are those that run before the first test: on them hang all tests.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._lines: set[int] = set()
        self.at_import: set[int] = self._lines
        self.lines: dict[str, list[int]] = {}
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        sys.settrace(self._enter)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._lines = set()
        started_at = time.monotonic()
        threading.settrace(self._enter)
        sys.settrace(self._enter)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            self.lines[item.nodeid] = sorted(self._lines)
            self.seconds[item.nodeid] = time.monotonic() - started_at

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line(frame, event, argument) if frame.f_code.co_filename == self._file else None

    def _line(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        self._lines.add(frame.f_lineno)
        return self._line


class Chooser:
    """Runs these tests alone, in this order; one that takes more than its seconds ends the process by an alarm."""

    def __init__(self, limits: Mapping[str, float]) -> None:
        self._limits = limits
        self._places = {nodeid: place for place, nodeid in enumerate(limits)}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        signal.alarm(int(self._limits[item.nodeid]))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._places), key=lambda item: self._places[item.nodeid]
        )
