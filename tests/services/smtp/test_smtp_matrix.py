"""Every step of a session times every way in which a server can misbehave: right phase, right class, in time, cheaply.

The way to the first octet, refused or without an answer, is in test_smtp_client_opening.
"""

import gc
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from services.smtp.settings import Security
from tests import certificates
from tests.long_run import ALL
from tests.patience import stretched
from tests.scripted_server import Answer, Connection, ScriptedServer, close, drip, flood, hang, pause, reset
from tests.smtp_clients import CONTENT, ENVELOPE, client_for, policy
from utils.errors import DeliveryError, Fault, Misconfigured, OutcomeUnknown, Permanent, Phase, Temporary

TIMES: Final = 5 if ALL else 1
AT_ONCE: Final = 8
PATIENT, IMPATIENT, FAREWELL = 20.0, 1.0, 2.0  # seconds that a session has; what QUIT has of its own
MEBIBYTE: Final = 1024  # in the units of /proc
HELLO: Final = "250-scripted.test\n250-STARTTLS\n250 AUTH PLAIN"
LARGE: Final = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 5_000

PHASES: Final = {
    "GREETING": Phase.GREETING,
    "EHLO": Phase.EHLO,
    "STARTTLS": Phase.ENCRYPTION,
    "HANDSHAKE": Phase.ENCRYPTION,
    "AUTH": Phase.SIGN_IN,
    "MAIL": Phase.SENDER,
    "RCPT": Phase.RECIPIENT,
    "DATA": Phase.DATA,
    "BODY": Phase.MESSAGE,
    "MESSAGE": Phase.MESSAGE,
    "QUIT": None,
}
SETTINGS_STAGES: Final = ("GREETING", "EHLO", "STARTTLS", "AUTH")
ENDLESS: Final = ("one octet at a time", "64 KiB line", "endless lines")  # they begin with 250
SILENCES: Final = ("silence", "one octet at a time")
BEHAVIOURS: Final[dict[str, Answer]] = {
    "reset": reset,
    "end": close,
    "silence": hang,
    "one octet at a time": drip(b"250 " + b"." * 1000),
    "421": "421 4.3.2 going away",
    "451": "451 4.3.0 not now",
    "554": "554 5.0.0 never",
    "64 KiB line": b"250 " + b"x" * 65_536,
    "endless lines": flood(b"250-more\r\n" * 1000),
    "binary": b"\x00\xff\xfe\x01" * 100,
}
CELLS: Final = [(stage, behaviour) for behaviour in BEHAVIOURS for stage in PHASES]


@dataclass(frozen=True)
class Ended:
    """How a session ended, and after how many seconds. The error itself would keep the whole session in memory."""

    seconds: float
    kind: type[DeliveryError] | None
    phase: Phase | None = None
    fault: Fault | None = None
    may_have_been_sent: bool = False


def deaf(connection: Connection) -> None:
    """Say nothing and read nothing until the client has gone."""
    connection.server.stopping.wait(stretched(IMPATIENT * 2))
    close(connection)


def script_for(stage: str, behaviour: str) -> dict[str, Any]:
    answer = BEHAVIOURS[behaviour]
    if (stage, behaviour) == ("GREETING", "reset"):
        return {stage: (pause(0.05), reset)}  # at once it would be a refused connection
    if stage == "HANDSHAKE":
        if behaviour == "one octet at a time":
            answer = drip(b"\x16\x03\x03\x40\x00" + b"." * 1000)  # the beginning of a record
        return {"STARTTLS": ("220 go ahead", Connection.receive, answer)}
    if stage == "BODY" and behaviour == "silence":
        answer = deaf
    return {stage: answer}


@cache
def context() -> ssl.SSLContext:
    return certificates.good_context()


def session(stage: str, behaviour: str) -> Ended:
    """A session with STARTTLS, login and a message, in which ``stage`` is answered so."""
    seconds = IMPATIENT if behaviour in SILENCES else PATIENT
    with ScriptedServer({"EHLO": HELLO, **script_for(stage, behaviour)}, tls=context()) as server:
        started = time.monotonic()
        client = client_for(
            server,
            rules=policy(total_seconds=seconds),
            security=Security.STARTTLS,
            username="shop",
            password="geheim-8472",
        )
        try:
            client.open()
            client.send(ENVELOPE, LARGE if stage == "BODY" else CONTENT)
        except DeliveryError as error:
            client.close()
            took = time.monotonic() - started
            return Ended(took, type(error), error.phase, error.fault, error.may_have_been_sent)
        finally:
            client.close()
        return Ended(time.monotonic() - started, None)


