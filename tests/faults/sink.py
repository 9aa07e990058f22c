"""A mail server that notes each mail on the disk before it says so, and misbehaves now and then, by a seed.

Its ledger is the truth about what has arrived. A line each: what happened, the Message-ID, for whom, through which
connection.
"""

import asyncio
import base64
import json
import os
import random
import re
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Protocol

OK: Final = b"250 2.0.0 ok\r\n"
BAD: Final = b"503 5.5.1 not now\r\n"
BYE: Final = b"421 4.3.2 going down\r\n"
_MESSAGE_ID: Final = re.compile(rb"^Message-ID:\s*(<[^>]*>)", re.IGNORECASE | re.MULTILINE)


class Event(StrEnum):
    """TAKEN and UNTOLD mails have arrived; whoever sent the latter was never told."""

    LOGIN = "login"
    TAKEN = "taken"
    UNTOLD = "untold"
    REFUSED = "refused"  # for good


class Stage(StrEnum):
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    MESSAGE = "MESSAGE"


class Kind(StrEnum):
    LATER = "4xx"
    NEVER = "5xx"
    GOING = "421"
    CLOSE = "close"
    UNTOLD = "takes the mail and hangs up"


ANSWERS: Final = {Kind.LATER: b"451 4.3.0 not now\r\n", Kind.NEVER: b"554 5.6.0 never\r\n", Kind.GOING: BYE}


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How it behaves. ``faults`` and ``untold`` are chances for each transaction; with ``username`` it wants a login.

    ``delay`` is in seconds, from the last octet of a flight to the answers.
    """

    seed: int = 0
    faults: float = 0.05
    untold: float = 0.02
    delay: float = 0.002
    pipelining: bool = True
    chunking: bool = True
    username: str = ""
    password: str = ""


class Notes(Protocol):
    def note(self, event: Event, **what: object) -> None: ...


class Ledger:
    """Only ever written at its end, by one process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, event: Event, **what: object) -> None:
        os.write(self._file, json.dumps({"event": event, **what}).encode() + b"\n")


