"""A process of its own that takes lines on standard input and answers each with one line of JSON."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parent.parent
_PATIENCE: Final = 900.0  # seconds for one answer; the longest is a hundred thousand mails


class Child:
    """Started with its settings on the first line, so that no password stands in a process list; then asked.

    ``command`` is the module and its arguments for Python, or a whole command line. What it announced once it
    was ready is ``ready``. A child that dies or stays silent raises RuntimeError with its name.
    """

    def __init__(
        self, *command: str, settings: Mapping[str, Any], environment: Mapping[str, str] | None = None
    ) -> None:
        self._name = " ".join(command)
        line = command if Path(command[0]).is_absolute() else (sys.executable, "-m", *command)
        self._process = subprocess.Popen(
            line,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self.ready = self.ask(json.dumps(dict(settings)))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, line: str) -> dict[str, Any]:
        """Say a line and give the answer."""
        assert self._process.stdin
        assert self._process.stdout
        watchdog = threading.Timer(_PATIENCE, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            watchdog.cancel()
        if not answer:
            raise RuntimeError(f"{self._name} ended or fell silent; what it said stands above.")
        result: dict[str, Any] = json.loads(answer)
        return result

    def close(self) -> None:
        """End of input ends a child; one that does not hear it is killed."""
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def settings_line() -> dict[str, Any]:
    """In a child: its settings."""
    settings: dict[str, Any] = json.loads(sys.stdin.readline())
    return settings


def questions() -> Iterator[Sequence[str]]:
    """In a child: the words of each line that comes, until whoever started us has gone."""
    for line in iter(sys.stdin.readline, ""):
        yield line.split()


def answer(**fields: object) -> None:
    """In a child: answer the line that came last."""
    print(json.dumps(fields), flush=True)
