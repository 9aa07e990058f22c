"""Who answers where no mail server is: its kind, told by how it begins to speak. Its own words are shown to nobody."""

import re
from typing import Final

SOMETHING: Final = "Something else"
LONG_ENOUGH: Final = 64  # octets, by which every kind is known
_DATABASE: Final = "A database"
# What each says first, unasked or to a greeting of TLS; the first that fits counts.
_BEGINNINGS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), kind)
    for pattern, kind in (
        # RFC 9110 15.4, RFC 6585 6: what asks everybody to sign in on a page first, as networks of hotels do.
        (rb"HTTP/\d\.\d (?:30[12378]|407|511)\b", "A web gateway"),
        (rb"HTTP/|<!doctype html|<html|ICY ", "An HTTP server"),
        (rb"SSH-", "An SSH server"),
        (rb"\* (?:OK|PREAUTH|BYE)\b", "An IMAP server"),
        # Redis complains as POP3 does (RFC 1939 3), in other words.
        (rb"-(?:DENIED|NOAUTH|LOADING|MISCONF|NOPROTO|WRONGPASS|BUSY)\b", _DATABASE),
        (
            rb"-ERR (?:max number of clients|unknown command|wrong number|protocol error|client sent|operation)",
            _DATABASE,
        ),
        (rb"\+OK|-ERR", "A POP3 server"),
        # MySQL and MariaDB: three octets of length, number 0, then version 10 of the protocol or an error.
        (rb".{2}\x00\x00[\x09\x0a\xff]", _DATABASE),
        (rb"E(?:\x00\x00|FATAL|invalid)", _DATABASE),  # PostgreSQL, to what it does not understand
        (rb"ERROR\r?\n", _DATABASE),  # memcached
        (rb"RFB \d", "A remote desktop"),
        (rb"\x03\x00\x00", "A remote desktop"),  # RFC 1006, as RDP has it
        (rb"\xff[\xfb-\xfe]", "A Telnet server"),  # RFC 854
        (rb"@RSYNCD:", "An rsync server"),
        (rb"\"IMPLEMENTATION\"", "A ManageSieve server"),  # RFC 5804
        (rb"(?::\S+ )?NOTICE ", "An IRC server"),
        (rb"AMQP|INFO \{", "A message broker"),
        (rb"<\?xml|<stream:", "A chat server"),  # RFC 6120
        (rb"(?:RTSP|SIP)/", "A media server"),
        (rb"\( success", "A Subversion server"),
        (rb"120[ -]", "An FTP server"),  # RFC 959 4.2.2
    )
)
# Of those whose replies look like ours (RFC 959, 3977, 2229), what their greetings say.
_GREETINGS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (r"ftpd|filezilla|\bftp\b(?![.\w-])|\bwelcome to pure-ftp|\bserv-u\b", "An FTP server"),
        (r"\bnntp|\binnd?\b|internetnews|\bnnrp", "A news server"),
        (r"\bdictd\b", "A dictionary server"),
        (r"\bhylafax\b", "A fax server"),
    )
)
_NEWS_READY: Final = (200, 201)  # RFC 3977 5.1.1; no mail server greets so
_WANTS_FTP_LOGIN: Final = re.compile(
    r"\buser and pass\b|\blog ?in with user\b|(?:not|n't|aren't) logged in", re.IGNORECASE
)
_MAIL: Final = re.compile(r"smtp|lmtp", re.IGNORECASE)


def kind_of(start: bytes) -> str:
    """What kind of service begins to speak like this, as the beginning of a sentence."""
    return next((kind for beginning, kind in _BEGINNINGS if beginning.match(start)), SOMETHING)


def names_mail(greeting: str) -> bool:
    """Whether a greeting says what it is, as nearly all mail servers do (RFC 5321 4.3.1)."""
    return _MAIL.search(greeting) is not None


def greets_as(code: int, text: str) -> str:
    """The kind of what speaks in codes and is no mail server, by its greeting; "" where that does not tell."""
    if names_mail(text):
        return ""
    if code in _NEWS_READY:
        return "A news server"
    return next((kind for words, kind in _GREETINGS if words.search(text)), "")


def refuses_as(text: str) -> str:
    """The same by how it refuses EHLO and HELO."""
    return "An FTP server" if _WANTS_FTP_LOGIN.search(text) else greets_as(0, text)
