#!/usr/bin/python3 -I
"""sealpost-sendmail: stands at /usr/sbin/sendmail and hands what cron, PHP and scripts write to Sealpost's gateway.

One file that needs the standard library alone, so that it runs where nothing else of Sealpost is, and starts fast. It
has no queue: what the gateway has not taken when it ends was not taken, and its exit status says so as sendmail's does
(/usr/include/sysexits.h). docs/sendmail.md says how it is set up.
"""

import base64
import os
import re
import signal
import smtplib
import socket
import ssl
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import Header
from email.utils import formataddr, formatdate, getaddresses
from io import BytesIO
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

EX_OK, EX_USAGE, EX_DATAERR, EX_NOUSER, EX_UNAVAILABLE, EX_SOFTWARE = 0, 64, 65, 67, 69, 70
EX_IOERR, EX_TEMPFAIL, EX_PROTOCOL, EX_NOPERM, EX_CONFIG = 74, 75, 76, 77, 78

CONFIGURATION: Final = "/etc/sealpost/sendmail.conf"
_PREFIX: Final = "SEALPOST_SENDMAIL_"
_NAMES: Final = ("host", "port", "encryption", "username", "token", "token_file", "ca_file", "from", "root")
_ENCRYPTIONS: Final = ("starttls", "tls", "none")
_TLS_PORT: Final = 465
_HIGHEST_PORT: Final = 65535
_SECONDS: Final = 60.0  # for each answer of the gateway, which stores before it answers
_MOST_OCTETS: Final = 100 * 1024 * 1024  # what is read at all; the gateway has a limit of its own
_LONGEST_LINE: Final = 998  # octets without CRLF (RFC 5322 2.1.1)
_LONGEST_QUOTE: Final = 300

_WITH_VALUE: Final = "ABCFLNORVXbdefhopr"  # of sendmail's and Postfix's options, those that a value follows
_IGNORED: Final = "ABCGLNORUVXdehmnopv"
_NO_TO: Final = {
    "bs": "It does not speak SMTP on standard input; programs that do can reach the gateway itself.",
    "bd": "It is no server.", "bD": "It is no server.", "bh": "It keeps no queue.", "bH": "It keeps no queue.",
    "bi": "It has no aliases.", "bl": "It is no server.", "bp": "It keeps no queue; /emails in Sealpost shows one.",
    "bt": "It has no rules to test.", "bv": "It cannot verify addresses.",
    "I": "It has no aliases.", "q": "It keeps no queue.",
}  # fmt: skip

_ADDRESSES: Final = ("from", "sender", "reply-to", "to", "cc", "resent-from", "resent-to", "resent-cc")
_OF_SENDERS: Final = ("from", "sender", "reply-to", "resent-from")
_DROPPED: Final = ("bcc", "resent-bcc", "return-path")
_WITHIN_LETTER: Final = range(0x80, 0xC0)  # of UTF-8
_FIELD_NAME: Final = re.compile(rb"([!-9;-~]+)[ \t]*:")
_STATUS: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?= |$)")
_NOT_IN_ADDRESSES: Final = re.compile(r"[\x00-\x20\x7f<>\ud800-\udfff]")  # the last are octets that are not UTF-8


_Refused = tuple[str, tuple[int, bytes]]  # a recipient, and the reply


class SendmailError(Exception):
    """The email was not handed over, or not for all. ``status`` is the exit status, the text one plain line."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class SendmailCall:
    """What the command line says. ``sender`` is None where it says none, and "" for the empty one."""

    recipients: tuple[str, ...] = ()
    reads_recipients: bool = False
    sender: str | None = None
    full_name: str = ""
    dot_is_text: bool = False


@dataclass(frozen=True, kw_only=True)
class GatewayPlace:
    """Where the gateway is, how to sign in, and whose address stands in for names without a domain."""

    host: str = "127.0.0.1"
    port: int = 587
    encryption: str = "none"
    username: str = ""
    token: str = field(default="", repr=False)
    ca_file: str = ""
    sender: str = ""
    root: str = ""


@dataclass(frozen=True, kw_only=True)
class Letter:
    """An email on its way: the envelope, and the content with LF at the ends of its lines."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


