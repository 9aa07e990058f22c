"""A mail server that falls silent at each step of a session once: a connection for each, and the others are served."""

import threading
from collections.abc import Sequence
from typing import Final

from tests import certificates
from tests.patience import PATIENCE
from tests.scripted_server import Action, Answer, Connection, ScriptedServer, hang, start_tls

OFFERS: Final = "250-silent.test\n250-STARTTLS\n250 AUTH PLAIN"
STEPS: Final = ("GREETING", "EHLO", "STARTTLS", "HANDSHAKE", "AUTH", "MAIL", "RCPT", "DATA", "MESSAGE")
PASSWORD: Final = "heather-8472-lantern"
_ANSWERS: Final[dict[str, Answer]] = {
    "GREETING": "220 silent.test", "EHLO": OFFERS, "STARTTLS": start_tls(), "AUTH": "235 2.7.0 welcome",
    "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go ahead", "MESSAGE": "250 2.0.0 Ok",
}  # fmt: skip


class Silences:
    """The ``server``, and who is held by it at which of the ``steps``."""

    def __init__(self, steps: Sequence[str] = STEPS) -> None:
        self._steps = steps
        self._reached = threading.Semaphore(0)
        script: dict[str, Answer | list[Answer]] = {}
        for verb, answer in _ANSWERS.items():
            silences: list[Answer] = [self._silence] if verb in steps else []
            if verb == "STARTTLS" and "HANDSHAKE" in steps:
                silences.append(("220 go ahead", self._silence))
            script[verb] = [*silences, answer]
        self.server = ScriptedServer(script, tls=certificates.good_context())

    def wait(self) -> None:
        """Until somebody is held at each of the steps."""
        for _ in self._steps:
            assert self._reached.acquire(timeout=PATIENCE), self.server.commands

    @property
    def _silence(self) -> Action:
        def act(connection: Connection) -> None:
            self._reached.release()
            hang(connection)

        return act


def mail_through(server: ScriptedServer) -> dict[str, str]:
    """The variables that have mail go there, encrypted and signed in."""
    return {
        "EMAIL_HOST": server.host,
        "EMAIL_PORT": str(server.port),
        "EMAIL_USE_TLS": "true",
        "EMAIL_HOST_USER": "shop",
        "EMAIL_HOST_PASSWORD": PASSWORD,
        "DEFAULT_FROM_EMAIL": "shop@example.com",
        "SMTP_CA_FILE": str(certificates.ca_file()),
    }
