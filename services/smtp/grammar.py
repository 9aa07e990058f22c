"""How things are written in an SMTP conversation: pure functions between our values and its lines."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from services.smtp.wire import Reply
from utils.addresses import ascii_recipient, has_odd_dots, header_form
from utils.numbers import whole_number

READY, DONE, GO_AHEAD, GOING_AWAY = 220, 250, 354, 421
LONGEST_COMMAND: Final = 510  # octets without CRLF, RFC 5321 4.5.3.1.4
GROUP_OCTETS: Final = 4096  # sent at once, so that neither side waits for the other to read (RFC 2920 3.1)
GROUP_COMMANDS: Final = 100
_OUT_OF_STEP: Final = {500, 501, 502, 503}
_MEGABYTE: Final = 1_000_000
_LARGEST_SIZE: Final = 10**20 - 1  # RFC 1870 4: up to 20 digits; more say nothing
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_ONE_ADDRESS: Final = re.compile(r'[^ <>@"\\]+@[^ <>@"\\]*')
# The id alone: no bracket, quote or full stop around it, and no count of octets or seconds.
_ID: Final = r"""["'<(\[]?([^\s;"'<>()\[\]]*[^\s;,"'<>()\[\].:])"""
_QUEUE_IDS: Final = tuple(
    re.compile(form.replace("ID", _ID), re.I)
    for form in (
        r"queued (?:on \S+ )?as (?:id[=:] ?)?ID",  # Postfix and many others; with its host: Yandex
        r"\bqp (\d+)",  # qmail
        r"\binternalid=(\d+)",  # Exchange
        r"(?<!message-)\b(?:queue )?id(?:[=:] ?| (?=\S*\d))ID",  # Exim; a Message-ID is no name of the server's
        r"(?=\S*\d)ID (?:message|mail) accepted for delivery",  # sendmail
        r"\bmessage (\d+) accepted",  # Cisco's gateways
        r"\bmessage queued \(ID\)",  # Haraka
        r"\bOK:? +(?:\d{9,} +)?(?=\S*\d)ID>?(?!\S)(?! +(?:bytes|octets|seconds))",  # Gmail, Amazon SES, Exchange Online
    )
)
_LONGEST_RECEIPT: Final = 500  # characters that are looked at
TOO_MANY: Final = "4.5.3"  # RFC 3463: too many recipients
TOO_MANY_STATUSES: Final = (TOO_MANY, "5.5.3")
TOO_MANY_WORDS: Final = "too many recipients"
_ONE_CONNECTION: Final = re.compile(
    r"(?:too many|maximum|limit)\b.*\b(?:message|mail|transaction)s?\b"
    r"|\b(?:message|mail|transaction)s?\b.*\b(?:connection|session|limit|maximum)",
    re.I,
)
_MASKED_GREETING: Final = re.compile(r"\*{8}")
_MASKED_KEYWORD: Final = re.compile(r"X{3,}[A-Z]?")
_WORTH_SHOWING: Final = ("STARTTLS", "AUTH", "SIZE", "PIPELINING", "8BITMIME", "SMTPUTF8")


def host_name(name: str) -> bytes:
    """A name for EHLO. ValueError if it is neither a host name nor an address literal."""
    if not _HOST_NAME.fullmatch(name):
        raise ValueError("The EHLO name is neither a host name nor an address literal.")
    return name.encode()


@lru_cache(maxsize=4096)  # asked for four times with every mail
def path(address: str) -> bytes:
    """An address between angle brackets, its domain as A-labels; empty for the null sender.

    ValueError for anything that could end the path or the line, or that is not exactly one address.
    """
    if address and not (address.isprintable() and _ONE_ADDRESS.fullmatch(address)):
        raise ValueError("An envelope address has a forbidden character or is not one address.")
    if not address.rpartition("@")[2].isascii():
        address = ascii_recipient(address)
    return b"<" + address.encode() + b">"


def quoted_path(address: str) -> bytes | None:
    """The other spelling of a path whose local part has dots at odd places: in quotes, as RFC 5321 4.1.2 wants it.

    Servers that give out such addresses know them as they are, others say 501 or 553 to that. None where an address
    has one spelling only. ValueError as for ``path``.
    """
    plain = path(address)
    local, _, domain = plain[1:-1].decode().rpartition("@")
    return f"<{header_form(f'{local}@{domain}')}>".encode() if has_odd_dots(local) else None


def groups(commands: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The commands in groups that may be sent at once to a server with PIPELINING (RFC 2920)."""
    group: list[bytes] = []
    octets = 0
    for command in commands:
        if group and (octets + len(command) > GROUP_OCTETS or len(group) == GROUP_COMMANDS):
            yield group
            group, octets = [], 0
        group.append(command)
        octets += len(command) + 2
    yield group


