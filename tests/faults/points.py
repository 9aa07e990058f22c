"""The points at which a process may die: before or after the n-th call of one of our functions."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from sqlalchemy.exc import OperationalError


@dataclass(frozen=True, kw_only=True)
class Point:
    """``function`` is "module:name" or "module:Class.name". With ``away`` no result gets into the database."""

    name: str
    function: str
    is_after: bool
    most: int = 1  # it is reached this often at least
    away: bool = False

    def arm(self, nth: int) -> None:
        """Let this process die when it gets here for the n-th time."""
        if self.away:
            wrap("services.worker.groups:_write", lambda _original: _refuse)
        wrap(self.function, lambda original: self._deadly(original, nth))

    def _deadly(self, original: Callable[..., Any], nth: int) -> Callable[..., Any]:
        reached = 0

        def deadly(*arguments: Any, **named: Any) -> Any:
            nonlocal reached
            reached += 1
            if reached == nth and not self.is_after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*arguments, **named)
            if reached >= nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return deadly


def wrap(function: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put something around a function of this process for good; it must be called by its module's or class's name."""
    module, _, path = function.partition(":")
    holder: Any = import_module(module)
    *classes, name = path.split(".")
    for each in classes:
        holder = getattr(holder, each)
    setattr(holder, name, wrapper(getattr(holder, name)))


def _refuse(*_: object) -> None:
    raise OperationalError("the database is away", None, Exception())


def _before(function: str, name: str, **changes: Any) -> Point:
    return Point(name=f"before {name}", function=function, is_after=False, **changes)


def _after(function: str, name: str, **changes: Any) -> Point:
    return Point(name=f"after {name}", function=function, is_after=True, **changes)


POINTS: Final = (
    _after("services.outbox.promise:sealed", "a mail is sealed", most=6),
    _after("database.outbox_add_db:add_all", "its row is added, uncommitted", most=6),
    _before("utils.listeners:Listeners.tell", "anybody hears of the commit", most=6),
    _after("services.outbox.promise:enqueue", "its row is committed", most=6),
    _after("database.outbox_claim_db:claim", "a claim, uncommitted", most=3),
    _after("services.worker.groups:claim_group", "a claim is committed"),
    _after("services.outbox.content:unseal", "a mail is unsealed", most=3),
    _before("database.outbox_claim_db:fence", "the fence"),
    _after("database.outbox_claim_db:fence", "the fence, uncommitted"),
    _after("services.worker.groups:_fenced", "the fence is committed"),
    _before("services.smtp.client:SmtpClient.open", "a connection is opened"),
    _after("services.smtp.client:SmtpClient.open", "a connection is open"),
    _before("services.smtp.wire:Wire.send", "something is said", most=4),
    _after("services.smtp.wire:Wire.send", "something is said", most=4),
    _before("services.smtp.wire:Wire.read_reply", "an answer is read", most=6),
    _after("services.smtp.wire:Wire.read_reply", "an answer is read", most=6),
    _before("services.smtp.exchange:Exchange._hand_over", "the dot"),
    _after("services.smtp.exchange:Exchange._hand_over", "the answer to the dot"),
    _after("services.smtp.exchange:Exchange._launch", "several mails are in flight"),
    _after("services.smtp.transaction:Transaction.receipt", "a mail is accepted", most=3),
    _after("services.worker.along_route:deliver", "a group is delivered"),
    _before("services.worker.groups:finish", "a group's results are written down"),
    _after("database.outbox_claim_db:settle", "results are written, uncommitted"),
    _after("database.attempt_db:add_all", "attempts are written, uncommitted"),
    _after("services.worker.groups:_write", "results are committed"),
    _before("services.worker.unwritten:keep", "a receipt is kept", away=True),
    _before("utils.private_files:sync", "a receipt's folder is on the disk", away=True),
    _after("services.worker.unwritten:keep", "a receipt is kept", away=True),
    _after("services.worker.unwritten:replay", "receipts are replayed"),
    _after("database.outbox_claim_db:reap_leased", "leases are reaped, uncommitted"),
    _after("database.outbox_claim_db:reap_transmitting", "unknown fates are noted, uncommitted"),
    _after("services.worker.groups:sweep", "a sweep"),
)
