"""Which mails of the log are wanted: a filter as values, and as the arguments of an address."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from database.attempt_db import LONGEST_SERVER
from database.mail_facets import LONGEST_TAG
from database.outbox_db import State
from services.outbox.reasons import Reason
from utils.addresses import InvalidAddress, ascii_recipient
from utils.errors import InvalidInput
from utils.numbers import LARGEST, whole_number

__all__ = ["LONGEST_TAG"]
LONGEST_MESSAGE_ID: Final = 255
_WHOLE_DAY: Final = len("2026-12-24")
_ANY_LOCAL_PART: Final = "a"
_CODES: Final = frozenset(map(str, Reason))


@dataclass(frozen=True, kw_only=True)
class MailFilter:
    """Which mails are wanted: those that all of this is true of; what is empty is true of every mail.

    ``recipient`` is a whole address or a domain, ``server`` one as the log names it, ``since`` and ``until`` (which
    is not in it) are of when a mail was queued, and ``cause`` is the code of a reason.
    """

    recipient: str = ""
    message_id: str = ""
    tag: str = ""
    states: tuple[State, ...] = ()
    server: str = ""
    account_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    cause: str = ""


def parse(args: Mapping[str, str]) -> MailFilter:
    """The filter that such arguments ask for, of the same names but ``state``, which may hold several with commas.

    What is no argument of ours, and what is empty, is ignored. Raises InvalidInput with all that is wrong.
    """
    errors: dict[str, list[str]] = {}
    values: dict[str, object] = {}
    for name, read in _READERS.items():
        text = args.get(name, "").strip()
        if not text:
            continue
        try:
            values["states" if name == "state" else name] = read(text)
        except ValueError as refused:
            errors[name] = [str(refused)]
    since, until = values.get("since"), values.get("until")
    if isinstance(since, datetime) and isinstance(until, datetime) and since >= until:
        errors["until"] = ["Enter a time after the first one."]
    if errors:
        raise InvalidInput(errors)
    return MailFilter(**values)  # type: ignore[arg-type]


def to_args(wanted: MailFilter) -> dict[str, str]:
    """The arguments from which ``parse`` reads this filter; what is empty is left out."""
    told = {
        "recipient": wanted.recipient,
        "message_id": wanted.message_id,
        "tag": wanted.tag,
        "state": ",".join(wanted.states),
        "server": wanted.server,
        "account_id": "" if wanted.account_id is None else str(wanted.account_id),
        "since": _told(wanted.since),
        "until": _told(wanted.until),
        "cause": wanted.cause,
    }
    return {name: text for name, text in told.items() if text}


def recipient(text: str) -> str:
    """A whole address, or a domain (with an @ before it or without). Raises ValueError."""
    local, at, domain = text.strip().rpartition("@")
    try:
        if at and local:
            return ascii_recipient(text.strip())
        return ascii_recipient(f"{_ANY_LOCAL_PART}@{domain}").partition("@")[2]
    except InvalidAddress:
        raise ValueError("Enter a whole address, or a domain like example.com.") from None


def states(texts: Iterable[str]) -> tuple[State, ...]:
    """States by their names, each once. Raises ValueError."""
    names = [text.strip().lower() for text in texts]
    if not set(names) <= set(State):
        raise ValueError(f"Enter one or more of: {', '.join(State)}.")
    return tuple(state for state in State if state in names)


def message_id(text: str) -> str:
    """A Message-ID, with its angle brackets or without. Raises ValueError."""
    bare = text.strip().removeprefix("<").removesuffix(">")
    if not bare or not bare.isprintable() or len(bare) > LONGEST_MESSAGE_ID - len("<>"):
        raise ValueError("Enter a Message-ID, like <3f2a@example.com>.")
    return f"<{bare}>"


def tag(text: str) -> str:
    """A tag. Raises ValueError."""
    return _printable(text, LONGEST_TAG)


def server(text: str) -> str:
    """A server as the log names it. Raises ValueError."""
    return _printable(text, LONGEST_SERVER)


def account_id(text: str) -> int:
    """The number of an account. Raises ValueError."""
    found = whole_number(text, 1, LARGEST)
    if found is None:
        raise ValueError(f"Enter a whole number from 1 to {LARGEST}.")
    return found


def cause(text: str) -> str:
    """The code of a reason. Raises ValueError."""
    if text not in _CODES:
        raise ValueError(f"Enter the code of a reason, like {Reason.NO_RECIPIENT}.")
    return text


def since(text: str) -> datetime:
    """A moment; a day alone is its beginning. Raises ValueError."""
    return _moment(text)


def until(text: str) -> datetime:
    """A moment; a day alone is its end. Raises ValueError."""
    moment = _moment(text)
    return moment + timedelta(days=1) if len(text) <= _WHOLE_DAY else moment


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        # Near the first and the last year no other zone has the moment, and no day follows.
        moment = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        moment + timedelta(days=1)  # the sum of it is what can fail
        return moment
    except (ValueError, OverflowError):
        raise ValueError("Enter a date and time, like 2026-12-24T08:00, in UTC unless it names its zone.") from None


def _told(moment: datetime | None) -> str:
    """A moment in which no character has to be escaped in an address."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() if moment else ""


def _printable(text: str, most: int) -> str:
    if not 0 < len(text) <= most or not text.isprintable():
        raise ValueError(f"Enter at most {most} printable characters.")
    return text


_READERS: Final = {
    "recipient": recipient,
    "message_id": message_id,
    "tag": tag,
    "state": lambda text: states(text.split(",")),
    "server": server,
    "account_id": account_id,
    "since": since,
    "until": until,
    "cause": cause,
}
