"""The octets of one connection: lines and messages, each within bounds of length and time.

How long is waited stands in ``deadline``, for one watcher of all connections: a timer for each wait takes as long as
the reading itself.
"""

import asyncio
import math
import time
from typing import Final

from services.gateway.replies import LARGEST, Rejection

LONGEST_LINE: Final = 4096  # octets of a command; RFC 5321 asks for 512 and more where extensions need it
IDLE_SECONDS: Final = 300.0  # until the next command (RFC 5321 4.5.3.2.7)
UNKNOWN_SECONDS: Final = 60.0  # the same of a client that has not signed in
LINE_SECONDS: Final = 30.0  # for the rest of a command of which something is there
REPLY_SECONDS: Final = 60.0  # for a client to read what it is told
BLOCK_SECONDS: Final = 180.0  # until the next octets of a message (RFC 5321 4.5.3.2.5)
LEAST_RATE: Final = 1024  # octets of a message in a second, after the first minute
GRACE: Final = 60.0
_BLOCK: Final = 256 * 1024  # octets that are read at once
_END: Final = b"\r\n.\r\n"
MOST_DROPPED: Final = 4 * LARGEST  # octets of a message that is too large, until the connection is closed


class ConversationEnded(Exception):
    """The connection is over: with this as the last thing that is said, or nothing."""

    def __init__(self, refusal: Rejection | None = None) -> None:
        super().__init__(refusal.name if refusal else "")
        self.refusal = refusal


class MemoryBudget:
    """How many octets of messages may be held at once, over all connections."""

    def __init__(self, octets: int) -> None:
        self._left = octets

    def take(self, octets: int) -> bool:
        """Whether there is room for so many more, which are then counted."""
        if octets > self._left:
            return False
        self._left -= octets
        return True

    def give_back(self, octets: int) -> None:
        self._left += octets


class BadLine(Exception):
    """A command that cannot be read, and why."""

    def __init__(self, refusal: Rejection) -> None:
        super().__init__(refusal.name)
        self.refusal = refusal


class NotTaken(Exception):
    """A message was read to its end, and there was no room for it."""

    def __init__(self, refusal: Rejection) -> None:
        super().__init__(refusal.name)
        self.refusal = refusal


class ClientWire:
    """Reads from a connection, and collects what is said until there is nothing to read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: MemoryBudget) -> None:
        self._reader = reader
        self._writer = writer
        self._budget = budget
        self.deadline = math.inf  # of what is being waited for, by the monotonic clock: whoever has all wires looks
        self._buffer = bytearray()
        self._said: list[bytes] = []

    @property
    def has_more(self) -> bool:
        """Whether the client has said more than what was read of it."""
        return bool(self._buffer)

    def say(self, line: str) -> None:
        """Say a line, along with others if more commands are there (RFC 2920 3.2)."""
        self._said.append(line.encode("utf-8", "replace") + b"\r\n")

    async def flush(self) -> None:
        """Let the client hear what was said. Raises ConversationEnded for one that does not read."""
        if not self._said:
            return
        octets, self._said = b"".join(self._said), []
        self._writer.write(octets)
        if not self._writer.transport.get_write_buffer_size():
            return
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                await self._writer.drain()
        except (TimeoutError, OSError):
            raise ConversationEnded from None

    async def line(self, idle: float) -> bytes:
        """The next line, without CRLF. Raises ConversationEnded; BadLine for one that is not as it should be.

        A line that has no end is not waited for.
        """
        until = time.monotonic() + idle
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > LONGEST_LINE:
                raise ConversationEnded(Rejection.LINE_TOO_LONG)
            await self.flush()
            begins = not searched
            await self._more(LONGEST_LINE, until - time.monotonic())
            if begins:
                until = min(until, time.monotonic() + LINE_SECONDS)
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        if len(line) > LONGEST_LINE:
            raise BadLine(Rejection.LINE_TOO_LONG)
        if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
            raise BadLine(Rejection.BAD_LINE)
        return line[:-2]

    async def message(self) -> bytes:
        """The message up to its dot, without the dots that were doubled (RFC 5321 4.5.2).

        Only CRLF.CRLF ends it: what a server before this one took for text must not be commands here. Raises
        ConversationEnded, NotTaken. As many octets as it has are taken from the budget; the caller gives them back.
        """
        content, self._buffer = bytearray(b"\r\n") + self._buffer, bytearray()
        started, received, held = time.monotonic(), len(content), 0
        refusal: Rejection | None = None
        searched = 0
        try:
            while (end := content.find(_END, searched)) < 0:
                if refusal is None and received > LARGEST + LARGEST // 3:  # with each dot of lines of a dot doubled
                    refusal = Rejection.TOO_LARGE
                if refusal is None and not self._budget.take(len(content) - held):
                    refusal = Rejection.TOO_MUCH_AT_ONCE
                if refusal:
                    self._budget.give_back(held)
                    held = 0
                    del content[: -len(_END) + 1]
                else:
                    held = len(content)
                searched = max(0, len(content) - len(_END) + 1)
                if received > MOST_DROPPED:
                    raise ConversationEnded(refusal)
                taken = await self._block(started, received)
                received += len(taken)
                content += taken
        except BaseException:
            self._budget.give_back(held)
            raise
        self._buffer += content[end + len(_END) :]
        self._budget.give_back(held)
        if refusal:
            raise NotTaken(refusal)
        with memoryview(content) as view:
            message = bytes(view[2 : end + 2])
        del content
        message = message.replace(b"\r\n.", b"\r\n").removeprefix(b".")
        if len(message) > LARGEST:  # without the doubled dots (RFC 1870 5)
            raise NotTaken(Rejection.TOO_LARGE)
        if not self._budget.take(len(message)):
            raise NotTaken(Rejection.TOO_MUCH_AT_ONCE)
        return message

    async def _block(self, started: float, received: int) -> bytes:
        """The next octets of a message. Raises ConversationEnded for a client that dribbles."""
        until = started + GRACE + received / LEAST_RATE
        return await self._read(_BLOCK, min(BLOCK_SECONDS, until - time.monotonic()))

    async def _more(self, most: int, seconds: float) -> None:
        self._buffer += await self._read(most, seconds)

    async def _read(self, most: int, seconds: float) -> bytes:
        self.deadline = time.monotonic() + seconds
        try:
            octets = await self._reader.read(most)
        except OSError:
            raise ConversationEnded from None
        self.deadline = math.inf
        if not octets:
            raise ConversationEnded
        return octets
