"""Results that the database could not take: kept in files on this machine until it can.

A server has said 250 and the database is away: without these files the mail would be sent again. Each file holds
what was to be written together, appears whole or not at all (rename), and is on the disk before anything goes on.
"""

import base64
import json
import os
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from database.attempt_db import AttemptRow
from database.conversation_db import ConversationRow
from database.outbox_claim_db import Settlement
from services.outbox import reasons
from utils import private_files

log = structlog.get_logger(__name__)

_MOMENT: Final = "$moment"
_OCTETS: Final = "$octets"


class News(NamedTuple):
    """What is to be written of a group together: what became of its mails, each attempt's row, and what was said."""

    settlements: Sequence[Settlement]
    attempts: Sequence[AttemptRow]
    conversations: Sequence[ConversationRow] = ()


def keep(instance: Path, news: News) -> None:
    """Write the news of a group below the ``instance`` folder. Raises OSError if the disk does not take them."""
    folder = instance / private_files.RECEIPTS
    private_files.make_folder(instance)
    private_files.make_folder(folder)
    name = secrets.token_hex(16)
    unfinished, finished = folder / f"{name}.part", folder / f"{name}.json"
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, private_files.FILE), "w") as file:
        results = [settlement._asdict() for settlement in news.settlements]
        kept = {"results": results, "attempts": news.attempts, "conversations": news.conversations}
        json.dump(kept, file, default=_plain)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(finished)
    private_files.sync(folder)


def replay(instance: Path, settle: Callable[[News], object]) -> int:
    """Hand every kept group to ``settle`` and forget it once that has returned; how many there were.

    Harmless when done twice or by two processes at once: a result counts only for the lease that it belongs to.
    """
    replayed = 0
    for file in sorted((instance / private_files.RECEIPTS).glob("*.json")):
        try:
            news = _read(json.loads(file.read_text(), object_hook=_moment))
        except FileNotFoundError:  # another process has just done it
            continue
        except (ValueError, LookupError, TypeError):
            log.error("receipt_unreadable", file=file.name)
            file.rename(file.with_suffix(".unreadable"))
            continue
        settle(news)
        file.unlink(missing_ok=True)
        replayed += 1
    return replayed


def _read(kept: dict[str, Any]) -> News:
    """What this version, or one before, has kept; earlier ones kept the reason in words."""
    settlements = [Settlement(**{**each, "reason": reasons.recoded(each["reason"])}) for each in kept["results"]]
    return News(settlements, kept["attempts"], kept.get("conversations", ()))


def _plain(value: object) -> dict[str, str]:
    if isinstance(value, bytes):
        return {_OCTETS: base64.b64encode(value).decode()}
    if not isinstance(value, datetime):
        raise TypeError(f"a {type(value).__name__} in a receipt")
    return {_MOMENT: value.isoformat()}


def _moment(found: dict[str, Any]) -> object:
    if _OCTETS in found:
        return base64.b64decode(found[_OCTETS])
    return datetime.fromisoformat(found[_MOMENT]) if _MOMENT in found else found
