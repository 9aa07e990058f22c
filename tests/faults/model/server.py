"""A real server on loopback that behaves as a `Behaviour` says, and the ledger of what has come to it."""

import asyncio
import threading
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

from tests.faults.model.behaviour import Accident, Behaviour, Stage
from tests.faults.model.conversation import Conversation
from tests.faults.model.ledger import Ledger
from tests.loopback import TURNS
from tests.patience import PATIENCE

PARTING: Final = 1.0  # seconds for clients that have gone to be noticed
_HOSTS: Final = 1 << 16
_Found = TypeVar("_Found")


class Loop:
    """An event loop in a thread of its own, for as many servers as one likes."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, _Found]) -> _Found:
        """Do something there and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


@dataclass
class BehavingServer:
    """Serves while a ``with`` block runs. Each seed has a host of its own, so that nobody has met it before.

    ``turn`` lets an hour pass: what was too much may go again, and who was greylisted has waited. An answer that
    is late takes ``late`` seconds.
    """

    behaviour: Behaviour
    loop: Loop
    late: float = 1.0
    ledger: Ledger = field(default_factory=Ledger)
    hour: int = 0
    taken_this_hour: int = 0
    connections: int = 0
    first_asked: dict[str, int] = field(default_factory=dict)  # for a recipient, in which hour
    port: int = 0

    def __post_init__(self) -> None:
        place = self.behaviour.seed % _HOSTS
        self.host = f"127.77.{place >> 8}.{place & 255}"
        self.open: set[Conversation] = set()
        self._accidents = list(self.behaviour.accidents)

    def __enter__(self) -> Self:
        self._listener = self.loop.run(self._listen())
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.run(self._leave())

    def turn(self) -> None:
        self.hour += 1
        self.taken_this_hour = 0

    def accident(self, connection: int, mail: int, *stages: Stage) -> Accident | None:
        """What is to happen here; it does not happen again."""
        for each in self._accidents:
            place = connection if each.stage in (Stage.GREETING, Stage.EHLO) else (connection, mail)
            due = each.connection if each.stage in (Stage.GREETING, Stage.EHLO) else (each.connection, each.mail)
            if each.stage in stages and place == due:
                self._accidents.remove(each)
                return each
        return None

    async def settled(self) -> None:
        """Wait until whoever has gone is known to have gone, with all that was still on the way from them."""
        end = asyncio.get_running_loop().time() + PARTING
        while self.open and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.002)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(lambda: Conversation(self), self.host, 0, backlog=64)

    async def _leave(self) -> None:
        await self.settled()
        for _ in range(TURNS):
            for conversation in list(self.open):
                conversation.leave()
            await asyncio.sleep(0)
        self._listener.close()


def copies(ledger: Ledger) -> Counter[tuple[str, str]]:
    """How often each mail has come to each recipient, by its number."""
    return Counter((taken.number, to) for taken in ledger.taken for to in taken.recipients)
