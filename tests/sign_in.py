"""Signing in at a server that offers certain mechanisms, over TLS where nothing else is said."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from services.smtp.client import SmtpClient
from services.smtp.settings import Security
from tests import certificates
from tests.scripted_server import Answer, ScriptedServer
from tests.smtp_clients import client_for, policy
from utils.errors import DeliveryError, Phase

PASSWORD = "geheim-8472-äöü-パス"
LOGIN: dict[str, Any] = {"username": "shop", "password": PASSWORD}


@contextmanager
def offering(mechanisms: str, answer: Answer | list[Answer], *, tls: bool = True) -> Iterator[ScriptedServer]:
    script: dict[str, Answer | list[Answer]] = {"EHLO": f"250-scripted.test\n250 AUTH {mechanisms}", "AUTH": answer}
    context = certificates.good_context() if tls else None
    with ScriptedServer(script, tls=context, implicit=tls) as server:
        yield server


def client(server: ScriptedServer, observer: Any = None, *, tls: bool = True, **changes: Any) -> SmtpClient:
    security = Security.TLS if tls else Security.NONE
    return client_for(server, observer, rules=policy(), **{"security": security, **LOGIN, **changes})


def failure(server: ScriptedServer, **changes: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        sign_in(server, **changes)
    assert caught.value.phase is Phase.SIGN_IN
    return caught.value


def sign_in(server: ScriptedServer, observer: Any = None, **changes: Any) -> None:
    with client(server, observer, **changes):
        pass


def tried(server: ScriptedServer) -> list[str]:
    return [command.split()[1] for command in server.commands if command.startswith("AUTH ")]
