"""Peers from npm: Haraka, and the server of nodemailer's author. They run wherever Node 20 or newer is."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from tests.peers.peer import Peer, Unavailable, as_sent

_SOURCE: Final = Path(__file__).parent / "node"
_INSTALL: Final = ("ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
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
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        return "node and npm are not installed"
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = said.removeprefix("v").partition(".")[0]
    return None if major.isdigit() and int(major) >= _OLDEST else f"node is {said.strip()}, and older than {_OLDEST}"


@cache
def _modules() -> Path:
    """The pinned packages, installed once for all who run tests here. Raises Unavailable."""
    if reason := missing():
        raise Unavailable(reason)
    wanted = (_SOURCE / "package-lock.json").read_bytes()
    folder = Path(tempfile.gettempdir()) / f"sealpost-test-peers-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise Unavailable(f"{folder} belongs to somebody else")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "done"
        if not done.exists() or done.read_bytes() != wanted:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(_SOURCE / name, folder / name)
            if subprocess.run([shutil.which("npm") or "npm", *_INSTALL], cwd=folder, check=False).returncode:
                raise Unavailable("npm could not install them")
            done.write_bytes(wanted)
    return folder / "node_modules"


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
