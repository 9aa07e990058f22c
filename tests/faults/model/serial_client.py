"""The plainest client that there is, to compare with: smtplib, a connection and a transaction for each recipient."""

import smtplib
from contextlib import suppress
from typing import Final

from tests.faults.model.behaviour import Behaviour
from tests.faults.model.mails import SENDER, Mail
from tests.faults.model.server import BehavingServer, Loop, copies

ATTEMPTS: Final = 6


def delivers(behaviour: Behaviour, loop: Loop, mail: Mail, to: str, seconds: float) -> bool:
    """Whether such a client gets the mail through to a new server of this behaviour, an hour after the other."""
    with BehavingServer(behaviour, loop, late=seconds * 3) as server:
        for _ in range(ATTEMPTS):
            with suppress(smtplib.SMTPException, OSError, ValueError):
                _send(server, mail, to, seconds)
            if copies(server.ledger)[mail.number, to]:
                return True
            server.turn()
    return False


def _send(server: BehavingServer, mail: Mail, to: str, seconds: float) -> None:
    client = smtplib.SMTP(server.host, server.port, local_hostname="app.example", timeout=seconds)
    try:
        client.ehlo_or_helo_if_needed()
        if client.mail(SENDER)[0] == 250 and client.rcpt(to)[0] == 250:
            client.data(mail.content)
    finally:
        client.close()
