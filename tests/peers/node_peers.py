"""Peers from npm: Haraka, and the server of nodemailer's author. They run wherever Node 20 or newer is."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.peers import npm_packages
from tests.peers.peer import Peer, Unavailable, as_sent

_SOURCE: Final = Path(__file__).parent / "node"
_OLDEST: Final = 20
_SERVER: Final = """\
const fs = require('node:fs')
const { SMTPServer } = require('smtp-server')
const [port, folder] = process.argv.slice(2)
let count = 0
new SMTPServer({
  authOptional: true,
  disabledCommands: ['AUTH', 'STARTTLS'],
  onData(stream, session, done) {
    const name = `${folder}/${String(count++).padStart(6, '0')}.eml`
    stream.pipe(fs.createWriteStream(name)).on('finish', () => done())
  },
}).listen(Number(port), '127.0.0.1')
"""


def missing() -> str | None:
    """Why these peers cannot be started here, or None if they can."""
    return npm_packages.missing(_OLDEST)


def _modules() -> Path:
    """The pinned packages. Raises Unavailable."""
    if reason := missing():
        raise Unavailable(reason)
    return npm_packages.installed(_SOURCE)


class _NodePeer(Peer):
    def environment(self) -> dict[str, str]:
        return super().environment() | {"NODE_PATH": str(_modules()), "TMPDIR": str(self.home / "mail")}

    def arrived(self) -> list[bytes]:
        return [as_sent(path.read_bytes()) for path in sorted((self.home / "mail").glob("*.eml"))]


class HarakaServer(_NodePeer):
    """Haraka with its own queue plugin for tests, which writes each mail into a file."""

    name = "Haraka 3.3.4"

    def set_up(self) -> None:
        defaults = _modules() / "Haraka/config"
        for folder in ("config", "plugins", "mail"):
            (self.home / folder).mkdir()
        shutil.copy(defaults / "connection.ini", self.home / "config")
        for name, text in {
            "config/smtp.ini": f"listen={self.host}:{self.port}\nnodes=0\n",
            "config/plugins": "accept\nqueue/test\n",
            "config/loglevel": "LOGWARN\n",
            "config/me": "haraka.test\n",
            "plugins/accept.js": "exports.hook_rcpt = (next) => next(OK)\n",
        }.items():
            (self.home / name).write_text(text)

    def command(self) -> Sequence[str | Path]:
        return [shutil.which("node") or "node", _modules() / "Haraka/bin/haraka", "-c", self.home]


class NodemailerServer(_NodePeer):
    """The smtp-server of nodemailer's author, as its documentation shows it."""

    name = "nodemailer's smtp-server 3.21.6"

    def set_up(self) -> None:
        _modules()
        (self.home / "mail").mkdir()
        (self.home / "server.js").write_text(_SERVER)

    def command(self) -> Sequence[str | Path]:
        return [shutil.which("node") or "node", self.home / "server.js", str(self.port), self.home / "mail"]
