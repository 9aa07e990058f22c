"""A mail that the server has accepted in an odd form is sent, and not sent again."""

import pytest

from database.outbox_db import State
from services.settings import configs
from services.settings.fields import parse_change
from tests.mails import queued
from tests.outbox import drain, row_of
from tests.scripted_server import Answer, ScriptedServer, close

ODD: list[Answer] = [
    "250OK queued",
    "250\tok",
    "250",
    f"250 2.0.0 ok {'x' * 2100}",
    "250-2.0.0 ok\n\n250 2.0.0 queued",
    ("250-2.0.0 ok", close),
    (b"250 2.0.0 o", close),
]


@pytest.mark.parametrize("extensions", ["", "\n250-PIPELINING", "\n250-PIPELINING\n250-CHUNKING"])
@pytest.mark.parametrize("answer", ODD, ids=range(len(ODD)))
@pytest.mark.usefixtures("app")
def test_it_is_sent_once(answer: Answer, extensions: str) -> None:
    hello = f"250-scripted.test{extensions}\n250 8BITMIME"
    with ScriptedServer({"EHLO": hello, "MESSAGE": answer}) as server:
        place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
        configs.save(parse_change({**place, "timeout_seconds": 2}), actor="tester")
        mail_id = queued("ann@example.com")
        drain()
        row = row_of(mail_id)
        assert (row.state, row.attempts) == (State.SENT, 1)
        assert len(server.messages) == 1
