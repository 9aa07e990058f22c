"""The SMTP conversation of one connection (RFC 5321, 6409), on aiosmtpd's transport, whose own reading is not used.

aiosmtpd 1.4.6 goes on where something was pipelined behind STARTTLS, takes a bare LF for the end of a command and each
half-closed connection for a lost one, knows AUTH mechanisms in capitals only, prompts for them in words that some
clients do not know, has no PIPELINING and few enhanced codes, repeats what it read in log lines, has no bound on how
slowly a message may come, and tells an exception's text to the client. So its commands are replaced here.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog
from aiosmtpd.smtp import SMTP, TLSSetupException

from services.gateway import commands, replies
from services.gateway.accepting import Client
from services.gateway.commands import BadCommand, Mail
from services.gateway.replies import LARGEST, MOST_RECIPIENTS, GatewayReply, Rejection
from services.gateway.sign_in import ClientSignedIn, SignInRefused
from services.gateway.uses import Refused, Visit, Who
from services.gateway.wire import (
    IDLE_SECONDS,
    UNKNOWN_SECONDS,
    BadLine,
    ClientWire,
    ConversationEnded,
    MemoryBudget,
    NotTaken,
)

log = structlog.get_logger(__name__)

MOST_ERRORS: Final = 10  # of one connection
MOST_COMMANDS: Final = 300  # without a message, or since the last one
MOST_NAMED: Final = 10_000  # recipients of a mail, accepted or not, from which on each counts as a command
HANDSHAKE_SECONDS: Final = 30
_OTHER_PROTOCOLS: Final = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"CONNECT ")
_LOGIN, _PASSWORD = "VXNlcm5hbWU6", "UGFzc3dvcmQ6"  # "Username:" and "Password:", which all clients know


class Desk(Protocol):
    """What a conversation asks of the gateway around it."""

    host: str
    budget: MemoryBudget
    begun: int  # mails that are being handed over, over all connections

    def tls(self) -> ssl.SSLContext | None:
        """With what certificate; None without one."""

    def greet(self, conversation: "Conversation") -> Rejection | None:
        """Count a connection; why it is refused, if it is."""

    def leave(self, conversation: "Conversation") -> None:
        """It has ended."""

    def trusted(self, address: str) -> ClientSignedIn | None:
        """Who comes from there without signing in."""

    async def sign_in(self, login: str, token: str, address: str) -> ClientSignedIn | SignInRefused:
        """Who signs in. Raises whatever the database does."""

    def take(self, client: Client, recipients: tuple[str, ...], content: bytes) -> Awaitable[GatewayReply]:
        """Have a message stored; the answer, once it is."""

    def note(self, visit: Visit) -> None:
        """Have a visit written down."""


class _NoHandler:
    """aiosmtpd asks for one; nothing is left to it."""


class Conversation(SMTP):
    """One connection. ``needs_tls``: it can be reached from elsewhere, so that nothing is said in clear."""

    def __init__(self, desk: Desk, *, loop: asyncio.AbstractEventLoop, is_implicit: bool, needs_tls: bool) -> None:
        super().__init__(_NoHandler(), hostname=desk.host, ident="", loop=loop, timeout=24 * 3600, enable_SMTPUTF8=True)
        self._desk = desk
        self._is_tls = is_implicit
        self._needs_tls = needs_tls
        self._address = ""
        self._hello = ""
        self._is_extended = False
        self._signed_in: ClientSignedIn | None = None
        self._mail: Mail | None = None
        self._errors = 0
        self._commands = 0
        self._is_over = False
        self._ends_as: Rejection | None = None
        self.is_storing = False

    @property
    def address(self) -> str:
        """From where it comes."""
        return self._address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._address = plain_address(peer)
        super().connection_made(transport)

    def eof_received(self) -> bool | None:
        """What was said before is still answered: whoever has said all may close its side (RFC 9293 3.6)."""
        self._reader.feed_eof()
        return not self._is_tls

    def end(self) -> None:
        """The gateway stops: say so, unless a message is being stored, which is answered first."""
        self._is_over = True
        if not self.is_storing:
            self._cancel(Rejection.STOPPING)

    def watch(self, now: float) -> None:
        """End it if it has waited too long for its client."""
        if now > self._wire.deadline:
            self._cancel(Rejection.TOO_SLOW)

    def _cancel(self, why: Rejection) -> None:
        self._ends_as = why
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()

    async def wait_ended(self) -> None:
        """Until it is over."""
        if self._handler_coroutine is not None:
            await asyncio.wait([self._handler_coroutine])

    async def _handle_client(self) -> None:
        wire = self._wire = ClientWire(self._reader, self._writer, self._desk.budget)
        last: Rejection | None = self._desk.greet(self)
        try:
            if last is None:
                wire.say(replies.greeting(self._desk.host))
                await self._converse(wire)
        except ConversationEnded as ended:
            last = ended.refusal
        except asyncio.CancelledError:
            last = self._ends_as
        except Exception as error:
            log.exception("gateway_conversation_failed", kind=type(error).__name__)
            last = Rejection.FAULT
        finally:
            self._forget_mail()
            self._desk.leave(self)
            await self._say_last(wire, last)

    async def _say_last(self, wire: ClientWire, last: Rejection | None) -> None:
        if self.transport is None:
            return
        if last:
            wire.say(last.line)
        try:
            async with asyncio.timeout(1):
                await wire.flush()
        except (ConversationEnded, TimeoutError, asyncio.CancelledError):
            pass
        if self.transport is not None:
            self.transport.close()

    async def _converse(self, wire: ClientWire) -> None:
        while not self._is_over:
            try:
                line = await wire.line(IDLE_SECONDS if self._who else UNKNOWN_SECONDS)
            except BadLine as bad:
                self._refuse(bad.refusal)
                continue
            if line.startswith(_OTHER_PROTOCOLS):  # a browser that was led here
                raise ConversationEnded(Rejection.NOT_SMTP)
            self._commands += 1
            if self._commands > MOST_COMMANDS:
                raise ConversationEnded(Rejection.TOO_MANY_COMMANDS)
            await self._obey(line)
        raise ConversationEnded(Rejection.STOPPING)

    async def _obey(self, line: bytes) -> None:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            self._refuse(Rejection.BAD_LINE)
            return
        name, _, argument = text.partition(" ")
        work = _COMMANDS.get(name.upper())
        if work is None:
            self._refuse(Rejection.UNKNOWN)
            return
        try:
            await work(self, argument.strip(" "))
        except BadCommand as bad:
            self._refuse(bad.refusal)

    def _say(self, reply: GatewayReply) -> None:
        self._wire.say(reply.line)

    def _refuse(self, refusal: Rejection | GatewayReply) -> None:
        """Say it, and count it; whoever only makes errors is sent away."""
        reply = refusal if isinstance(refusal, GatewayReply) else refusal.reply
        self._say(reply)
        self._errors += 1
        if self._errors >= MOST_ERRORS:
            raise ConversationEnded(Rejection.TOO_MANY_ERRORS)

    @property
    def _who(self) -> ClientSignedIn | None:
        return self._signed_in or self._desk.trusted(self._address)

    @property
    def _may_sign_in(self) -> bool:
        return self._is_tls or not self._needs_tls

    async def _ehlo(self, argument: str) -> None:
        self._greeted(commands.hello(argument), is_extended=True)
        offers = ["PIPELINING", f"SIZE {LARGEST}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
        if self._desk.tls() and not self._is_tls:
            offers.append("STARTTLS")
        if self._may_sign_in:
            offers.append("AUTH PLAIN LOGIN")
        lines = [self._desk.host, *offers]
        for each in lines[:-1]:
            self._wire.say(f"250-{each}")
        self._wire.say(f"250 {lines[-1]}")

    async def _helo(self, argument: str) -> None:
        self._greeted(commands.hello(argument), is_extended=False)
        self._wire.say(f"250 {self._desk.host}")

    def _greeted(self, name: str, *, is_extended: bool) -> None:
        self._hello, self._is_extended = name, is_extended
        self._forget_mail()

    def _forget_mail(self) -> None:
        if self._mail is not None:
            self._mail = None
            self._desk.begun -= 1

    async def _starttls(self, argument: str) -> None:
        context = self._desk.tls()
        if context is None or self._is_tls or argument:
            self._refuse(Rejection.SYNTAX if argument else Rejection.TLS_TWICE if self._is_tls else Rejection.NO_TLS)
            return
        if self._wire.has_more:  # what is said in clear must not be heard as if it had been said under TLS
            raise ConversationEnded(Rejection.TOO_MUCH_AHEAD)
        await self._wire.flush()
        self.tls_context = context
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await self.smtp_STARTTLS("")  # which drops what came in clear meanwhile
        except (TLSSetupException, TimeoutError):
            raise ConversationEnded from None
        self._is_tls = True
        self._hello, self._signed_in = "", None
        self._forget_mail()

    async def _auth(self, argument: str) -> None:
        if not self._hello or not self._is_extended:
            self._refuse(Rejection.NO_HELLO)
        elif not self._may_sign_in:
            self._refuse(Rejection.TLS_BEFORE_SIGN_IN)
        elif self._signed_in or self._mail:
            self._refuse(Rejection.SIGNED_IN_TWICE if self._signed_in else Rejection.NESTED_MAIL)
        else:
            mechanism, _, initial = argument.partition(" ")
            await self._sign_in(mechanism.upper(), initial.strip(" "))

    async def _sign_in(self, mechanism: str, initial: str) -> None:
        if mechanism == "PLAIN":
            login, token = commands.plain(_initial(initial) if initial else await self._asked(""))
        elif mechanism == "LOGIN":
            login = commands.decoded(_initial(initial) if initial else await self._asked(_LOGIN))
            token = commands.decoded(await self._asked(_PASSWORD))
        else:
            self._refuse(Rejection.UNKNOWN_MECHANISM)
            return
        try:
            found = await self._desk.sign_in(login, token, self._address)
        except Exception as error:
            log.error("gateway_sign_in_failed", kind=type(error).__name__)
            self._refuse(Rejection.CANNOT_SIGN_IN)
            return
        if isinstance(found, ClientSignedIn):
            self._signed_in = found
            self._note(found.who)
            self._say(replies.SIGNED_IN)
            return
        if found.who:
            self._note(found.who, found.reply)
        if found.ends:
            self._say(found.reply)
            raise ConversationEnded
        self._refuse(found.reply)

    async def _asked(self, prompt: str) -> str:
        """What the client answers to a prompt. Raises BadCommand."""
        self._wire.say(f"334 {prompt}")
        try:
            answer = await self._wire.line(UNKNOWN_SECONDS)
        except BadLine as bad:
            raise BadCommand(bad.refusal) from None
        if answer == b"*":
            raise BadCommand(Rejection.SIGN_IN_CANCELLED)
        return answer.decode("ascii", "replace")

    def _note(self, who: Who, refused: GatewayReply | None = None) -> None:
        told = Refused(code=refused.code, words=refused.words) if refused else None
        self._desk.note(Visit(who=who, address=self._address, ehlo=self._hello, refused=told))

    async def _mail_from(self, argument: str) -> None:
        if not self._hello:
            self._refuse(Rejection.NO_HELLO)
        elif not self._may_sign_in:
            self._refuse(Rejection.TLS_FIRST)
        elif not self._who:
            self._refuse(Rejection.SIGN_IN_FIRST)
        elif self._mail:
            self._refuse(Rejection.NESTED_MAIL)
        else:
            begun = commands.mail_from(argument, is_extended=self._is_extended)
            self._mail = Mail(begun)
            self._desk.begun += 1
            self._say(replies.SENDER_NO_NOTICES if begun.asks_for_notices else replies.SENDER_OK)

    async def _rcpt_to(self, argument: str) -> None:
        mail = self._mail
        if mail is None:
            self._refuse(Rejection.NO_MAIL)
            return
        mail.named += 1
        if mail.named <= MOST_NAMED:  # whoever has a thousand is told 452 of most, and may send to the others
            self._commands -= 1
        try:
            named = commands.rcpt_to(argument, is_extended=self._is_extended, is_utf8=mail.begun.is_utf8)
        except BadCommand as bad:
            self._say(bad.refusal.reply)  # which is no error of the program's: a list may have many such
            return
        if len(mail.recipients) >= MOST_RECIPIENTS and named.address not in mail.recipients:
            self._say(Rejection.TOO_MANY_RECIPIENTS.reply)
            return
        mail.recipients[named.address] = None
        self._say(replies.NO_NOTICES if named.asks_for_notices else replies.RECIPIENT_OK)

    async def _data(self, argument: str) -> None:
        mail, who = self._mail, self._who
        if argument:
            self._refuse(Rejection.SYNTAX)
        elif mail is None or not mail.recipients or who is None:
            self._refuse(Rejection.NO_MAIL if mail is None or who is None else _no_recipient(mail))
            if self._wire.has_more:  # a message that nobody waited with must not be read as commands
                raise ConversationEnded(Rejection.TOO_MUCH_AHEAD)
        else:
            self._say(replies.GO_AHEAD)
            await self._wire.flush()
            await self._message(mail, who)

    async def _message(self, mail: Mail, who: ClientSignedIn) -> None:
        try:
            content = await self._wire.message()
        except NotTaken as not_taken:
            self._forget_mail()
            self._note(who.who, not_taken.refusal.reply)
            self._say(not_taken.refusal.reply)
            return
        size = len(content)
        client = Client(signed_in=who, address=self._address, ehlo=self._hello, protocol=self._protocol(mail))
        self.is_storing = True
        try:
            stored = self._desk.take(client, tuple(mail.recipients), content)
            self._forget_mail()
            del content  # whoever stores it lets go of it when there is a draft
            reply = await stored
        finally:
            self.is_storing = False
            self._desk.budget.give_back(size)
        self._commands = self._errors = 0
        self._say(reply)

    def _protocol(self, mail: Mail) -> str:
        """RFC 3848, 6531 4.3."""
        base = "UTF8SMTP" if mail.begun.is_utf8 else "ESMTP" if self._is_extended else "SMTP"
        if base == "SMTP":
            return base
        return f"{base}{'S' if self._is_tls else ''}{'A' if self._signed_in else ''}"

    async def _rset(self, argument: str) -> None:
        self._forget_mail()
        self._say(Rejection.SYNTAX.reply if argument else replies.OK)

    async def _noop(self, _argument: str) -> None:
        self._say(replies.OK)

    async def _vrfy(self, argument: str) -> None:
        self._say(replies.NOT_SAID if argument else Rejection.SYNTAX.reply)

    async def _help(self, _argument: str) -> None:
        self._say(replies.HELP)

    async def _quit(self, argument: str) -> None:
        if argument:
            self._refuse(Rejection.SYNTAX)
            return
        self._say(replies.BYE)
        raise ConversationEnded

    async def _not_offered(self, _argument: str) -> None:
        self._refuse(Rejection.NOT_OFFERED)

    async def _bdat(self, _argument: str) -> None:
        """What follows is a message (RFC 3030 2), which must not be read as commands."""
        self._say(Rejection.NOT_OFFERED.reply)
        raise ConversationEnded


def _initial(text: str) -> str:
    """An initial response, where "=" stands for an empty one (RFC 4954 4)."""
    return "" if text == "=" else text


def _no_recipient(mail: Mail) -> Rejection:
    return Rejection.NO_VALID_RECIPIENT if mail.named else Rejection.NO_RECIPIENT


def plain_address(peer: object) -> str:
    """The address of a peer; one of IPv4 that is mapped into IPv6 as such."""
    if not isinstance(peer, tuple) or not peer:
        return ""
    return str(peer[0]).partition("%")[0].removeprefix("::ffff:")


_Command = Callable[[Conversation, str], Awaitable[None]]
_COMMANDS: Final[dict[str, _Command]] = {
    "EHLO": Conversation._ehlo,
    "HELO": Conversation._helo,
    "STARTTLS": Conversation._starttls,
    "AUTH": Conversation._auth,
    "MAIL": Conversation._mail_from,
    "RCPT": Conversation._rcpt_to,
    "DATA": Conversation._data,
    "RSET": Conversation._rset,
    "NOOP": Conversation._noop,
    "VRFY": Conversation._vrfy,
    "HELP": Conversation._help,
    "QUIT": Conversation._quit,
    "EXPN": Conversation._not_offered,
    "ETRN": Conversation._not_offered,
    "BDAT": Conversation._bdat,
    "TURN": Conversation._not_offered,
}
