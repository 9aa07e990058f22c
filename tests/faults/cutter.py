"""The sink inside this process, whose next connection breaks after so many octets in one direction, or dawdles."""

import asyncio
import random
import threading
from collections import Counter
from typing import Any, Final, Self

from tests.faults.sink import Event, Manners, SinkProtocol
from tests.loopback import TURNS
from tests.patience import PATIENCE

PAUSES: Final = (0.0,) * 9 + (0.002,)  # seconds, between two slices


class Cutter:
    """Well-mannered but for the cut. ``taken`` counts the mails that have arrived, by Message-ID."""

    host = "127.0.0.1"

    def __init__(self, *, pipelining: bool, chunking: bool) -> None:
        self.manners = Manners(faults=0, untold=0, delay=0, pipelining=pipelining, chunking=chunking)
        self.taken: Counter[str] = Counter()
        self.heard = self.said = 0  # octets, in the connection that was last opened
        self.whims: random.Random | None = None
        self._cut: tuple[int, int] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._connections: list[Connection] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(self._loop.create_server(lambda: Connection(self), self.host, 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._hang_up())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def cut(self, *, heard: int = 1 << 40, said: int = 1 << 40) -> None:
        """Let the next connection, and only that, end once it has heard or said so many octets."""
        self.taken.clear()
        self._cut = heard, said

    def dawdle(self, seed: int) -> None:
        """Let what is said from here on come in slices of a few octets, now and then with a pause between them."""
        self.taken.clear()
        self.whims = random.Random(seed)

    def limits(self) -> tuple[int, int]:
        cut, self._cut = self._cut, None
        return cut or (1 << 40, 1 << 40)

    def note(self, event: Event, **what: Any) -> None:
        if event is Event.TAKEN:
            self.taken[what["id"]] += 1

    def opened(self, connection: "Connection") -> None:
        self._connections.append(connection)

    async def _hang_up(self) -> None:
        for _ in range(TURNS):
            for connection in self._connections:
                connection.leave()
            await asyncio.sleep(0)
        self._server.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


class Connection(SinkProtocol):
    """One client. At even places it hangs up, at odd ones the connection is reset."""

    def __init__(self, cutter: Cutter) -> None:
        super().__init__(cutter.manners, cutter, random.Random(0))
        self._cutter = cutter
        self._may_hear, self._may_say = self._limits = cutter.limits()
        self._heard = self._said = 0
        self._unsaid = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._cutter.opened(self)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        heard = data[: max(0, self._may_hear - self._heard)]
        self._heard += len(heard)
        self._cutter.heard = self._heard
        if heard:
            super().data_received(heard)
        if self._heard >= self._may_hear:
            self._break(self._may_hear)

    def say(self, answers: bytes) -> None:
        said = answers[: max(0, self._may_say - self._said)]
        self._said += len(said)
        self._cutter.said = self._said
        if self._cutter.whims:
            is_speaking = bool(self._unsaid)
            self._unsaid += said
            if not is_speaking:
                self._dawdle(self._cutter.whims)
        else:
            super().say(said)
        if self._said >= self._may_say:
            self._break(self._may_say)

    def leave(self) -> None:
        self._transport.abort()

    def _dawdle(self, whims: random.Random) -> None:
        size = whims.randint(1, 8)
        self._transport.write(bytes(self._unsaid[:size]))
        del self._unsaid[:size]
        if self._unsaid:
            asyncio.get_running_loop().call_later(whims.choice(PAUSES), self._dawdle, whims)
        elif self._is_over:
            self._transport.close()

    def _break(self, place: int) -> None:
        self._is_over = True
        if place % 2:
            self._transport.abort()
        else:
            self._transport.close()
