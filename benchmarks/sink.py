"""A fast SMTP server that takes every mail and forgets it; run as a process of its own, it counts.

``benchmarks/sink.c`` is the same for a third of the CPU or less, and stands in its place where it can be compiled.
"""

import asyncio
import base64
import ssl
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.child import answer, settings_line

OK: Final = b"250 ok\r\n"
BAD: Final = b"503 not now\r\n"
PROMPTS: Final = {b"PLAIN": b"334 \r\n", b"LOGIN": b"334 VXNlcm5hbWU6\r\n"}


@dataclass
class Counts:
    mails: int = 0
    connections: int = 0
    sign_ins: int = 0


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How the sink behaves. With ``chain_file`` it wants STARTTLS, with ``username`` a login before MAIL."""

    chain_file: str = ""
    username: str = ""
    password: str = ""
    pipelining: bool = True
    chunking: bool = False

    def context(self) -> ssl.SSLContext | None:
        if not self.chain_file:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain_file)
        return context


class Sink(asyncio.Protocol):
    """One client. Commands are answered as they come, a message is read to its end; answers to what came
    together go together."""

    def __init__(self, manners: Manners, context: ssl.SSLContext | None, counts: Counts) -> None:
        self._manners = manners
        self._context = context
        self._counts = counts
        self._buffer = bytearray()
        self._encrypted = False
        self._upgrade: asyncio.Future[None] | None = None
        self._may_send = not manners.username
        self._has_recipient = False
        self._said: list[bytes] | None = None  # during AUTH: the lines of it so far
        self._in_message = False
        self._chunk: int | None = None  # octets of a BDAT that are awaited
        self._is_last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._counts.connections += 1
        self._transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgrade or self._encrypted:  # else the client is quicker than our own handshake
            self._go_on()

    def _go_on(self) -> None:
        answers = []
        while (said := self._take()) is not None:
            answers.append(said)
        if answers:
            self._transport.write(b"".join(answers))
        if answers and answers[-1].startswith(b"220"):
            self._transport.pause_reading()
            self._upgrade = asyncio.ensure_future(self._encrypt())

    async def _encrypt(self) -> None:
        assert self._context
        loop = asyncio.get_running_loop()
        upgraded = await loop.start_tls(self._transport, self, self._context, server_side=True)
        if upgraded:
            self._transport, self._encrypted = upgraded, True
            self._go_on()

    def _take(self) -> bytes | None:
        """The answer to what stands first in the buffer; None until all of it is there."""
        if self._in_message:
            return self._take_message()
        if self._chunk is not None:
            return self._take_chunk(self._chunk)
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return self._sign_in(line) if self._said is not None else self._obey(line)

    def _take_message(self) -> bytes | None:
        end = self._buffer.find(b"\r\n.\r\n")
        if end < 0:
            return None
        del self._buffer[: end + 5]
        self._in_message = False
        return self._accepted()

    def _take_chunk(self, octets: int) -> bytes | None:
        if len(self._buffer) < octets:
            return None
        del self._buffer[:octets]
        self._chunk = None
        return self._accepted() if self._is_last else OK

    def _accepted(self) -> bytes:
        self._has_recipient = False
        self._counts.mails += 1
        return OK

    def _obey(self, line: bytes) -> bytes:
        verb, _, rest = line.partition(b" ")
        is_protected = self._encrypted or not self._context
        said = OK
        match verb.upper():
            case b"EHLO":
                said = self._hello()
            case b"STARTTLS" if not is_protected:
                said = b"220 go ahead\r\n"
            case b"AUTH" if is_protected:
                self._said = []
                said = self._sign_in(rest)
            case b"MAIL" if not self._may_send:
                said = b"530 5.7.0 sign in first\r\n"
            case b"RCPT":
                self._has_recipient = True
            case b"DATA":
                self._in_message = self._has_recipient
                said = b"354 go ahead\r\n" if self._has_recipient else BAD
            case b"BDAT":
                size, _, last = rest.partition(b" ")
                self._chunk, self._is_last = int(size), bool(last)
                said = b""  # the answer is to the octets
            case b"QUIT":
                said = b"221 bye\r\n"
        return said

    def _hello(self) -> bytes:
        offers = [b"sink", b"8BITMIME", b"SIZE 10000000"]
        offers += [b"PIPELINING"] * self._manners.pipelining + [b"CHUNKING"] * self._manners.chunking
        if self._context and not self._encrypted:
            offers.append(b"STARTTLS")
        elif self._manners.username:
            offers.append(b"AUTH PLAIN LOGIN")
        return b"".join(b"250-%b\r\n" % offer for offer in offers[:-1]) + b"250 %b\r\n" % offers[-1]

    def _sign_in(self, line: bytes) -> bytes:
        """Go on with AUTH PLAIN or LOGIN; ``said`` is mechanism, then what was answered to each prompt."""
        said = self._said = [*(self._said or ()), *line.split()]
        if len(said) == 1:
            return PROMPTS.get(said[0].upper(), b"504 5.5.4 not offered\r\n")
        is_login = said[0].upper() == b"LOGIN"
        if is_login and len(said) == 2:
            return b"334 UGFzc3dvcmQ6\r\n"
        given = [base64.b64decode(each) for each in said[1:]]
        user, password = given if is_login else given[0].split(b"\0")[1:]
        self._said = None
        self._may_send = [user.decode(), password.decode()] == [self._manners.username, self._manners.password]
        self._counts.sign_ins += self._may_send
        return b"235 2.7.0 welcome\r\n" if self._may_send else b"535 5.7.8 no\r\n"


async def serve(settings: dict[str, Any]) -> None:
    manners, counts = Manners(**settings), Counts()
    context = manners.context()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Sink(manners, context, counts), "127.0.0.1", 0)
    answer(port=server.sockets[0].getsockname()[1])
    while await asyncio.to_thread(sys.stdin.readline):  # until whoever started us has gone
        answer(**asdict(counts), cpu=time.process_time())


if __name__ == "__main__":
    asyncio.run(serve(settings_line()))