def main() -> NoReturn:
    """Read the command line and standard input, hand the email over, and end with the status of sysexits."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    given = sys.stdin.buffer if sys.stdin else BytesIO()  # a daemon may have closed it
    sys.exit(run(sys.argv[1:], os.environ, given))


def run(arguments: Sequence[str], environment: Mapping[str, str], given: BinaryIO) -> int:
    """The same, for who has those at hand; gives the exit status."""
    try:
        asked = _asked(arguments)
        text = _read(given, asked.dot_is_text)
        place = _place(environment)
        _hand_over(place, _letter(text, asked, place))
    except SendmailError as error:
        return _said(error.status, str(error))
    except Exception as error:  # a traceback would show what stands in variables
        fault = f"The email was not sent ({type(error).__name__}). This is a mistake in sealpost-sendmail. Report it."
        return _said(EX_SOFTWARE, fault)
    return EX_OK


def _said(status: int, text: str) -> int:
    with suppress(OSError):
        if sys.stderr:
            sys.stderr.write(f"sealpost-sendmail: {text}\n")
    return status


# The command line


def _asked(arguments: Sequence[str]) -> SendmailCall:
    sender: str | None = None
    full_name, reads_recipients, dot_is_text = "", False, False
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        for letter, value in _letters(word, rest):
            if letter in "fr":
                sender = value.strip().removeprefix("<").removesuffix(">")
            elif letter == "F":
                full_name = value
            elif letter == "t":
                reads_recipients = True
            elif letter == "i" or (letter == "o" and value == "i"):
                dot_is_text = True
            else:
                _check_ignored(letter, value)
    recipients = tuple(address for word in rest for address in _listed(word))
    if not recipients and not reads_recipients:
        raise SendmailError(EX_USAGE, "There is no recipient. Name one, or use -t to have them read from the email.")
    return SendmailCall(
        recipients=recipients,
        reads_recipients=reads_recipients,
        sender=sender,
        full_name=full_name,
        dot_is_text=dot_is_text,
    )


def _letters(word: str, rest: list[str]) -> Iterable[tuple[str, str]]:
    """The options in a word like ``-ti`` or ``-fa@b.example``; a value that stands apart is taken from ``rest``."""
    if word.startswith("--"):
        raise SendmailError(EX_USAGE, "Options with two hyphens are not known; sendmail has none.")
    for position, letter in enumerate(word[1:], start=2):
        if letter == "q":
            yield letter, word[position:]  # an interval may follow, with nothing between
            return
        if letter in _WITH_VALUE:
            value = word[position:]
            if not value and not rest:
                raise SendmailError(EX_USAGE, f"A value has to follow -{letter}.")
            yield letter, value or rest.pop(0)
            return
        yield letter, ""


def _check_ignored(letter: str, value: str) -> None:
    """Raises SendmailError for what this program cannot do; what changes nothing here is let pass."""
    if reason := _NO_TO.get(f"{letter}{value[:1]}" if letter == "b" else letter):
        shown = f"-{letter}{value[:1]}" if letter == "b" else f"-{letter}"
        raise SendmailError(EX_USAGE, f"{shown} is not possible. {reason}")
    if letter not in _IGNORED and (letter, value[:1]) != ("b", "m"):
        raise SendmailError(EX_USAGE, "An option is not known. Those of docs/sendmail.md are.")


def _listed(word: str) -> list[str]:
    """The addresses of an argument: one, or several with commas."""
    return [address for _, address in getaddresses([word]) if address] or [word]


# The settings


def _place(environment: Mapping[str, str]) -> GatewayPlace:
    named = environment.get(f"{_PREFIX}CONF", "")
    values = _from_file(Path(named or CONFIGURATION), is_needed=bool(named))
    values |= {name: given for name in _NAMES if (given := environment.get(_PREFIX + name.upper(), "").strip())}
    if not values.get("token") and values.get("token_file"):
        values["token"] = _private(Path(values["token_file"])).strip()
    host, port = values.get("host", GatewayPlace.host), _port(values.get("port", str(GatewayPlace.port)))
    usual = "tls" if port == _TLS_PORT else "none" if _is_loopback(host) else "starttls"
    encryption = values.get("encryption", usual).lower()
    if encryption not in _ENCRYPTIONS:
        raise SendmailError(EX_CONFIG, "'encryption' has to be starttls, tls or none.")
    username, token = values.get("username", ""), values.get("token", "")
    if bool(username) != bool(token):
        raise SendmailError(EX_CONFIG, "'username' and 'token' are needed together. Set both, or neither.")
    if token and encryption == "none" and not _is_loopback(host):
        raise SendmailError(
            EX_CONFIG, "The token would cross the network unencrypted. Set encryption to starttls or tls."
        )
    return GatewayPlace(
        host=host,
        port=port,
        encryption=encryption,
        username=username,
        token=token,
        ca_file=values.get("ca_file", ""),
        sender=values.get("from", ""),
        root=values.get("root", ""),
    )


def _from_file(path: Path, *, is_needed: bool) -> dict[str, str]:
    """The settings of a file with lines ``name = value``; with none of the usual name, there are none."""
    if not is_needed and not path.exists():
        return {}
    values: dict[str, str] = {}
    for number, line in enumerate(_text_of(path)[0].splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or name not in _NAMES:
            known = ", ".join(_NAMES)
            raise SendmailError(EX_CONFIG, f"Line {number} of {path} is not a setting. Those are known: {known}.")
        values[name] = value
    if "token" in values:
        _private(path)
    return values


def _private(path: Path) -> str:
    """What a file holds that nobody but its owner and group may read. Raises SendmailError."""
    text, mode = _text_of(path)
    if mode & 0o007:
        raise SendmailError(
            EX_CONFIG, f"Anyone on this machine can read the token in {path}. Correct that: chmod o= {path}"
        )
    return text


def _text_of(path: Path) -> tuple[str, int]:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(), os.fstat(file.fileno()).st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SendmailError(EX_CONFIG, f"{path} cannot be read ({reason}) by user id {os.geteuid()}.") from None


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and 0 < int(text) <= _HIGHEST_PORT:
        return int(text)
    raise SendmailError(EX_CONFIG, f"'port' has to be a number from 1 to {_HIGHEST_PORT}.")


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host.lower() == "localhost"


# The email


def _read(given: BinaryIO, dot_is_text: bool) -> bytes:
    """Standard input with LF at the ends of its lines, up to a dot alone unless that is text."""
    try:
        text = given.read(_MOST_OCTETS + 1)
    except OSError as error:
        raise SendmailError(EX_IOERR, f"The email cannot be read from standard input ({_reason(error)}).") from None
    if len(text) > _MOST_OCTETS:
        raise SendmailError(EX_DATAERR, f"The email is larger than {_MOST_OCTETS >> 20} MiB. It was not sent.")
    # PHP ends the lines of a header by CRLF and those of a body by LF. What cron gets has CR between the steps of a
    # progress bar, and sometimes a NUL: no email may contain them (RFC 5322 2.2), which is no reason to lose it.
    text = re.sub(rb"\r*\n|\r", b"\n", text).replace(b"\0", b"")
    if dot_is_text:
        return _ended(text)
    return _ended((b"\n" + _ended(text)).partition(b"\n.\n")[0][1:])


def _ended(text: bytes) -> bytes:
    return text if text.endswith(b"\n") else text + b"\n"


def _letter(text: bytes, asked: SendmailCall, place: GatewayPlace) -> Letter:
    fields, body = _parted(text)
    recipients = asked.recipients
    if asked.reads_recipients:
        is_resent = any(_name(each).startswith("resent-") for each in fields)
        names = {f"resent-{name}" if is_resent else name for name in ("to", "cc", "bcc")}
        recipients += tuple(found for each in fields if _name(each) in names for _, found in _addresses(each) if found)
    if not recipients:
        raise SendmailError(EX_USAGE, "There is no recipient in To, Cc or Bcc. The email was not sent.")
    sender = _sender(fields, asked, place)
    header = [_mended(each, sender, place) for each in fields if _name(each) not in _DROPPED]
    there = set(map(_name, header))
    if "from" not in there:
        header.insert(0, b"From: " + _written([(asked.full_name, sender or place.sender)]) + b"\n")
    if "date" not in there:
        header.insert(0, b"Date: " + formatdate(localtime=True).encode() + b"\n")
    content = re.sub(rb"[^\n]{%d,}" % (_LONGEST_LINE + 1), _broken, b"".join(header) + b"\n" + body)
    whole = tuple(dict.fromkeys(_whole(address, place) for address in recipients))
    return Letter(sender=_checked(sender) if sender else "", recipients=whole, content=content)


def _parted(text: bytes) -> tuple[list[bytes], bytes]:
    """The fields of the header, each with its line ends, and the body; without a header, all is body."""
    fields: list[bytes] = []
    start = text.find(b"\n") + 1 if text.startswith((b"From ", b">From ")) else 0  # as in a mailbox file
    while start < len(text):
        end = text.find(b"\n", start) + 1
        line = text[start:end]
        if line == b"\n":
            return fields, text[end:]
        if line[:1] in b" \t" and fields:
            fields[-1] += line
        elif _FIELD_NAME.match(line):
            fields.append(line)
        else:
            break
        start = end
    return fields, text[start:]


def _name(header_field: bytes) -> str:
    """The name of a field, in small letters."""
    return header_field.partition(b":")[0].strip().decode("ascii").lower()


def _value(header_field: bytes) -> str:
    """The value of a field on one line; what is not UTF-8 is read as Latin 1, as programs of old write it."""
    octets = b" ".join(header_field.partition(b":")[2].split())
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _addresses(header_field: bytes) -> list[tuple[str, str]]:
    return getaddresses([_value(header_field)])


def _sender(fields: Sequence[bytes], asked: SendmailCall, place: GatewayPlace) -> str:
    """The envelope's sender: as asked, as From says, or the one of the settings where neither has a domain."""
    if asked.sender == "":
        return ""
    named = [asked.sender] if asked.sender else []
    named += [found for each in fields if _name(each) == "from" for _, found in _addresses(each)][:1]
    usable = [address for address in (*named[:1], place.sender, place.username) if "@" in address]
    if not usable:
        raise SendmailError(EX_CONFIG, f"No sender has a domain. Write 'from = you@example.com' into {CONFIGURATION}.")
    return usable[0]


