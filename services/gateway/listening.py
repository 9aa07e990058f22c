"""The running gateway: its sockets, how many may connect, and its way to the database and back."""

import asyncio
import errno
import logging
import os
import socket
import ssl
import time
from asyncio import sslproto
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Final

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from services.gateway import certificate, drafting, presence, sign_in
from services.gateway.accepting import Accepting, Client, Handed
from services.gateway.certificate import LOOK_SECONDS
from services.gateway.conversation import HANDSHAKE_SECONDS, Conversation, plain_address
from services.gateway.presence import BEAT_SECONDS
from services.gateway.replies import GatewayReply, Rejection
from services.gateway.sign_in import ClientSignedIn, SignInRefused
from services.gateway.uses import Visit, Who
from services.gateway.wire import MemoryBudget
from utils import clock, service_manager
from utils.env_reader import ConfigurationError
from utils.env_utils import EXTENSION, Settings
from utils.submission_env import LISTEN, ListenAt

log = structlog.get_logger(__name__)

MOST_IN_ALL: Final = 500
MOST_OF_PEER: Final = 250
HELD_OCTETS: Final = 96 * 1024 * 1024  # of messages that are being received or stored, over all connections
STOP_SECONDS: Final = 5.0
WATCH_SECONDS: Final = 0.5  # between two looks for clients that take too long
_LIFE_SECONDS: Final = 5.0  # between two signs of life
_BACKLOG: Final = 128
_SIGN_IN_THREADS: Final = 2


