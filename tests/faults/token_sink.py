"""A mail server that takes tokens, for as long as their provider says that they are good, and counts what comes."""

import asyncio
import base64
import random
import re
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Self

from tests.faults.sink import Event, Manners, SinkProtocol
from tests.patience import PATIENCE

_BLOB: Final = re.compile("user=([^\1]*)\1auth=Bearer ([^\1]+)\1\1")
_REFUSED: Final = b"535 5.7.3 Authentication unsuccessful [AM0PR05CA0074.eurprd05.prod.outlook.com]\r\n"


class TokenSink:
    """``with TokenSink(context, provider.mailbox_of) as sink:`` serves at ``sink.port``, with TLS from the start.

    ``arrived`` has the Message-IDs of what it has taken, ``refused`` the tokens that were good for nothing, and
    ``signed_in`` how often each of the others came.
    """

    def __init__(self, context: ssl.SSLContext, mailbox_of: Callable[[str], str]) -> None:
        self.mailbox_of = mailbox_of
        self.arrived: list[str] = []
        self.refused: list[str] = []
        self.signed_in: Counter[str] = Counter()
        self.port = 0
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.WriteTransport] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="token-sink", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE), "the sink did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    @property
    def copies(self) -> int:
        """How many mails have come more than once."""
        return len(self.arrived) - len(set(self.arrived))

    def note(self, event: Event, **what: Any) -> None:
        """What the conversations tell."""
        assert event is Event.TAKEN, event
        self.arrived.append(what["id"])

    def connected(self, transport: asyncio.WriteTransport) -> None:
        self._open.add(transport)

    def left(self, transport: asyncio.WriteTransport) -> None:
        self._open.discard(transport)

    def hang_up(self) -> None:
        """End every connection, so that the next mail needs a new one."""
        done = threading.Event()

        def end() -> None:
            self._abort()
            done.set()

        self._loop.call_soon_threadsafe(end)
        assert done.wait(PATIENCE)

    def _abort(self) -> None:
        for transport in list(self._open):
            transport.abort()

    async def _end(self, server: asyncio.Server) -> None:
        server.close()
        while self._open or len(asyncio.all_tasks()) > 1:
            self._abort()
            await asyncio.sleep(0.01)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        made = self._loop.create_server(lambda: _Conversation(self), "127.0.0.1", 0, ssl=self._context, backlog=256)
        server = self._loop.run_until_complete(made)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._end(server))


class _Conversation(SinkProtocol):
    """One client, who gets no further without a token for the mailbox that they name."""

    def __init__(self, sink: TokenSink) -> None:
        super().__init__(Manners(faults=0, untold=0, delay=0, username="by token"), sink, random.Random(0))
        self._sink = sink

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._sink.connected(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sink.left(self._transport)

    def _hello(self) -> bytes:
        return super()._hello().replace(b"AUTH PLAIN", b"AUTH XOAUTH2")

    def _sign_in(self, rest: bytes) -> bytes:
        found = _BLOB.fullmatch(base64.b64decode(rest.partition(b" ")[2], validate=True).decode())
        assert found, "this is not XOAUTH2"
        self._may_send = found[1] != "" and self._sink.mailbox_of(found[2]) == found[1]
        if not self._may_send:
            self._sink.refused.append(found[2])
            return _REFUSED
        self._sink.signed_in[found[2]] += 1
        return b"235 2.7.0 Accepted\r\n"
