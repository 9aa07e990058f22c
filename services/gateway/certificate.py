"""The gateway's certificate: read at the start, and again when its files change, while connections go on."""

import ssl
import threading
from pathlib import Path
from typing import Final

import structlog

from utils.env_reader import ConfigurationError
from utils.submission_env import CERTIFICATE, KEY, Submission

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 2.0  # between two looks at the files

_Seen = tuple[tuple[int, int, int], ...]


class Certificate:
    """The certificate in use. ``trouble`` is why what the files hold now cannot be, while the one before serves."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises ConfigurationError where there is none to begin with."""
        self._files = (certificate, key)
        self._lock = threading.Lock()
        self.trouble = ""
        try:
            self._seen = self._look()
            self._context = self._load()
        except (OSError, ValueError) as error:
            raise ConfigurationError(_words(error)) from None

    @property
    def context(self) -> ssl.SSLContext:
        """For a connection that begins now."""
        with self._lock:
            return self._context

    def look_again(self) -> None:
        """Take what the files hold now, if they have changed and that is fit."""
        try:
            seen = self._look()
            if seen == self._seen:
                return
            self._seen = seen
            context = self._load()
        except (OSError, ValueError) as error:
            words = _words(error)
            if words != self.trouble:
                log.error("gateway_certificate_not_taken", reason=words, consequence="The one before still serves.")
            self.trouble = words
            return
        with self._lock:
            self._context = context
        self.trouble = ""
        log.info("gateway_certificate_taken")

    def _look(self) -> _Seen:
        found = [file.stat() for file in self._files]
        return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in found)

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._files, password=_no_password)
        return context


def of(submission: Submission) -> Certificate | None:
    """The one that the settings name. Raises ConfigurationError if it cannot be used."""
    if submission.certificate is None or submission.key is None:
        return None
    return Certificate(submission.certificate, submission.key)


def _no_password() -> str:
    """Nobody could be asked for it."""
    raise ValueError("encrypted")


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        is_pair = error.reason == "KEY_VALUES_MISMATCH"
        return f"{KEY} is not the key of {CERTIFICATE}." if is_pair else f"{CERTIFICATE} and {KEY} must be PEM files."
    if isinstance(error, OSError):
        return f"{CERTIFICATE} or {KEY} cannot be read: {error.strerror}."
    return f"{KEY} needs a password. Store the key without one."
