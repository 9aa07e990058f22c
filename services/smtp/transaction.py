"""One mail on a connection: what is said for it, and the errors that are certain before anything is said."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Final

from services.smtp import grammar
from services.smtp.dialogue import refusal
from services.smtp.trace import Trace
from services.smtp.wire import Reply
from utils.errors import DeliveryError, Fault, Misconfigured, Permanent, Phase, Temporary

RSET: Final = b"RSET"
DATA: Final = b"DATA"
_MOST_BLIND: Final = 64 * 1024  # octets that are worth sending before the recipients are known to be accepted
_MOST_AROUND: Final = 1024  # octets of RSET and DATA, with room to spare
# Our own answer, in the server's form, for a recipient that it could not even be told (RFC 6531 3.4).
_TOO_MANY: Final = Reply(452, grammar.TOO_MANY, ("The server accepts fewer recipients at a time.",))
_SIZE: Final = re.compile(rb"(?<=>) SIZE=\d+")
_NO_REPLY_TO: Final = (
    "The Reply-To address has non-ASCII letters before the @, which the server does not support (no SMTPUTF8)."
)
_UNSAYABLE: Final = Reply(553, "5.6.7", ("The server does not support non-ASCII letters before the @ (no SMTPUTF8).",))


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """Who sends to whom: bare addresses, which may be non-ASCII; the sender may be empty (a bounce).

    ``replies_to`` is the message's Reply-To, which a server that takes ASCII addresses alone cannot carry either.
    """

    sender: str
    recipients: tuple[str, ...]
    replies_to: str = ""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """One mail to send: a finished message (CRLF line ends) for its envelope; ``tag`` is the caller's own.

    What becomes known on its way is noted in the ``trace``.

    ``is_careful``: its fate was unknown before, so that nothing of it goes out before its recipients are accepted, nor
    while another mail is under way whose end could take it along.
    """

    envelope: Envelope
    content: bytes
    tag: object = None
    is_careful: bool = False
    trace: Trace | None = field(default=None, compare=False, repr=False)

    def marked(self, tag: object, trace: Trace | None) -> "Parcel":
        """The same with a tag and a trace; as ``replace`` makes it, in a third of its time."""
        return Parcel(envelope=self.envelope, content=self.content, tag=tag, is_careful=self.is_careful, trace=trace)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The server has taken the message for the accepted recipients; ``ms`` counts from its first command."""

    reply: Reply
    refused: dict[str, Reply]
    accepted: tuple[str, ...]
    ms: int

    @property
    def left_over(self) -> tuple[str, ...]:
        """The recipients that the server would only take in another transaction."""
        return tuple(address for address, reply in self.refused.items() if grammar.are_too_many(reply))

    def followed_by(self, more: "Receipt") -> "Receipt":
        """What this and another transaction, for recipients that were left over, come to together."""
        others = {address: reply for address, reply in self.refused.items() if address not in more.accepted}
        accepted, ms = self.accepted + more.accepted, self.ms + more.ms
        return Receipt(reply=more.reply, refused=others | more.refused, accepted=accepted, ms=ms)

    @property
    def queue_id(self) -> str | None:
        """The server's name for the message, where its reply is of a known form."""
        return grammar.queue_id(self.reply.text)


