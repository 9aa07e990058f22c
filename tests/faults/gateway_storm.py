"""The gateway in a process of its own that is killed, and programs that go on sending to it all the while."""

import asyncio
import os
import random
import signal
import smtplib
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final, Self

from sqlalchemy import select

from database.engine import reading
from database.outbox_db import OutboxMail
from services.gateway import memory
from services.gateway.listening import Gateway
from services.message.draft import Draft
from services.outbox import content
from tests.faults import child
from tests.faults.child import Place
from tests.faults.points import Point
from tests.faults.storm import Role
from tests.patience import PATIENCE, wait_until
from tests.processes import CONTEXT

ACCOUNT: Final = "alice"
OF_A_CONNECTION: Final = 4  # mails, of which the last is followed by QUIT
CLIENTS: Final = 6
_DATE: Final = "Mon, 01 Jan 2024 10:00:00 +0000"
_TEXT: Final = ("Thank you for your order.\r\n..\r\n" * 40).encode()


class GatewayProcess:
    """Gateways of a place, one after the other at one port, each forked where the application is ready already."""

    def __init__(self, place: Place, port: int) -> None:
        self._port = port
        self._line, there = CONTEXT.Pipe()
        self._nest = Role(work=hatch, arguments=(place, there))
        self._nest.start()
        there.close()
        self.pid = 0

    def start(self, point: Point | None = None, nth: int = 1) -> None:
        """Begin one, and wait until it listens, or has ended since it got to this point for the n-th time."""
        self._line.send((point, nth))
        self.pid = self._line.recv()
        wait_until(lambda: self._line.poll() or _listens(self._port), "the gateway")

    def wait(self) -> int:
        """How it has ended: minus the signal."""
        assert self._line.poll(PATIENCE), "it did not end"
        self.pid = 0
        return os.waitstatus_to_exitcode(self._line.recv())

    def kill(self) -> None:
        """Kill it -9."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    def close(self) -> None:
        """End everything."""
        if self.pid:
            self.kill()
        self._nest.end()
        self._line.close()


def hatch(place: Place, line: Connection) -> None:
    """In a process of its own: fork a gateway whenever told to, tell its pid, and then how it has ended."""
    app = child.begin(place)
    memory.hold_little()
    while True:
        point, nth = line.recv()
        pid = os.fork()
        if not pid:
            line.close()
            if point:
                point.arm(nth)
            asyncio.run(Gateway(app).run(lambda: None))
            os._exit(0)
        line.send(pid)
        line.send(os.waitpid(pid, 0)[1])


@dataclass
class Told:
    """What the clients were told of each mail, by the number in its Message-ID."""

    answered: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)


@dataclass(kw_only=True)
class GatewayStorm:
    """Programs that send, each mail once, while a ``with`` block runs, and a gateway that is killed now and then.

    The place's environment says that the gateway listens at this port.
    """

    place: Place
    port: int
    token: str
    sender: str
    seed: int
    told: Told = field(default_factory=Told)
    kills: int = 0

    def __enter__(self) -> Self:
        self._chance = random.Random(self.seed)
        self._up, self._is_over = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._gateway = GatewayProcess(self.place, self.port)
        self._begin()
        self._clients = [threading.Thread(target=self._send, args=(number,)) for number in range(CLIENTS)]
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._up.set()
        for each in self._clients:
            each.join(PATIENCE)
        self._gateway.close()

    def kill(self) -> None:
        """Kill it after some more mails, in whatever it does at that moment; another takes its place."""
        self._kill()
        self._begin()

    def crash(self, points: Iterable[Point]) -> None:
        """Kill it, and put one after the other in its place that dies at one of these points; then another."""
        self._kill()
        for point in points:
            self._begin(point, self._chance.randint(1, point.most))
            assert self._gateway.wait() == -signal.SIGKILL, f"it did not get to {point.name}"
            self._up.clear()
            self.kills += 1
        self._begin()

    def wait_for(self, mails: int) -> None:
        """Until so many more have been answered."""
        enough = len(self.told.answered) + mails
        wait_until(lambda: len(self.told.answered) >= enough or self.told.refused, "an answer")

    def _kill(self) -> None:
        self.wait_for(self._chance.randint(1, 8))
        self._up.clear()
        self._gateway.kill()
        self.kills += 1

    def _begin(self, point: Point | None = None, nth: int = 1) -> None:
        self._gateway.start(point, nth)
        self._up.set()

    def _send(self, number: int) -> None:
        mails = (f"{number}-{each}" for each in range(10**6))
        while not self._is_over.is_set():
            self._up.wait(PATIENCE)
            with suppress(OSError, smtplib.SMTPException):
                self._converse(mails)

    def _converse(self, mails: Iterator[str]) -> None:
        with smtplib.SMTP("127.0.0.1", self.port, timeout=PATIENCE) as client:
            client.login(ACCOUNT, self.token)
            for _ in range(OF_A_CONNECTION):
                if self._is_over.is_set():
                    return
                self._hand_over(client, next(mails))

    def _hand_over(self, client: smtplib.SMTP, mail: str) -> None:
        with self._noted(mail):
            client.sendmail(self.sender, [f"{mail}@example.org"], message(mail, self.sender))

    @contextmanager
    def _noted(self, mail: str) -> Iterator[None]:
        """Whatever becomes of it is noted; a connection that is gone says nothing."""
        try:
            yield
        except smtplib.SMTPResponseException as refused:
            with self._lock:
                self.told.refused[mail] = refused.smtp_code
        except BaseException:
            with self._lock:
                self.told.unanswered.add(mail)
            raise
        else:
            with self._lock:
                self.told.answered.add(mail)


def message(mail: str, sender: str) -> bytes:
    """One that can be told from every other, and of which half is not the whole."""
    header = f"From: {sender}\r\nMessage-ID: <{mail}@storm.example>\r\nDate: {_DATE}\r\nSubject: {mail}\r\n\r\n"
    return header.encode() + _TEXT


@dataclass(frozen=True, kw_only=True)
class Harm:
    """By the number of the mail: ``lost`` were answered 250 and are not there, ``false`` were refused and are there.

    ``damaged`` are there with something else than what was handed over.
    """

    lost: set[str]
    twice: set[str]
    false: set[str]
    damaged: set[str]


def harm(told: Told, sender: str) -> Harm:
    """What is in the queue, held against what the programs were told."""
    with reading() as session:
        drafts = [content.unseal(row) for row in session.scalars(select(OutboxMail))]
    there = Counter(map(_number, drafts))
    return Harm(
        lost=told.answered - there.keys(),
        twice={mail for mail, copies in there.items() if copies > 1},
        false=told.refused.keys() & there.keys(),
        damaged={_number(draft) for draft in drafts if not draft.rest.endswith(message(_number(draft), sender))},
    )


def _number(draft: Draft) -> str:
    return draft.message_id.removeprefix("<").partition("@")[0]


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return not connection.connect_ex(("127.0.0.1", port))
