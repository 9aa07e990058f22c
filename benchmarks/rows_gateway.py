"""The measurements of the gateway: how much email it takes in durably, and the memory that this needs."""

import base64
import smtplib
import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.gateway import ACCOUNT, MeasuredGateway, gateway, queueing_postfix
from benchmarks.message import SENDER, TO
from benchmarks.results import Goal, Result
from benchmarks.rows_memory import proc, resident_mebibytes
from benchmarks.rows_sending import OURS, rates
from benchmarks.series import Effort, Side, alternate, times_faster
from services.gateway.replies import LARGEST
from tests import certificates

POSTFIX: Final = "Postfix, smtpd and queue"
CONNECTIONS: Final = 10
IDLE: Final = 200
_LINE: Final = base64.b64encode(bytes(57)) + b"\r\n"


def gateway_speed(effort: Effort) -> Result:
    """Emails that are in the queue, with fsync, when their sender is answered; the same program sends to both."""
    with gateway() as ours, queueing_postfix() as postfix:
        sides = [
            Side(OURS, "smtp_source", ours.server, {"connections": CONNECTIONS}, least=300),
            Side(POSTFIX, "smtp_source", postfix, {"connections": CONNECTIONS}, least=300),
        ]
        turns, left_out = alternate(sides, effort)
    wanted = [
        Goal("emails/s", turns[OURS].mails_per_second, 500),
        Goal(f"× {POSTFIX}", times_faster(turns[OURS], turns[POSTFIX]), 3),
    ]
    what = f"taken in durably by the gateway, SQLite, fsync on, {CONNECTIONS} connections"
    return rates("gateway", what, turns, wanted, left_out)


def gateway_memory(_effort: Effort) -> Result:
    """A gateway's process with many programs that are connected, signed in and idle, and what one large email adds."""
    with gateway() as ours, ExitStack() as held:
        for _ in range(IDLE):
            held.enter_context(_signed_in(ours))
        idle = resident_mebibytes(ours.pid)
        with _signed_in(ours) as client:
            message = f"From: {SENDER}\r\nTo: {TO}\r\nSubject: Large\r\n\r\n".encode()
            message += _LINE * ((LARGEST - len(message)) // len(_LINE))
            Path(f"/proc/{ours.pid}/clear_refs").write_text("5")  # the peak begins anew: proc(5)
            before = _peak_mebibytes(ours.pid)
            client.sendmail(SENDER, [TO], message)
            more = _peak_mebibytes(ours.pid) - before
    times = more * 2**20 / len(message)
    return Result(
        name="gateway-memory",
        what=f"memory of the gateway with {IDLE} idle connections over TLS, and of an email of 25 MiB",
        unit="MiB",
        figures={"idle": idle, "25 MiB": more},
        goals=[Goal("MiB", idle, 150, True), Goal("× the size of the email", times, 4, True)],
    )


def _signed_in(ours: MeasuredGateway) -> smtplib.SMTP:
    trusting = ssl.create_default_context(cafile=str(certificates.ca_file()))
    client = smtplib.SMTP_SSL("localhost", ours.tls_port, "benchmark.example", context=trusting)
    client.login(ACCOUNT, ours.token)
    return client


def _peak_mebibytes(pid: int) -> float:
    (line,) = (line for line in proc(f"{pid}/status").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