class Transaction:
    """A parcel as this server is to get it. ``trouble`` is what forbids to say anything for it.

    ``end`` is the place on the wire behind its last octet, once that is known: from there on nobody can say
    that it was not sent. With more recipients than ``most`` it is for the first of them, and the others are refused as
    too many at a time. An inquiry ends with RSET, where others ask for their message.
    ValueError for an address or content that should never have come here.
    """

    def __init__(
        self, parcel: Parcel, features: Mapping[str, str], most: int | None = None, *, is_inquiry: bool = False
    ) -> None:
        envelope = parcel.envelope
        self.parcel = parcel
        self.is_inquiry = is_inquiry
        self.content = grammar.ended(parcel.content)
        paths = {address: grammar.path(address) for address in envelope.recipients}
        if not paths or "" in paths:
            raise ValueError("An email needs recipients.")
        self._features = features
        self._most = most
        self._begin(paths)

    def _begin(self, paths: Mapping[str, bytes]) -> None:
        """Prepare what is said for the first of these recipients."""
        features, most, parcel = self._features, self._most, self.parcel
        sender = grammar.path(parcel.envelope.sender)
        self.trouble: DeliveryError | None = None
        self.refused: dict[str, Reply] = {}
        self.script: list[bytes] = []  # the commands with which it was begun, to the one that asks for the message
        self.end = inf
        self.is_bare = False  # a parameter was left out
        self.started = monotonic()
        self._commands: list[bytes] = []
        try:
            if not parcel.envelope.replies_to.isascii() and "SMTPUTF8" not in features:
                raise Permanent(Phase.SENDER, Fault.NO_SMTPUTF8, _NO_REPLY_TO, enhanced=_UNSAYABLE.enhanced)
            self.refused = unsayable(features, sender, paths)
            sayable = tuple(address for address in paths if address not in self.refused)
            if most is not None and most < len(sayable):
                # Not always the same first: one that is put off each time must not keep the others from being asked.
                start = random.randrange(len(sayable))  # noqa: S311
                sayable = sayable[start:] + sayable[:start]
            self.asked = sayable[:most]
            if len(self.asked) < len(sayable):
                self.refused |= dict.fromkeys(sayable[most:], _TOO_MANY)
            named = [paths[address] for address in self.asked]
            self._commands = [mail_command(features, sender, named, parcel.content)]
            self._commands += [b"RCPT TO:" + path for path in named]
            if not named:
                self.trouble = self.all_refused()
        except DeliveryError as error:
            self.trouble = error
        # Each RCPT may need a second spelling, so nothing is said behind it before it is answered.
        odd = [address for address in paths if ".." in address or ".@" in address or address[0] == "."]
        self.is_delicate = any(map(grammar.quoted_path, odd))
        octets = sum(map(len, self._commands)) + 2 * len(self._commands)
        fits = octets <= grammar.GROUP_OCTETS - _MOST_AROUND and len(self._commands) + 2 <= grammar.GROUP_COMMANDS
        self.is_compact = fits and self.trouble is None and not self.is_delicate
        self.is_light = self.is_compact and not parcel.is_careful and len(self.content) <= _MOST_BLIND

    def go_on(self) -> bool:
        """After a refusal of all that were asked: prepare for those that were not asked yet, if there are any."""
        before = self.refused
        left = [address for address, reply in before.items() if reply is _TOO_MANY]
        if not left:
            return False
        self._begin({address: grammar.path(address) for address in left})
        self.refused = {**before, **self.refused}
        for address in self.asked:
            del self.refused[address]
        return True

    @property
    def sender(self) -> bytes:
        """The command that names only who sends."""
        return b"MAIL FROM:" + grammar.path(self.parcel.envelope.sender)

    @property
    def has_size(self) -> bool:
        """Whether MAIL says how large the message is, which no server needs to know."""
        return bool(self._commands) and _SIZE.search(self._commands[0]) is not None

    def bare(self) -> None:
        """Name no parameter that the message can do without."""
        if self.has_size:
            self.is_bare = True
            self._commands[0] = _SIZE.sub(b"", self._commands[0], count=1)

    def begin(self, *, clean: bool) -> list[bytes]:
        """The commands up to the go-ahead; behind RSET unless the server is known to hold no other transaction."""
        last = RSET if self.is_inquiry else DATA
        self.script = [*self._commands, last] if clean else [RSET, *self._commands, last]
        self.started = monotonic()
        return self.script

    def whole(self, *, clean: bool) -> bytes:
        """All that there is to say, to a server that understands BDAT."""
        self.begin(clean=clean)
        return grammar.together(self.script[:-1]) + grammar.last_chunk(self.content)

    @property
    def body(self) -> bytes:
        """What is said behind the go-ahead."""
        return grammar.dot_stuffed(self.content)

    def receipt(self, reply: Reply) -> Receipt:
        """What the server's ``reply`` to the whole message comes to."""
        return Receipt(
            reply=reply,
            refused=self.refused,
            accepted=tuple(address for address in self.asked if address not in self.refused),
            ms=round((monotonic() - self.started) * 1000),
        )

    def all_refused(self) -> DeliveryError:
        """One error for a message that no recipient is left for: worth another try if one of them is."""
        if all(reply is _UNSAYABLE for reply in self.refused.values()):
            return _no_smtputf8(Phase.RECIPIENT)
        errors = [refusal(Phase.RECIPIENT, reply) for reply in self.refused.values()]
        told = [error for kind in (Temporary, Misconfigured) for error in errors if isinstance(error, kind)]
        error = (told or errors)[0]
        error.refused = dict(self.refused)
        return error


def unsayable(features: Mapping[str, str], sender: bytes, paths: Mapping[str, bytes]) -> dict[str, Reply]:
    """The recipients that cannot be named to this server. Raises Permanent if the sender cannot."""
    if "SMTPUTF8" in features:
        return {}
    if not sender.isascii():
        raise _no_smtputf8(Phase.SENDER)
    return {address: _UNSAYABLE for address, path in paths.items() if not path.isascii()}


def mail_command(features: Mapping[str, str], sender: bytes, paths: list[bytes], content: bytes) -> bytes:
    """MAIL with the parameters that the server knows and the message needs.

    Raises Permanent for a message that it does not take: too large, or 8-bit.
    """
    command = b"MAIL FROM:" + sender
    if "SIZE" in features:
        limit = grammar.size_limit(features)
        if 0 < limit < len(content):
            text = f"The message has {len(content)} bytes, but the server accepts {limit}."
            raise Permanent(Phase.SENDER, Fault.TOO_LARGE, text, enhanced="5.3.4")
        command += b" SIZE=%d" % len(content)
    if not content.isascii():
        if "8BITMIME" not in features:
            text = "The message has 8-bit content, which the server does not accept (no 8BITMIME)."
            raise Permanent(Phase.SENDER, Fault.REPLY, text, enhanced="5.6.3")
        command += b" BODY=8BITMIME"
    if "SMTPUTF8" in features and not (all(map(bytes.isascii, [sender, *paths])) and _has_plain_header(content)):
        command += b" SMTPUTF8"
    return command


def _has_plain_header(content: bytes) -> bool:
    """Whether every address in it is ASCII: nothing else stands there in UTF-8 (RFC 6532)."""
    return content.isascii() or content[: content.find(b"\r\n\r\n")].isascii()


def _no_smtputf8(phase: Phase) -> DeliveryError:
    return Permanent(phase, Fault.NO_SMTPUTF8, _UNSAYABLE.text, enhanced=_UNSAYABLE.enhanced)
