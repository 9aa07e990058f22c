"""A long line to a server on this machine: whatever goes through arrives half a round trip later, in order.

Run as a process of its own. What it delays is data and the opening of the connection (a round trip and a half,
after which the server speaks first), not TCP's own acknowledgements.
"""

import asyncio
import socket
import sys
from collections import deque
from functools import partial
from typing import Any, Final

from benchmarks.child import answer, settings_line

_QUICK_ACK: Final[int] = getattr(socket, "TCP_QUICKACK", 0)


class End(asyncio.Protocol):
    """One end of the line. What it receives, the other end writes after the delay."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[bytes] = deque()  # empty octets stand for the end of the stream
        self._not_before = 0.0
        self._transport: asyncio.Transport | None = None
        self._overdue = 0  # deliveries that came before the connection
        self.other: End = self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._acknowledge()
        for _ in range(self._overdue):
            self._deliver()

    def data_received(self, data: bytes) -> None:
        self._acknowledge()
        self.other.deliver_later(data)

    def eof_received(self) -> bool:
        self.other.deliver_later(b"")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.other.deliver_later(b"")

    def hold_until(self, moment: float) -> None:
        """Deliver nothing before this moment of the loop's clock."""
        self._not_before = moment

    def deliver_later(self, data: bytes) -> None:
        due = max(self._loop.time() + self._delay, self._not_before)
        self._under_way.append(data)
        self._loop.call_at(due, self._deliver)

    def _deliver(self) -> None:
        """Each delivery is of the oldest, so nothing overtakes whatever the timers do."""
        if not self._transport:
            self._overdue += 1
            return
        data = self._under_way.popleft()
        if self._transport.is_closing():
            return
        if data:
            self._transport.write(data)
        else:
            self._transport.close()

    def _acknowledge(self) -> None:
        """An end that holds its acknowledgements back would let the server's Nagle add 40 ms of its own."""
        if _QUICK_ACK and self._transport:
            self._transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)


class Near(End):
    """The client's end; it brings the far one to life."""

    def __init__(self, delay: float, port: int) -> None:
        super().__init__(delay)
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        far = End(self._delay)
        far.other, self.other = self, far
        opened = self._loop.time() + 3 * self._delay
        far.hold_until(opened)
        self._loop.call_at(opened - 0.001, partial(self._open, far))

    def _open(self, far: End) -> None:
        self._opening = self._loop.create_task(self._loop.create_connection(lambda: far, "127.0.0.1", self._port))


async def serve(settings: dict[str, Any]) -> None:
    delay = settings["round_trip_ms"] / 2000
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Near(delay, settings["port"]), "127.0.0.1", 0)
    answer(port=server.sockets[0].getsockname()[1])
    await asyncio.to_thread(sys.stdin.read)  # until whoever started us has gone


if __name__ == "__main__":
    asyncio.run(serve(settings_line()))
