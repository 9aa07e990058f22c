"""The gateway as the clients reach it, with what is behind it: a queue, and a Microsoft that takes tokens alone."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from app import create_app
from database.outbox_db import SETTLED
from services.gateway import sign_in
from services.smtp import pool
from tests import certificates, outbox
from tests.gateway import RunningGateway, queued, token_of
from tests.interop.clients import Errand
from tests.oauth_provider import OAuthProviderServer
from tests.scripted_server import ScriptedServer
from tests.signed_in_by_token import MAILBOX, connected, mail_server
from tests.visitors import make_alice

ACCOUNT: Final = "alice"
FOREIGN: Final = "ceo@foreign.example"
TO: Final = "anna@recipient.example"
_RECEIVED: Final = re.compile(rb"Received: from [^\r\n]+\r\n(?:\t[^\r\n]+\r\n)+")


@dataclass(frozen=True)
class GatewaySide:
    """A running gateway at ``port`` and ``plain_port``, and the mail server that its email ends at."""

    port: int
    plain_port: int
    token: str
    server: ScriptedServer

    def errand(self, home: Path, *, token: str = "", sender: str = MAILBOX) -> Errand:
        return Errand(
            host="localhost",
            port=self.port,
            ca_file=certificates.ca_file(),
            username=ACCOUNT,
            token=token or self.token,
            sender=sender,
            recipient=TO,
            home=home,
        )

    def arrived(self) -> list[bytes]:
        """What has come to the mail server since this was last asked, once all that is queued was sent."""
        outbox.drain()
        waiting = [row.reason for row in queued() if row.state not in SETTLED]
        assert not waiting, f"not sent: {waiting}"
        messages = [each.replace(b"\r\n..", b"\r\n.") for each in self.server.messages]
        self.server.messages.clear()
        return messages


def without_received(message: bytes) -> bytes:
    """The message without the lines that each server on its way put on top."""
    while found := _RECEIVED.match(message):
        message = message[found.end() :]
    return message


@contextmanager
def gateway_side(folder: Path, migrated_database: Path, **more: str) -> Iterator[GatewaySide]:
    """The application with a gateway, alice's token for it, and the mailbox that she sends from."""
    shutil.copy(migrated_database, folder / "gateway.db")
    own = certificates.authority().issue_cert("localhost", "127.0.0.1")
    own.private_key_and_cert_chain_pem.write_to_path(folder / "gateway.pem")
    environment = {
        "APP_KEY": "k3y-f0r-t3sts-QmxyZ1vJ8sWd0aBnL7uRt5eHc",
        "APP_ENV": "production",
        "BASE_URL": "https://sealpost.example.com",
        "DATABASE_URL": f"sqlite:///{folder / 'gateway.db'}",
        "SMTP_CA_FILE": str(certificates.ca_file()),
        "SUBMISSION_LISTEN": "127.0.0.1:0, 127.0.0.1:0",
        "SUBMISSION_TLS_CERT": str(folder / "gateway.pem"),
        # One account sends all of it, through the global server.
        "ACCOUNT_EMAILS_PER_MINUTE": "1000",
        "FALLBACK_EMAILS_PER_MINUTE": "1000",
        **more,
    }
    app = create_app(environment, instance_path=folder)
    with (
        app.app_context(),
        OAuthProviderServer(certificates.good_context("localhost")) as provider,
        mail_server(provider, "microsoft") as (server, _),
        pytest.MonkeyPatch.context() as patch,
    ):
        # So many programs with a wrong password are nobody's attack here.
        patch.setattr(sign_in, "MOST_WRONG", 1000)
        connected(provider, server.port)
        token = token_of(make_alice(is_admin=True).id, "send")
        with RunningGateway(app) as gateway:
            port, plain_port = gateway.ports
            yield GatewaySide(port, plain_port, token, server)
        pool.pool.close()