def together(commands: Sequence[bytes]) -> bytes:
    """Commands as they are sent at once."""
    return b"\r\n".join(commands) + b"\r\n"


def ended(content: bytes) -> bytes:
    """The message, its last line ended. ValueError for a bare CR or LF: it could end the message elsewhere."""
    ends = content.count(b"\r\n")
    if content.count(b"\n") != ends or content.count(b"\r") != ends:
        raise ValueError("The content has a line end other than CRLF.")
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"


def dot_stuffed(content: bytes) -> bytes:
    """An ended message as it goes behind 354, with its final dot (RFC 5321 4.5.2)."""
    if content.startswith(b".") or b"\n." in content:
        content = b"." * content.startswith(b".") + content.replace(b"\n.", b"\n..")
    return content + b".\r\n"


def last_chunk(content: bytes) -> bytes:
    """An ended message as the one chunk behind RCPT (RFC 3030 2)."""
    return b"BDAT %d LAST\r\n%b" % (len(content), content)


def features(hello: Reply) -> dict[str, str]:
    """The extensions of an EHLO reply, each with its parameters in upper case (RFC 5321 4.1.1.1)."""
    found: dict[str, str] = {}
    for line in hello.lines[1:]:
        # Old servers write AUTH=LOGIN, often beside a line in today's form.
        keyword, _, parameters = line.upper().replace("AUTH=", "AUTH ", 1).partition(" ")
        found[keyword] = f"{found[keyword]} {parameters}" if keyword in found else parameters
    return found


def is_masked(greeting: str, offered: Iterable[str]) -> bool:
    """Whether a device on the way overwrites what servers say, as the SMTP inspection of Cisco's firewalls does: all of
    a greeting with asterisks, an extension that it does not know with X, to the same length.
    """
    return _MASKED_GREETING.search(greeting) is not None or any(map(_MASKED_KEYWORD.fullmatch, offered))


def face(hello: Reply) -> str:
    """What tells this server from another that may answer at the same address, in short."""
    return hashlib.sha256("\n".join(hello.lines).encode()).hexdigest()[:16]


def size_limit(offered: Mapping[str, str]) -> int:
    """The most octets that a message may have (RFC 1870); 0 if the server does not say."""
    words = offered.get("SIZE", "").split()
    return (words and whole_number(words[0], high=_LARGEST_SIZE)) or 0


def offers(offered: dict[str, str]) -> str:
    """A short list of what the server offers, for people."""
    parts = []
    for keyword in _WORTH_SHOWING:
        if keyword == "SIZE" and (limit := size_limit(offered)):
            parts.append(f"SIZE {limit // _MEGABYTE} MB" if limit >= _MEGABYTE else f"SIZE {limit}")
        elif keyword in offered and keyword != "SIZE":
            parts.append(f"AUTH {offered[keyword]}" if keyword == "AUTH" else keyword)
    return ", ".join(parts) or "nothing"


def queue_id(text: str) -> str | None:
    """The server's name for an accepted message, where its reply is of a known form."""
    return next((found[1] for form in _QUEUE_IDS if (found := form.search(text[:_LONGEST_RECEIPT]))), None)


def are_out_of_step(replies: Sequence[Reply], commands: int) -> bool:
    """Whether commands that were sent together were not understood, so that sending them singly may help."""
    first, *others = replies
    last = others.pop() if len(replies) == commands else None
    if last and (last.ok or last.code == GO_AHEAD):
        return False
    decisive = [first, *others] if first.ok else [first]
    if last and any(reply.ok for reply in others):
        decisive.append(last)
    return any(reply.code in _OUT_OF_STEP and not (reply.enhanced or "").startswith("5.1.") for reply in decisive)


def too_many(reply: Reply) -> Reply:
    """The answer to a recipient too many, as a server says it that knows the word (RFC 5321 4.5.3.1.10)."""
    return Reply(452, TOO_MANY, reply.lines)


def are_too_many(reply: Reply) -> bool:
    """Whether a recipient was refused because the mail has more of them than the server takes at a time."""
    if not (reply.temporary or reply.permanent):
        return False
    return reply.enhanced in TOO_MANY_STATUSES or TOO_MANY_WORDS in reply.text.lower()


def is_about_one_connection(text: str) -> bool:
    """Whether a server that leaves says that it carries no more mails on one connection."""
    return _ONE_CONNECTION.search(text) is not None