def _whole(address: str, place: GatewayPlace) -> str:
    """A recipient's address; a name of this machine, like root, stands for the one that the settings name."""
    if "@" in _checked(address):
        return address
    if "@" in place.root:
        return _checked(place.root)
    shown = _printable(address)
    raise SendmailError(
        EX_NOUSER, f"'{shown}' is not an address. Write 'root = you@example.com' into {CONFIGURATION} for such names."
    )


def _checked(address: str) -> str:
    if _NOT_IN_ADDRESSES.search(address) or address.startswith("-"):
        raise SendmailError(EX_USAGE, f"'{_printable(address)}' is not an address. The email was not sent.")
    return address


def _mended(header_field: bytes, sender: str, place: GatewayPlace) -> bytes:
    """A field as it may be sent: addresses have a domain, and what is not ASCII is encoded (RFC 2047)."""
    name = _name(header_field)
    if name in _ADDRESSES:
        found = _addresses(header_field)
        stand_in = place.sender or sender if name in _OF_SENDERS else place.root
        is_bare = any(address and "@" not in address for _, address in found) and "@" in stand_in
        if is_bare or not header_field.isascii():
            whole = [(shown, address if "@" in address or not stand_in else stand_in) for shown, address in found]
            return header_field.partition(b":")[0] + b": " + (_written(whole) or b"undisclosed-recipients:;") + b"\n"
    elif not header_field.isascii() and not name.startswith("content-"):
        with suppress(HeaderParseError):
            value = Header(_value(header_field), "utf-8", header_name=name).encode()
            return header_field.partition(b":")[0] + b": " + value.encode() + b"\n"
    return header_field


