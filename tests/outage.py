"""The night on which the only server dies while 300 emails wait, and what is told of it: told twice, in two ways."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from database.engine import transaction
from services import email_service
from services.alerts import channels, watching
from services.alerts.watching import Watcher
from services.message.draft import draft
from services.outbox import promise
from services.outbox.promise import Terms
from services.settings import configs
from services.settings.fields import parse_change
from services.settings.sealing import StoredConfig
from services.smtp.pool import pool
from services.worker import pulse
from services.worker.probing import Prober
from tests.loopback import free_port
from tests.outbox import drain
from tests.recording_server import RecordingServer
from tests.turned_clock import Now
from tests.web_hook import WebHook

MAILS: Final = 300
USER: Final = "shop"
OLD_PASSWORD: Final = "Pass-phrase-of-yesterday"
NEW_PASSWORD: Final = "Pass-phrase-of-this-morning"
LOOK: Final = 2 * watching.LOOK_SECONDS  # coarser than in life, for the sake of time
_MINUTE: Final = 60


@dataclass
class Night:
    """One server, two channels, and the time. The server's ``port`` stays when another process takes it."""

    now: Now
    hook: WebHook
    ntfy: WebHook
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self._watcher: Watcher = watching.here(self.now.seconds)
        self._prober = Prober(self.now.seconds)

    def begin(self) -> StoredConfig:
        """All is well in the evening: an email arrives, both channels are set up, and somebody watches."""
        change = {
            "smtp_server": "127.0.0.1",
            "smtp_port": self.port,
            "use_tls": False,
            "from_email": "shop@example.com",
        }
        login = {"smtp_username": USER, "smtp_password": OLD_PASSWORD, "name": "Primary"}
        stored = configs.save(parse_change(change | login))
        channels.save({"kind": "webhook", "url": self.hook.url, "secret": "a-secret-of-24-characters"})
        channels.save({"kind": "ntfy", "url": f"http://127.0.0.1:{self.ntfy.port}/night", "token": "tk_abc"})
        with self.server(OLD_PASSWORD) as server:
            assert email_service.send_email("first@example.com", "Hello", "All is well.")
            assert len(server.mails) == 1
            self.pass_time(_MINUTE, LOOK)
        pool.close()
        return stored

    def server(self, password: str) -> RecordingServer:
        """The mail server, as it is with this password."""
        return RecordingServer(port=self.port, users={USER: password})

    def queue_all(self) -> None:
        with transaction() as session:
            for number in range(MAILS):
                mail = draft(f"a{number}@example.com", "Hello", "It is on its way.", message_id_domain="example.com")
                promise.enqueue(mail, Terms(), session)

    def pass_time(self, seconds: float, pause: float = _MINUTE) -> None:
        """Let time pass, with a look of the watcher and of the prober after each pause, and a worker each minute."""
        since = 0.0
        for _ in range(round(seconds / pause)):
            self.now.turn(pause)
            since += pause
            if since >= _MINUTE:
                since = 0.0
                pulse.beat()
                drain()
            self._prober.look()
            self._watcher.look()

    @property
    def told(self) -> list[tuple[str, str]]:
        """The rules that the webhook was told of, and what of each."""
        return [(call.json["data"]["rule"], call.json["data"]["state"]) for call in self.hook.calls]

    @property
    def is_resolved(self) -> bool:
        """Whether all that was told by each of the two is over, and was told once."""
        both = sorted((rule, state) for rule in ("no_mail", "server") for state in ("firing", "resolved"))
        return sorted(self.told) == both and len(self.ntfy.calls) == len(both)


@contextmanager
def night(now: Now) -> Iterator[Night]:
    """In an application's context, with its clock turned."""
    with WebHook() as hook, WebHook() as ntfy:
        yield Night(now, hook, ntfy)
