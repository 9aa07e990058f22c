"""A well-behaved SMTP server for the tests, on loopback, that records mail."""

import asyncio
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.loopback import free_port
from tests.patience import PATIENCE


@dataclass(frozen=True)
class RecordedMail:
    """A message as it arrived: the envelope, its content with CRLF, and how it came."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    mail_options: tuple[str, ...]
    encrypted: bool
    login: str | None


@dataclass(frozen=True)
class AuthAttempt:
    mechanism: str
    username: bytes
    password: bytes


class RecordingServer:
    """A well-behaved server (aiosmtpd) that keeps every mail, every login and every octet.

    ``tls`` is the context for STARTTLS, or with ``implicit`` for TLS from the start; ``users`` switches
    AUTH on and requires it. ``data``, decrypted, is what clients have said.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
        users: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        port: int | None = None,
        smtputf8: bool = False,
        size_limit: int = 33_554_432,
        refuse: Mapping[str, str] | None = None,
        ident: str = "recording server",
    ) -> None:
        self.host = host
        self.port = port or free_port(host)
        self.mails: list[RecordedMail] = []
        self.auth_attempts: list[AuthAttempt] = []
        self.data = bytearray()
        self._users = users
        self._refuse = dict(refuse or {})
        self._arrived = threading.Condition()
        self._controller = _Controller(
            self,
            hostname=host,
            port=self.port,
            ready_timeout=PATIENCE,
            ssl_context=tls if implicit else None,
            tls_context=None if implicit else tls,
            require_starttls=tls is not None and not implicit,
            auth_require_tls=tls is not None and not implicit,
            authenticator=self._authenticate,
            auth_exclude_mechanism=() if users is not None else ("LOGIN", "PLAIN"),
            enable_SMTPUTF8=smtputf8,
            data_size_limit=size_limit,
            ident=ident,
            server_hostname="mail.test",
        )

    def __enter__(self) -> Self:
        self._controller.start()
        self.data.clear()  # the controller's own probe
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def wait_for_mail(self, count: int = 1, timeout: float = PATIENCE) -> list[RecordedMail]:
        """The mails, once there are at least ``count``; AssertionError if they do not come."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.mails) >= count, timeout), "no mail came"
            return list(self.mails)

    async def handle_MAIL(
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        # aiosmtpd's own auth_required warns when it is used without STARTTLS.
        if self._users is not None and not session.authenticated:
            return "530 5.7.0 Authentication required"
        if address in self._refuse:
            return self._refuse[address]
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self._refuse:
            return self._refuse[address]
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:
        mail = RecordedMail(
            sender=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            content=cast(bytes, envelope.original_content),
            mail_options=tuple(envelope.mail_options),
            encrypted=session.ssl is not None or self._controller.ssl_context is not None,
            login=_text(cast(Any, session.auth_data).login) if session.authenticated else None,
        )
        with self._arrived:
            self.mails.append(mail)
            self._arrived.notify_all()
        return f"250 OK: queued as R{len(self.mails):04d}"

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        login = cast(LoginPassword, data)
        self.auth_attempts.append(AuthAttempt(mechanism, login.login, login.password))
        known = (self._users or {}).get(_text(login.login))
        return AuthResult(
            success=known is not None and known.encode() == login.password, handled=False, auth_data=login
        )


class _Protocol(SMTP):
    """aiosmtpd's protocol that also keeps what it was told."""

    recorder: RecordingServer

    def data_received(self, data: bytes) -> None:
        self.recorder.data += data
        super().data_received(data)


class _Controller(Controller):
    def __init__(self, recorder: RecordingServer, **options: Any) -> None:
        super().__init__(recorder, **options)
        self._protocols: list[_Protocol] = []

    def factory(self) -> SMTP:
        protocol = _Protocol(self.handler, loop=self.loop, **self.SMTP_kwargs)
        protocol.recorder = self.handler
        self._protocols.append(protocol)
        return protocol

    def stop(self, no_assert: bool = False) -> None:
        asyncio.run_coroutine_threadsafe(self._hang_up(), self.loop).result(PATIENCE)
        super().stop(no_assert)

    async def _hang_up(self) -> None:
        """End what is still connected, so that no transport is left open behind the loop.

        Somebody accepted a moment ago has no transport yet, and leaves one open if the server closes before
        (asyncio's ``_accept_connection2``): hence the server closes when nobody is left, and in the same step.
        """
        me = cast("asyncio.Task[Any]", asyncio.current_task())
        while True:
            live = [protocol for protocol in self._protocols if protocol.transport is not None]
            for protocol in live:
                cast(asyncio.WriteTransport, protocol.transport).abort()
            others = asyncio.all_tasks() - {me}
            if not live and not others:
                return cast(asyncio.Server, self.server).close()
            await asyncio.wait(others, timeout=0.05) if others else await asyncio.sleep(0)


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")
