"""npm's oauth2-mock-server: a provider of tokens that others wrote, over TLS, on any Node from Debian 12 on.

It takes every client and every secret, and knows no device code; what it checks is the code and its PKCE verifier.
"""

import json
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from tests import certificates
from tests.patience import PATIENCE
from tests.peers import npm_packages
from tests.peers.peer import Unavailable

_SOURCE: Final = Path(__file__).parent / "oauth2-mock-server"
_OLDEST: Final = 18


class OAuthPeer:
    """``with OAuthPeer() as peer:`` serves at ``peer.url``. Entering raises Unavailable where it cannot be run."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self.url = ""

    def __enter__(self) -> Self:
        if reason := npm_packages.missing(_OLDEST):
            raise Unavailable(reason)
        modules = npm_packages.installed(_SOURCE)
        with self._held:
            home = Path(self._held.enter_context(tempfile.TemporaryDirectory(prefix="oauth-peer-")))
            own = certificates.authority().issue_cert("localhost")
            own.private_key_pem.write_to_path(home / "key.pem")
            own.cert_chain_pems[0].write_to_path(home / "certificate.pem")
            self._log = self._held.enter_context((home / "log").open("w+"))
            self._process = self._held.enter_context(self._started(modules, home))
            self._held.callback(self._process.kill)
            self.url = self._said()
            self._held = self._held.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def next_token(self, status: int, body: dict[str, Any]) -> None:
        """Let the next answer of its token URL be this one."""
        self._told({"next": "token", "status": status, "body": body})

    def next_revocation(self, status: int) -> None:
        self._told({"next": "revoke", "status": status})

    def next_way_back(self, **query: str) -> None:
        """Let the next browser be sent back without a code, and with this."""
        self._told({"next": "authorize", "query": query})

    def asked(self, place: str) -> list[dict[str, str]]:
        """The forms that came to its ``token`` URL, or the queries of ``authorize``."""
        found: list[dict[str, str]] = self._told({"asked": place})
        return found

    def _started(self, modules: Path, home: Path) -> subprocess.Popen[str]:
        files: list[Path] = [_SOURCE / "server.mjs", modules, home / "key.pem", home / "certificate.pem"]
        return subprocess.Popen(
            [shutil.which("node") or "node", *files],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def _told(self, order: dict[str, Any]) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._said()

    def _said(self) -> Any:
        assert self._process.stdout
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._process.wait(PATIENCE)
        self._log.seek(0)
        raise AssertionError(f"oauth2-mock-server ended:\n{self._log.read()}")