def _written(found: Iterable[tuple[str, str]]) -> bytes:
    """Addresses as they stand in a field, folded after each; one that is not ASCII stays as it is (RFC 6532)."""
    each = [
        formataddr((_printable(shown), "@")).removesuffix("<@>") + f"<{address}>" if shown else address
        for shown, address in found
        if address
    ]
    return ",\n ".join(each).encode("utf-8", "replace")


def _broken(line: re.Match[bytes]) -> bytes:
    """A line that is too long, as Postfix breaks it: the rest follows behind a space, which also folds a field."""
    text, parts = line[0], []
    while len(text) >= _LONGEST_LINE:
        end = _LONGEST_LINE - 1
        while end > _LONGEST_LINE - 5 and text[end] in _WITHIN_LETTER:
            end -= 1
        parts.append(text[:end])
        text = text[end:]
    return b"\n ".join([*parts, text])


# The conversation


def _hand_over(place: GatewayPlace, letter: Letter) -> None:
    """Returns once the gateway has stored the email for every recipient. Raises SendmailError."""
    server = _connected(place)
    done: list[str] = []
    try:
        _converse(server, place, letter, done)
    except smtplib.SMTPServerDisconnected:
        raise _away(place, "it closed the connection", done) from None
    except smtplib.SMTPResponseException as error:
        raise _refusal("accepts no email", error.smtp_code, error.smtp_error, place) from None
    except OSError as error:  # also a time-out
        raise _away(place, _reason(error), done) from None
    finally:
        server.close()