def expected(stage: str, behaviour: str) -> tuple[Fault | None, set[type[DeliveryError] | None]]:
    """What kind of failure a cell is, and in which classes it may come; None where the message was taken."""
    if stage == "MESSAGE" and behaviour in ENDLESS:
        return None, {None}
    if behaviour in ("421", "451", "554") and stage != "HANDSHAKE":
        if stage == "BODY":  # unasked, or taken for the answer to a message that was just complete
            return Fault.REPLY, {Temporary, Permanent}
        if behaviour != "554":
            return Fault.REPLY, {Temporary}
        return Fault.REPLY, {Misconfigured if stage in SETTINGS_STAGES else Permanent}
    if behaviour in SILENCES:
        fault = Fault.TIMEOUT
    elif behaviour in ("reset", "end"):
        fault = Fault.CLOSED
    else:
        fault = Fault.TLS_HANDSHAKE if stage == "HANDSHAKE" else Fault.BROKEN_REPLY
        if (stage, behaviour) == ("GREETING", "binary"):
            fault = Fault.NOT_SMTP
    if stage in ("MESSAGE", "BODY"):  # what the system's buffers took may include the final dot
        may_be_taken: set[None] = {None} if behaviour in ENDLESS else set()
        return fault, {OutcomeUnknown, *({Temporary, *may_be_taken} if stage == "BODY" else ())}
    misread = fault in (Fault.TLS_HANDSHAKE, Fault.NOT_SMTP, Fault.BROKEN_REPLY)
    is_about_settings = misread and stage in (*SETTINGS_STAGES, "HANDSHAKE")
    return fault, {Misconfigured if is_about_settings else Temporary}


@dataclass
class Cost:
    """What all sessions together took at most: KiB of memory, file descriptors left behind."""

    memory: int = 0
    descriptors: int = 0


@contextmanager
def measured() -> Iterator[Cost]:
    cost = Cost()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    memory, descriptors = resident("VmRSS"), len(list(Path("/proc/self/fd").iterdir()))
    yield cost
    cost.memory = resident("VmHWM") - memory
    cost.descriptors = len(list(Path("/proc/self/fd").iterdir())) - descriptors


def resident(which: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(which)).split()[1])


@dataclass(frozen=True)
class Matrix:
    ended: dict[tuple[str, str], list[Ended]]
    costs: list[Cost]  # of each time


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    """All cells, several at once: most of them only wait."""
    session("QUIT", "421")  # what is loaded once is not counted
    ended: dict[tuple[str, str], list[Ended]] = {cell: [] for cell in CELLS}
    costs = []
    for _ in range(TIMES):
        gc.collect()
        with measured() as cost, ThreadPoolExecutor(AT_ONCE) as pool:
            for cell, end in zip(CELLS, pool.map(session, *zip(*CELLS, strict=True)), strict=True):
                ended[cell].append(end)
        costs.append(cost)
    return Matrix(ended, costs)


@pytest.mark.parametrize(("stage", "behaviour"), [cell for cell in CELLS if cell[0] != "QUIT"])
def test_a_misbehaving_server_is_told_by_phase_and_class(matrix: Matrix, stage: str, behaviour: str) -> None:
    fault, kinds = expected(stage, behaviour)
    for ended in matrix.ended[stage, behaviour]:
        assert ended.kind in kinds
        if ended.kind:
            assert ended.phase is PHASES[stage]
            # Octets of a reply that came before the dot may be all that can be read of it.
            assert ended.fault is fault or (stage == "BODY" and ended.fault is Fault.BROKEN_REPLY)
        assert ended.may_have_been_sent is (ended.kind is OutcomeUnknown)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_nothing_behind_the_acceptance_undoes_it(matrix: Matrix, behaviour: str) -> None:
    assert [ended.kind for ended in matrix.ended["QUIT", behaviour]] == [None] * TIMES


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_no_session_takes_longer_than_it_may(matrix: Matrix, behaviour: str) -> None:
    for stage in PHASES:
        allowed = max(IMPATIENT, FAREWELL if stage == "QUIT" else 0) if behaviour in SILENCES else PATIENT
        assert max(ended.seconds for ended in matrix.ended[stage, behaviour]) <= stretched(allowed + 1), stage


def test_all_of_it_takes_little_memory_and_leaves_nothing_open(matrix: Matrix) -> None:
    assert max(cost.memory for cost in matrix.costs) <= 16 * MEBIBYTE
    assert max(cost.descriptors for cost in matrix.costs) <= 0
