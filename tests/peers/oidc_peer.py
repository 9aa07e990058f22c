"""PyPI's oidc-provider-mock: a provider of sign-ins that others wrote, with Authlib's server, as a process of its own.

It takes every client, and knows neither PKCE nor RFC 9207; what it keeps to is the rest of OpenID Connect.
"""

import http.client
import json
import subprocess
import sys
from contextlib import closing
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit

from tests.loopback import free_port
from tests.patience import PATIENCE, wait_until

_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


class OidcPeer:
    """``with OidcPeer() as peer:`` serves at ``peer.url``."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"

    def __enter__(self) -> Self:
        command = (sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(self.port))
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_until(self._answers, "the provider")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    def says_of(self, subject: str, **claims: Any) -> None:
        """What its tokens say of somebody from now on."""
        status, _ = self._asked("PUT", f"/users/{subject}", json.dumps(claims), {"Content-Type": "application/json"})
        assert status == 204

    def come_back(self, url: str, subject: str) -> str:
        """Where it sends somebody back to who has signed in at the page at this address."""
        parts = urlsplit(url)
        status, place = self._asked("POST", f"{parts.path}?{parts.query}", urlencode({"sub": subject}), _FORM)
        assert status == 302
        return place

    def page(self, url: str) -> int:
        """The status of one of its pages."""
        parts = urlsplit(url)
        return self._asked("GET", f"{parts.path}?{parts.query}", "", {})[0]

    def _asked(self, method: str, target: str, body: str, headers: dict[str, str]) -> tuple[int, str]:
        with closing(http.client.HTTPConnection("localhost", self.port, timeout=PATIENCE)) as connection:
            connection.request(method, target, body or None, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.headers.get("Location", "")

    def _answers(self) -> bool:
        assert self._process.poll() is None, "oidc-provider-mock ended"
        try:
            return self.page(f"{self.url}/jwks?") == 200
        except OSError:
            return False
