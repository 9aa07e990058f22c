"""A look opens a connection beside those of mails, and takes none away from them."""

import threading

from services.smtp.client import Envelope, Parcel, Policy
from services.smtp.dialogue import Dialogue
from services.smtp.pool import Pool
from services.smtp.settings import Security, SmtpSettings
from tests.patience import PATIENCE
from tests.scripted_server import Connection, ScriptedServer

CROWDED = b"421 4.7.0 Too many connections\r\n"


class OneAtATime(ScriptedServer):
    """A server that gives one connection, and whose NOOP is answered when it is told to."""

    def __init__(self) -> None:
        self.turned_away, self.may_answer = threading.Event(), threading.Event()
        super().__init__({"GREETING": self._greet, "NOOP": self._answer})

    def _greet(self, connection: Connection) -> None:
        if any(other.sock.fileno() >= 0 for other in self.connections if other is not connection):
            self.turned_away.set()
            connection.send(CROWDED)
        else:
            connection.send(b"220 one.test ESMTP\r\n")

    def _answer(self, connection: Connection) -> None:
        assert self.may_answer.wait(PATIENCE)
        connection.send(b"250 ok\r\n")


def test_mail_that_comes_during_a_look_at_a_server_of_one_connection_waits_for_its_end_and_goes() -> None:
    with OneAtATime() as server:
        settings = SmtpSettings(host="127.0.0.1", port=server.port, security=Security.NONE, from_email="a@example.com")
        policy = Policy(ehlo_name="me.test", total_seconds=PATIENCE, is_crowded=lambda error: error.code == 421)
        pool, talk = Pool(), Dialogue(settings, None)
        looking = threading.Thread(target=lambda: pool.look(settings, policy, talk, owner="config:1", of=settings))
        looking.start()
        server.wait_for("NOOP")
        receipts: list[object] = []
        mail = Envelope(sender="a@example.com", recipients=("b@example.com",))
        sending = threading.Thread(
            target=lambda: receipts.append(
                pool.send(settings, policy, Parcel(envelope=mail, content=b"x\r\n"), owner="config:1")
            )
        )
        sending.start()
        assert server.turned_away.wait(PATIENCE)
        server.may_answer.set()
        looking.join(PATIENCE)
        sending.join(PATIENCE)
        assert len(receipts) == 1
        assert len(server.messages) == 1
        pool.close()