def entries(path: Path) -> list[dict[str, Any]]:
    """All that a ledger holds, in order."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def serve(manners: Manners, ledger: Path, pipe: Connection) -> None:
    """Serve in this process until it is killed; says its port into ``pipe``."""
    asyncio.run(_serve(manners, Ledger(ledger), pipe))


async def _serve(manners: Manners, ledger: Ledger, pipe: Connection) -> None:
    chance = random.Random(manners.seed)
    server = await asyncio.get_running_loop().create_server(
        lambda: SinkProtocol(manners, ledger, chance), "127.0.0.1", 0
    )
    pipe.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class SinkProtocol(asyncio.Protocol):
    """One client; the answers to what came together go together."""

    def __init__(self, manners: Manners, ledger: Notes, chance: random.Random) -> None:
        self._manners = manners
        self._ledger = ledger
        self._chance = chance
        self._buffer = bytearray()
        self._is_over = False
        self._may_send = not manners.username
        self._chunk: tuple[int, bool] | None = None  # octets of a BDAT that are awaited, and whether it is the last
        self._in_message = False
        self._fate: tuple[Stage, Kind] | None = None
        self._forget()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        if self._chance.random() < self._manners.faults / 2:
            self._is_over = True
            self.say(self._chance.choice([BYE, b""]))
        else:
            self.say(b"220 sink.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        answers = []
        while not self._is_over and (said := self._take()) is not None:
            answers.append(said)
        if not answers:
            return
        if self._manners.delay:
            asyncio.get_running_loop().call_later(self._manners.delay, self.say, b"".join(answers))
        else:
            self.say(b"".join(answers))

    def say(self, answers: bytes) -> None:
        self._transport.write(answers)
        if self._is_over:
            self._transport.close()

    def _take(self) -> bytes | None:
        """The answer to what stands first in the buffer; None until all of it is there."""
        if self._in_message:
            end = 0 if self._buffer.startswith(b".\r\n") else self._buffer.find(b"\r\n.\r\n") + 2
            return None if end == 1 else self._finish(self._cut(end, 3))
        if self._chunk:
            size, is_last = self._chunk
            return None if len(self._buffer) < size else self._take_chunk(self._cut(size), is_last=is_last)
        end = self._buffer.find(b"\r\n")
        return None if end < 0 else self._obey(self._cut(end, 2))

    def _cut(self, octets: int, behind: int = 0) -> bytes:
        taken = bytes(self._buffer[:octets])
        del self._buffer[: octets + behind]
        return taken

    def _obey(self, line: bytes) -> bytes:
        verb, _, rest = line.partition(b" ")
        said = OK
        match verb.upper():
            case b"EHLO":
                said = self._hello()
            case b"AUTH":
                said = self._sign_in(rest)
            case b"MAIL":
                said = self._begin()
            case b"RCPT":
                said = self._add(rest.partition(b"<")[2].partition(b">")[0].decode())
            case b"DATA":
                said = self._go_ahead()
            case b"BDAT":
                size, _, last = rest.partition(b" ")
                self._chunk = int(size), bool(last)
                said = b""  # the answer is to the octets
            case b"QUIT":
                self._is_over = True
                said = b"221 2.0.0 bye\r\n"
            case b"RSET":
                self._forget()
        return said

    def _hello(self) -> bytes:
        offers = [b"sink.test", b"8BITMIME", b"SIZE 10000000"]
        offers += [b"PIPELINING"] * self._manners.pipelining + [b"CHUNKING"] * self._manners.chunking
        offers += [b"AUTH PLAIN"] * bool(self._manners.username)
        return b"".join(b"250-%b\r\n" % offer for offer in offers[:-1]) + b"250 %b\r\n" % offers[-1]

    def _sign_in(self, rest: bytes) -> bytes:
        _, user, password = base64.b64decode(rest.partition(b" ")[2]).decode().split("\0")
        self._ledger.note(Event.LOGIN, user=user, password=password)
        self._may_send = (user, password) == (self._manners.username, self._manners.password)
        return b"235 2.7.0 welcome\r\n" if self._may_send else b"535 5.7.8 no\r\n"

    def _begin(self) -> bytes:
        if not self._may_send:
            return b"530 5.7.0 sign in first\r\n"
        self._forget()
        draw = self._chance.random()
        if draw < self._manners.untold:
            self._fate = Stage.MESSAGE, Kind.UNTOLD
        elif draw < self._manners.untold + self._manners.faults:
            kinds = [Kind.LATER, Kind.NEVER, Kind.GOING, Kind.CLOSE]
            self._fate = self._chance.choice(list(Stage)), self._chance.choice(kinds)
            if self._fate == (Stage.MAIL, Kind.NEVER):  # nobody could tell later which mail that was
                self._fate = Stage.MAIL, Kind.LATER
        answer = self._trouble(Stage.MAIL)
        self._has_sender = answer is None
        return OK if answer is None else answer

    def _add(self, address: str) -> bytes:
        if not self._has_sender:
            return BAD
        answer = self._trouble(Stage.RCPT, address)
        if answer is None:
            self._recipients.append(address)
        return OK if answer is None else answer

    def _go_ahead(self) -> bytes:
        if not self._recipients:
            return BAD
        answer = self._trouble(Stage.DATA, *self._recipients)
        self._in_message = answer is None
        return b"354 go ahead\r\n" if answer is None else answer

    def _take_chunk(self, octets: bytes, *, is_last: bool) -> bytes:
        self._chunk = None
        answer = self._trouble(Stage.DATA, *self._recipients) if self._recipients else BAD
        if answer is not None:
            self._forget()
            return answer
        self._content += octets
        return self._finish(self._content) if is_last else OK

    def _finish(self, content: bytes) -> bytes:
        self._in_message = False
        found = _MESSAGE_ID.search(content)
        message_id, to, fate = found[1].decode() if found else "", self._recipients, self._fate
        self._forget()
        if fate == (Stage.MESSAGE, Kind.UNTOLD):
            self._ledger.note(Event.UNTOLD, id=message_id, to=to)
            self._is_over = True
            return b""
        if fate and fate[0] is Stage.MESSAGE:
            return self._bad_answer(fate[1], to)
        self._ledger.note(Event.TAKEN, id=message_id, to=to)
        return OK

    def _trouble(self, stage: Stage, *to: str) -> bytes | None:
        """What is answered instead of yes, once, if this transaction is fated to have trouble at this stage."""
        if self._fate is None or self._fate[0] is not stage:
            return None
        kind, self._fate = self._fate[1], None
        return self._bad_answer(kind, list(to))

    def _bad_answer(self, kind: Kind, to: list[str]) -> bytes:
        if kind is Kind.NEVER:
            self._ledger.note(Event.REFUSED, to=to)
        self._is_over = kind in (Kind.GOING, Kind.CLOSE)
        return ANSWERS.get(kind, b"")

    def _forget(self) -> None:
        self._fate = None
        self._has_sender = False
        self._recipients: list[str] = []
        self._content = b""