def _connected(place: GatewayPlace) -> smtplib.SMTP:
    try:
        name = socket.gethostname()
        name = name if re.fullmatch(r"[A-Za-z0-9.-]{1,255}", name) else "localhost"
        if place.encryption == "tls":
            return smtplib.SMTP_SSL(place.host, place.port, name, timeout=_SECONDS, context=_context(place))
        return smtplib.SMTP(place.host, place.port, name, timeout=_SECONDS)
    except ssl.SSLCertVerificationError as error:
        raise _untrusted(place, error) from None
    except smtplib.SMTPConnectError as error:
        raise _refusal("accepts no email", error.smtp_code, error.smtp_error, place) from None
    except smtplib.SMTPException:
        raise _refusal("accepts no email", -1, "", place) from None
    except OSError as error:
        raise _away(place, _reason(error)) from None


def _converse(server: smtplib.SMTP, place: GatewayPlace, letter: Letter, done: list[str]) -> None:
    """Adds to ``done`` who gets the email. Raises SendmailError, and what smtplib raises."""
    _greet(server, place)
    if place.encryption == "starttls":
        _encrypt(server, place)
    if place.token:
        _sign_in(server, place)
    refused: list[_Refused] = []
    left = list(letter.recipients)
    while left:
        taking, left = _begun(server, place, letter, left, refused)
        if taking:
            _give_content(server, place, letter.content)
            done += taking
    _quit(server)
    if refused:
        shown = ", ".join(_printable(to) for to, _ in refused)
        what = f"refused {shown}, and accepted the email for the others" if done else f"refused {shown}"
        raise _refusal(what, *refused[0][1], place, usual=EX_NOUSER)


def _begun(
    server: smtplib.SMTP, place: GatewayPlace, letter: Letter, recipients: Sequence[str], refused: list[_Refused]
) -> tuple[list[str], list[str]]:
    """Name sender and recipients; gives those accepted, and those too many for one email. Adds to ``refused``."""
    _expect(server.mail(letter.sender, _options(server, letter)), "refused the sender", place, usual=EX_NOPERM)
    taking: list[str] = []
    for position, to in enumerate(recipients):
        code, words = server.rcpt(to)
        if _is_success(code):
            taking.append(to)
        elif taking and code == 452 and words.startswith(b"4.5.3"):  # noqa: PLR2004  RFC 5321 4.5.3.1.10
            return taking, list(recipients[position:])
        else:
            refused.append((to, (code, words)))
    return taking, []


def _options(server: smtplib.SMTP, letter: Letter) -> list[str]:
    """What follows MAIL FROM. Raises SendmailError for addresses that this server cannot be told."""
    lines = letter.content.count(b"\n")
    options = [f"SIZE={len(letter.content) + lines}"] if server.has_extn("size") else []
    if server.has_extn("8bitmime") and not letter.content.isascii():
        options.append("BODY=8BITMIME")
    addresses = "".join((letter.sender, *letter.recipients))
    header = letter.content.partition(b"\n\n")[0]
    if server.has_extn("smtputf8") and not (addresses.isascii() and header.isascii()):
        options.append("SMTPUTF8")
    elif not addresses.isascii():
        raise SendmailError(EX_UNAVAILABLE, "The gateway accepts no address with letters outside ASCII.")
    return options


def _greet(server: smtplib.SMTP, place: GatewayPlace) -> None:
    _expect(server.ehlo(), "accepts no email", place)


def _encrypt(server: smtplib.SMTP, place: GatewayPlace) -> None:
    if not server.has_extn("starttls"):
        raise SendmailError(EX_CONFIG, f"The gateway at {_shown(place)} offers no encryption. Nothing was sent.")
    try:
        _expect(server.starttls(context=_context(place)), "does not start to encrypt", place)
    except ssl.SSLCertVerificationError as error:
        raise _untrusted(place, error) from None
    _greet(server, place)


def _sign_in(server: smtplib.SMTP, place: GatewayPlace) -> None:
    if "PLAIN" not in server.esmtp_features.get("auth", "").upper().split():
        raise SendmailError(EX_CONFIG, f"The gateway at {_shown(place)} offers no sign-in there. Nothing was sent.")
    said = base64.b64encode(f"\0{place.username}\0{place.token}".encode()).decode()
    reply = server.docmd("AUTH", f"PLAIN {said}")
    _expect(reply, "refused user name and token", place, usual=EX_NOPERM)