class Gateway:
    """Listens until ``stop``; everything of it but the writing is in one event loop."""

    def __init__(self, app: Flask) -> None:
        """Raises ConfigurationError where it cannot listen, or has no certificate."""
        self._app = app
        settings: Settings = app.extensions[EXTENSION]
        self._submission = settings.submission
        if not self._submission.listen:
            raise ConfigurationError(f"{LISTEN} is not set, so there is no gateway to run.")
        self._certificate = certificate.of(self._submission)
        self._sockets = [(place, _socket(place)) for place in self._submission.listen]
        with app.app_context():
            self.host = drafting.host()
        self.budget = MemoryBudget(HELD_OCTETS)
        self.begun = 0
        self._open: set[Conversation] = set()
        self._of_peer: Counter[str] = Counter()
        self._handshakes: Counter[str] = Counter()
        self._process_id = os.urandom(16).hex()
        self._started_at = clock.now()
        self._stopping = asyncio.Event()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens."""
        return tuple(
            str(ListenAt(place.host, each.getsockname()[1], is_implicit=place.is_implicit))
            for place, each in self._sockets
        )

    async def run(self, listens: Callable[[], None]) -> None:
        """Serve until ``stop``; ``listens`` is called once connections are taken."""
        self._loop = asyncio.get_running_loop()
        logging.getLogger("mail.log").disabled = True  # aiosmtpd's, where what clients say would stand
        self._threads = ThreadPoolExecutor(_SIGN_IN_THREADS, thread_name_prefix="gateway-sign-in")
        self._accepting = Accepting(self._app, self._answered, lambda: self.begun).start()
        servers = [
            await self._loop.create_server(partial(self._conversation, place), sock=each, backlog=_BACKLOG)
            for place, each in self._sockets
        ]
        works = (self._beat(), self._look_at_certificate(), self._show_life(), self._watch())
        sides = [asyncio.create_task(each) for each in works]
        listens()
        await self._stopping.wait()
        for server in servers:
            server.close()
        for conversation in list(self._open):
            conversation.end()
        if self._open:
            await asyncio.wait([asyncio.create_task(each.wait_ended()) for each in self._open], timeout=STOP_SECONDS)
        for side in sides:
            side.cancel()
        await self._loop.run_in_executor(None, self._finish)

    def stop(self) -> None:
        """End soon: no new connections, and those that are idle are told. From any thread."""
        self._loop.call_soon_threadsafe(self._stopping.set)

    def _finish(self) -> None:
        self._accepting.stop(STOP_SECONDS)
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._app.app_context():
            try:
                presence.leave(self._process_id)
            except SQLAlchemyError as error:
                log.warning("gateway_end_not_noted", kind=type(error).__name__)

    def _conversation(self, place: ListenAt) -> asyncio.BaseProtocol:
        made = Conversation(self, loop=self._loop, is_implicit=place.is_implicit, needs_tls=not place.is_loopback)
        if not place.is_implicit:
            return made
        if self._certificate is None:
            raise ConfigurationError(f"{place} needs a certificate.")  # which the settings have seen to
        return _TlsDoor(self, self._loop, made, self._certificate.context)

    def begin_handshake(self, address: str, handshake: "asyncio.Future[None]") -> bool:
        """Whether there is room for one more, which then counts as a connection until it is done."""
        peer = sign_in.network_of(address)
        if len(self._open) + self._handshakes.total() >= MOST_IN_ALL:
            return False
        if self._of_peer[peer] + self._handshakes[peer] >= MOST_OF_PEER:
            return False
        self._handshakes[peer] += 1
        handshake.add_done_callback(lambda _: self._end_handshake(peer))
        return True

    def _end_handshake(self, peer: str) -> None:
        self._handshakes[peer] -= 1
        if not self._handshakes[peer]:
            del self._handshakes[peer]

    # What a conversation asks.

    def tls(self) -> ssl.SSLContext | None:
        return self._certificate.context if self._certificate else None

    def greet(self, conversation: Conversation) -> Rejection | None:
        peer = sign_in.network_of(conversation.address)
        self._open.add(conversation)
        self._of_peer[peer] += 1
        if self._stopping.is_set():
            return Rejection.STOPPING
        if len(self._open) > MOST_IN_ALL:
            return Rejection.TOO_MANY_IN_ALL
        return Rejection.TOO_MANY_OF_PEER if self._of_peer[peer] > MOST_OF_PEER else None

    def leave(self, conversation: Conversation) -> None:
        if conversation not in self._open:
            return
        self._open.discard(conversation)
        peer = sign_in.network_of(conversation.address)
        self._of_peer[peer] -= 1
        if not self._of_peer[peer]:
            del self._of_peer[peer]

    def trusted(self, address: str) -> ClientSignedIn | None:
        return self._trusted_at(address) if self._submission.trusted else None

    async def sign_in(self, login: str, token: str, address: str) -> ClientSignedIn | SignInRefused:
        return await self._loop.run_in_executor(self._threads, partial(self._signed_in, login, token, address))

    def take(self, client: Client, recipients: tuple[str, ...], content: bytes) -> asyncio.Future[GatewayReply]:
        answer: asyncio.Future[GatewayReply] = self._loop.create_future()
        self._accepting.take(Handed(client=client, recipients=recipients, content=content, tag=answer))
        return answer

    def note(self, visit: Visit) -> None:
        self._accepting.note(visit)

    def _signed_in(self, login: str, token: str, address: str) -> ClientSignedIn | SignInRefused:
        with self._app.app_context():
            return sign_in.sign_in(login, token, address)

    def _answered(self, answered: Sequence[Handed]) -> None:
        """In the writing thread: all answers of a transaction in one go."""
        self._loop.call_soon_threadsafe(_give, [(each.tag, each.reply) for each in answered])

    @lru_cache(maxsize=1024)  # noqa: B019 - there is one gateway in a process
    def _trusted_at(self, address: str) -> ClientSignedIn | None:
        try:
            found = ip_address(address)
        except ValueError:
            return None
        network = next((each for each in self._submission.trusted if found in each), None)
        return ClientSignedIn(who=Who(network=str(network)), name=f"network {network}") if network else None

    async def _beat(self) -> None:
        while True:
            await self._loop.run_in_executor(self._threads, self._note_alive)
            await asyncio.sleep(BEAT_SECONDS)

    def _note_alive(self) -> None:
        trouble = self._certificate.trouble if self._certificate else ""
        with self._app.app_context():
            try:
                presence.beat(self._process_id, self._started_at, self.addresses, trouble)
            except SQLAlchemyError as error:
                log.warning("gateway_beat_not_noted", kind=type(error).__name__)

    async def _watch(self) -> None:
        """End those that take too long."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = time.monotonic()
            for conversation in list(self._open):
                conversation.watch(now)

    async def _show_life(self) -> None:
        """This loop, which answers every client, turns."""
        while True:
            service_manager.sign_of_life()
            await asyncio.sleep(_LIFE_SECONDS)

    async def _look_at_certificate(self) -> None:
        while self._certificate:
            await asyncio.sleep(LOOK_SECONDS)
            await self._loop.run_in_executor(self._threads, self._certificate.look_again)


def _give(answers: Sequence[tuple[object, GatewayReply | None]]) -> None:
    for future, reply in answers:
        if isinstance(future, asyncio.Future) and not future.done():  # its client may be gone
            future.set_result(reply or Rejection.FAULT.reply)


class _TlsDoor(sslproto.SSLProtocol):
    """TLS from the start. Who connects and never shakes hands would be no conversation, and so not be counted."""

    def __init__(
        self, gateway: Gateway, loop: asyncio.AbstractEventLoop, made: Conversation, context: ssl.SSLContext
    ) -> None:
        self._gateway = gateway
        self._shaken: asyncio.Future[None] = loop.create_future()
        self._shaken.add_done_callback(_heard)
        super().__init__(loop, made, context, self._shaken, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._gateway.begin_handshake(plain_address(transport.get_extra_info("peername")), self._shaken):
            super().connection_made(transport)
        elif isinstance(transport, asyncio.Transport):
            transport.abort()


def _heard(handshake: asyncio.Future[None]) -> None:
    """A handshake that fails ends its connection; there is nobody to tell."""
    if not handshake.cancelled() and (error := handshake.exception()):
        log.info("gateway_handshake_failed", kind=type(error).__name__)


def _socket(place: ListenAt) -> socket.socket:
    is_ipv6 = ":" in place.host
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    try:
        return socket.create_server((place.host, place.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        fault = "is already in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        raise ConfigurationError(f"{LISTEN}: {place} {fault}.") from None
