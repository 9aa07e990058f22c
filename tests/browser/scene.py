"""The servers that stand for the states of an installation, and where their pages are shown."""

import contextlib
import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

from playwright.sync_api import Browser, Page, StorageState

from app import create_app
from database import mail_open_db
from database.engine import transaction
from database.mail_open_db import Opens
from database.outbox_db import State as MailState
from database.sender_db import AccountSender
from services.accounts.sessions import RECENT
from services.single_sign_on import people
from services.single_sign_on.claims import ProvenIdentity
from services.suppression import counting, entries
from services.suppression.counting import DeadAddress
from services.suppression.listing import Cause
from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import session_of
from tests.certificates import client_pair
from tests.loopback import free_port
from tests.mails import REFUSAL, attempted, in_state
from tests.recording_server import RecordingServer
from tests.running import Client, Sealpost
from tests.scripted_server import ScriptedServer
from tests.visitors import PASSWORD
from utils import clock
from utils.encryption_utils import digest

PROVIDER = "Example ID"
BY_PROVIDER = {"OIDC_ISSUER": "http://localhost:1", "OIDC_CLIENT_ID": "sealpost", "OIDC_NAME": PROVIDER}  # it is away


class Servers:
    """Sealpost without an administrator, with accounts alone, where people are invited, and with mail; mail servers."""

    def __init__(
        self, browser: Browser, start_server: StartServer, mail_server: RecordingServer, silent: ScriptedServer
    ) -> None:
        self.mail_server = mail_server
        self.silent = silent
        self.untouched = start_server()
        self.new = start_server(with_accounts=True, PERSONAL_SMTP_FALLBACK="always")
        self.peopled = start_server(with_accounts=True, SMTP_ALLOWED_CIDRS_ACCOUNTS="127.0.0.0/8", **BY_PROVIDER)
        self._link_a_sign_in()
        self.working = start_server(with_accounts=True)
        self._start_server = start_server
        self.reset_link = self._use_the_local_inbox()
        self._set_up_mail()
        self._make_a_token()
        self._fill_the_mail_log()
        self.sender_link = self._ask_for_a_sender()
        self._browser = browser
        self._sessions: dict[tuple[str, str], tuple[StorageState, float]] = {}

    @cached_property
    def named(self) -> Sealpost:
        """One with accounts at a host name, which passkeys need."""
        port = str(free_port())
        server = self._start_server(with_accounts=True, PORT=port, BASE_URL=f"http://localhost:{port}")
        server.url = server.environment["BASE_URL"]
        return server

    def session(self, server: Sealpost, login: str) -> StorageState | None:
        """That of somebody who signed in lately, None of a guest: later than that, some pages ask for the password."""
        if not login:
            return None
        key = server.url, login
        session, since = self._sessions.get(key, (None, 0.0))
        if session is None or time.monotonic() - since > RECENT.total_seconds() / 2:
            session = session_of(self._browser, server.url, login, session)
            self._sessions[key] = session, time.monotonic()
        return session

    def forget_session(self, server: Sealpost, login: str) -> None:
        """It has ended, as all of an account do with its first second factor."""
        self._sessions.pop((server.url, login), None)

    def _use_the_local_inbox(self) -> str:
        """Have a reset mail in the local inbox; the path of its link."""
        client = Client(self.working.url)
        client.post_form("/forgot-password", {"email": "alice@example.com"})
        self.working.wait_for("email_attempt")
        link = re.search(r"/reset-password\?token=[\w-]+", client.get("/inbox/1").text)
        assert link
        return link[0]

    def _set_up_mail(self) -> None:
        """Save and verify a server, keep others beside it, of which somebody altered one in the database."""
        self._call("/api/settings/smtp", self._server("shop@example.com"))
        self._call("/api/settings/smtp/test", {})
        for name in ("Backup", "Altered"):
            self._call("/api/settings/smtp/configs", {"name": name, **self._server("backup@example.com")})
        partner = {"name": "Partner", "smtp_server": "relay.example.com", "from_email": "shop@example.com"}
        own = client_pair("shop.example.com", days=9)
        identity = {"client_certificate": own.certificate, "client_key": own.key}
        self._call("/api/settings/smtp/configs", {**partner, **identity})
        path = self.working.environment["DATABASE_URL"].removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE smtp_config SET smtp_server = '127.0.0.2' WHERE name = 'Altered'")

    def _server(self, sender: str) -> dict[str, object]:
        return {
            "smtp_server": "127.0.0.1",
            "smtp_port": self.mail_server.port,
            "use_tls": False,
            "from_email": sender,
        }

    def _call(self, path: str, body: dict[str, object]) -> None:
        token = self.working.environment["ADMIN_TOKEN"]
        answer = Client(self.working.url).post_json(path, json.dumps(body).encode(), token)
        assert answer.status in (200, 201), answer.text

    def _make_a_token(self) -> None:
        client = Client(self.working.url)
        client.post_form("/login", {"login": "alice", "password": PASSWORD})
        assert (
            client.post_form("/account/tokens", {"name": "deploy script", "days": "90", "scope_admin": "1"}).status
            == 201
        )

    def _fill_the_mail_log(self) -> None:
        """Have mails in every state, none of them due, so that they stay in it."""
        with create_app(self.working.environment).app_context():
            later = clock.now() + timedelta(hours=1)
            for state in MailState:
                in_state(state, f"{state}@example.com", due_at=later, reason="A reason of the worker.")
            refused = {"address": "joe@example.com", "state": "refused", "code": 550, "enhanced": "5.1.1"}
            failed = in_state(
                MailState.FAILED, "joe@example.com", recipients=[refused], reason="No such mailbox.", tag="order"
            )
            attempted(failed, **REFUSAL | {"outcome": "temporary", "code": 450, "reply": "4.2.1 Try again later " * 9})
            attempted(failed, **REFUSAL)
            attempted(None, **REFUSAL)
            entries.add("complained@shop.example", Cause.COMPLAINT, note="Asked by phone, twice")
            refusals = [DeadAddress("joe@example.com", 0, mail_id, 550, "5.1.1") for mail_id in ("1" * 32, failed)]
            counting.note(
                [*refusals, *(each._replace(address="x" * 60 + "@example.com", scope=2) for each in refusals)]
            )
            read = in_state(MailState.SENT, "reader@example.com", pixel="ab" * 16)
            with transaction() as session:
                hour, opens = clock.now().replace(minute=0, second=0, microsecond=0), Opens(clock.now(), later, 3, 1)
                mail_open_db.note(session, read, hour, opens)

    def _link_a_sign_in(self) -> None:
        """Have a sign-in at the provider that is Alice's."""
        with create_app(self.peopled.environment).app_context():
            people.link(1, ProvenIdentity(issuer=BY_PROVIDER["OIDC_ISSUER"], subject="1", username="ada"))

    def _ask_for_a_sender(self) -> str:
        """Have a sender that waits to be confirmed; the path of its link."""
        token, now = "link-of-a-sender", clock.now()
        with create_app(self.working.environment).app_context(), transaction() as session:
            sender = AccountSender(account_id=1, email="sales@shop.example", email_key="sales@shop.example")
            sender.created_at, sender.expires_at = now, now + timedelta(hours=24)
            sender.token_hash = digest(token)
            session.add(sender)
        return f"/confirm-sender?token={token}"


@dataclass
class Scene:
    """Where the states are shown: ``options`` go to every new page."""

    servers: Servers
    new_page: NewPage
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def is_scripted(self) -> bool:
        return bool(self.options.get("java_script_enabled", True))

    def page(self, server: Sealpost, login: str = "", path: str = "/") -> Page:
        """A page of this server, as somebody who is signed in or as a guest."""
        page = self.new_page(server.url, storage_state=self.servers.session(server, login), **self.options)
        page.goto(path)
        return page

    @contextlib.contextmanager
    def inside(self, server: Sealpost) -> Iterator[None]:
        """Within the application of this server, to change something behind its back."""
        with create_app(server.environment).app_context():
            yield


State = Callable[[Scene], Page]