def _give_content(server: smtplib.SMTP, place: GatewayPlace, content: bytes) -> None:
    code, words = server.docmd("DATA")
    if code != 354:  # noqa: PLR2004  RFC 5321 4.2.3
        raise _refusal("refused the email", code, words, place)
    stuffed = re.sub(rb"^\.", b"..", content, flags=re.MULTILINE)
    server.send(stuffed.replace(b"\n", b"\r\n"))
    try:
        server.send(b".\r\n")
        reply = server.getreply()
    except (OSError, smtplib.SMTPServerDisconnected):
        what = f"The gateway at {_shown(place)} did not confirm that it has the email, and may have it."
        raise SendmailError(EX_TEMPFAIL, f"{what} Look at /emails in Sealpost before you send it again.") from None
    _expect(reply, "refused the email", place)


def _quit(server: smtplib.SMTP) -> None:
    with suppress(OSError, smtplib.SMTPException):  # what it has taken, it has
        server.quit()


def _context(place: GatewayPlace) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=place.ca_file or None)
    except OSError as error:  # also ssl.SSLError
        raise SendmailError(EX_CONFIG, f"'ca_file' is no file with certificates ({_reason(error)}).") from None


# What is said about it


def _expect(reply: tuple[int, bytes], what: str, place: GatewayPlace, usual: int = EX_UNAVAILABLE) -> None:
    if not _is_success(reply[0]):
        raise _refusal(what, *reply, place, usual=usual)


def _is_success(code: int) -> bool:
    return 200 <= code < 300  # noqa: PLR2004  RFC 5321 4.2.1


def _refusal(what: str, code: int, words: object, place: GatewayPlace, usual: int = EX_UNAVAILABLE) -> SendmailError:
    """What a reply of the gateway means to whoever called; ``usual`` is the status of a plain refusal there."""
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    if code < 0:
        return SendmailError(EX_PROTOCOL, f"What answers at {_shown(place)} is no mail server. Nothing was sent.")
    rest = "" if "accepted" in what else " The email was not sent."
    quoted = _quoted(code, text, place)
    return SendmailError(_status(code, text, usual), f"Sealpost's gateway {what}.{rest}{quoted}")


def _status(code: int, text: str, usual: int) -> int:
    """The exit status for a reply that is no success, by its enhanced code (RFC 3463) before its code."""
    if 400 <= code < 500:  # noqa: PLR2004  RFC 5321 4.2.1
        return EX_TEMPFAIL
    found = _STATUS.match(text)
    subject = found[0].split(".", 1)[1] if found else ""
    if code in (530, 534, 535, 538) or subject.startswith("7."):
        return EX_NOPERM
    if subject.startswith("6.") or subject in ("3.4", "2.3") or code == 552:  # noqa: PLR2004
        return EX_DATAERR
    if code // 100 != 5 or 500 <= code <= 504 or subject.startswith("5."):  # noqa: PLR2004
        return EX_PROTOCOL
    return usual


def _away(place: GatewayPlace, reason: str, done: Sequence[str] = ()) -> SendmailError:
    what = f"Sealpost's gateway at {_shown(place)} cannot be reached ({reason})."
    rest = f"Accepted for {len(done)} recipients only." if done else "Nothing was sent. Try again later."
    return SendmailError(EX_TEMPFAIL, f"{what} {rest}")


def _untrusted(place: GatewayPlace, error: ssl.SSLCertVerificationError) -> SendmailError:
    text = f"The certificate of the gateway at {_shown(place)} is not trusted ({error.verify_message})."
    return SendmailError(EX_CONFIG, f"{text} Nothing was sent.")


def _reason(error: OSError) -> str:
    return _printable(error.strerror or ("it did not answer in time" if isinstance(error, TimeoutError) else "TLS"))


def _shown(place: GatewayPlace) -> str:
    return f"{place.host}:{place.port}"


def _quoted(code: int, text: str, place: GatewayPlace) -> str:
    """What the gateway said, on one line; not at all if any form of the token is in it."""
    said = _printable(f"{code} {text}")[:_LONGEST_QUOTE]
    packed = "".join(text.split())
    plain = base64.b64encode(f"\0{place.username}\0{place.token}".encode()).decode()
    forms = (place.token, base64.b64encode(place.token.encode()).decode(), plain)
    return "" if place.token and any(form in packed for form in forms) else f" The gateway said: {said}"


def _printable(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


if __name__ == "__main__":
    main()
