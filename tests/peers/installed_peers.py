"""Postfix and Exim as the tests have them anyhow, with STARTTLS and a login."""

from contextlib import ExitStack
from typing import Any, Final, Self

from tests import exim_server, postfix_server
from tests.exim_server import EximServer
from tests.peers.peer import Unavailable, as_sent
from tests.postfix_server import PostfixServer

_PASSWORD: Final = "geheim-8472"
_FORM: Final[dict[str, Any]] = {"use_tls": True, "smtp_username": "shop", "smtp_password": _PASSWORD}


class PostfixPeer:
    """Postfix, which delivers each mail into a maildir."""

    name, form = "Postfix 3.7", _FORM

    def __init__(self) -> None:
        self._held = ExitStack()

    def __enter__(self) -> Self:
        if reason := postfix_server.missing():
            raise Unavailable(reason)
        self._server = self._held.enter_context(PostfixServer({"shop": _PASSWORD}))
        self.host, self.port = self._server.host, self._server.starttls_port
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def arrived(self) -> list[bytes]:
        return [as_sent(message) for message in self._server.all_delivered()]


class EximPeer:
    """Exim, where mail stays in the queue."""

    name, form = "Exim 4.96", _FORM

    def __init__(self) -> None:
        self._held = ExitStack()

    def __enter__(self) -> Self:
        if reason := exim_server.missing():
            raise Unavailable(reason)
        self._server = self._held.enter_context(EximServer({"shop": _PASSWORD}, senders="shop@sender.example"))
        self.host, self.port = self._server.host, self._server.starttls_port
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def arrived(self) -> list[bytes]:
        return [as_sent(message) for message in self._server.all_queued()]
