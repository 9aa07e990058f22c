"""What a start prints: where the application is and, while there is no administrator, how to become the first."""

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from flask import Flask

from services import local_inbox
from services.accounts import accounts
from services.checks import start
from utils import own_addresses
from utils.env_urls import http_url, is_wildcard
from utils.env_utils import EXTENSION, Settings

log = structlog.get_logger(__name__)

_PROC: Final = Path("/proc")
_CLOCK_TOLERANCE: Final = timedelta(seconds=2)  # the kernel tells the start of the machine in whole seconds
_START_TIME: Final = 19  # of a process, in /proc/PID/stat behind its name (proc_pid_stat(5): field 22)


def announce(app: Flask, *, listens: bool = False) -> None:
    """Print it, and log what is probably a mistake. ``listens``: this process serves at HOST and PORT itself."""
    config: Settings = app.extensions[EXTENSION]
    _say(f"\n  Sealpost is at   {config.base_url}")
    for url in _other_addresses(config) if listens else []:
        _say(f"  Also at          {url}")
    code = accounts.issue_setup_code(unless_since=_start_of_siblings())
    if code:
        _say(f"  Set it up at     {config.base_url}/setup")
        _say(f"  Set-up code      {code}")
    if config.has_local_inbox and listens:
        _announce_inbox(config)
    if config.mail_suppress_send:
        log.warning("mail_is_suppressed", remedy="Remove MAIL_SUPPRESS_SEND from the environment to send mail.")
    if not config.mail_senders and not config.celery_broker_url:
        log.warning("sends_no_queued_mail", reason="MAIL_SENDERS is 0", remedy="Run: flask mail worker")
    start.warn()
    _say("")


def _say(line: str) -> None:
    """Print a line in one piece: another thread that logs at this moment must not come in between its text and its end,
    or a code would be copied with what does not belong to it.
    """
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _announce_inbox(config: Settings) -> None:
    """Where the local inbox is read, if this process has it; where nobody has, that is also in the route."""
    reason = local_inbox.why_not_here()
    if reason:
        log.warning("local_inbox_not_here", reason=reason)
    else:
        _say(f"  Local inbox at   {config.base_url}/inbox")


def _other_addresses(config: Settings) -> list[str]:
    """Where else a browser finds what listens on every address."""
    if not is_wildcard(config.host):
        return []
    urls = [http_url(address, config.port) for address in own_addresses.reachable(config.host)]
    return [url for url in urls if url != config.base_url]


def _start_of_siblings() -> datetime | None:
    """When the server began whose forked worker this is; None for a process of its own.

    A worker has its parent's command line. The first of them prints a code, which is good for all.
    """
    parent = _PROC / str(os.getppid())
    try:
        if (parent / "cmdline").read_bytes() != (_PROC / "self" / "cmdline").read_bytes():
            return None
        ticks = int((parent / "stat").read_text().rpartition(")")[2].split()[_START_TIME])
    except (OSError, IndexError):  # no Linux, or a parent that is gone
        return None
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return datetime.now(UTC) - timedelta(seconds=age) - _CLOCK_TOLERANCE
