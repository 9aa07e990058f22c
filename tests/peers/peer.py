"""What all the peers share: a process in a directory of its own, on loopback, and the mail that arrived there."""

import re
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from services.smtp.client import SmtpClient
from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.smtp_clients import policy, settings_for
from utils.errors import DeliveryError

_ADDED: Final = re.compile(rb"(?:return-path|delivered-to|x-original-to|received):", re.IGNORECASE)
_FIELD: Final = re.compile(rb"[^\n]*\n(?:[ \t][^\n]*\n)*")


class Unavailable(Exception):
    """This peer cannot be run here; the text says why."""


class Peer(ABC):
    """A server that takes all mail and sends none on. ``name`` says with its version what it is.

    ``form`` is what the settings form needs beside host and port. Entering waits until it greets.
    """

    name: str
    host = "127.0.0.1"
    form: dict[str, Any] = {"use_tls": False}  # noqa: RUF012

    def __init__(self) -> None:
        self.port = free_port()
        # Not pytest's directory: a server's own user has to be able to enter it.
        self._held = tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True)
        self.home = Path(self._held.name)
        self.home.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.set_up()
            with (self.home / "log").open("wb") as said:
                self._process = subprocess.Popen(
                    self.command(), stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=self.environment()
                )
            self._wait_until_it_greets()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.tear_down()
        self._held.cleanup()

    @abstractmethod
    def set_up(self) -> None:
        """Write the configuration below ``home``. Raises Unavailable."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """What starts it, in the foreground."""

    @abstractmethod
    def arrived(self) -> list[bytes]:
        """The messages that it has, as ``as_sent`` gives them."""

    def environment(self) -> dict[str, str]:
        return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

    def tear_down(self) -> None:  # noqa: B027
        """End whatever else was begun; most peers are one process."""

    @property
    def log(self) -> str:
        """The server's own words."""
        return (self.home / "log").read_text(errors="replace")

    def _wait_until_it_greets(self) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            assert self._process
            assert self._process.poll() is None, f"{self.name} ended:\n{self.log}"
            try:
                with SmtpClient(settings_for(self), policy(total_seconds=PATIENCE)):
                    return
            except DeliveryError as error:
                assert time.monotonic() < end, f"{self.name} does not greet: {error}\n{self.log}"
                time.sleep(0.05)  # it has no event for it


def as_sent(message: bytes) -> bytes:
    """A message with LF at the ends of its lines, without the fields that servers put on top."""
    text = message.replace(b"\r\n", b"\n")
    while _ADDED.match(text):
        field = _FIELD.match(text)
        assert field
        text = text[field.end() :]
    return text
