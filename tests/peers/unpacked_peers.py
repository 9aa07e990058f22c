"""Peers from Debian that cannot be installed beside Postfix: unpacked with their libraries, and run in a chroot."""

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from tests.peers.peer import Peer, Unavailable, as_sent
from tests.scripted_server import ScriptedServer

# What only a package's own set-up would need, or is big and not used.
_LEFT_OUT: Final = re.compile(
    r"(?:perl|libperl|guile|make-guile|debconf|cdebconf|adduser|install-info|dpkg|init-system|usrmerge|usr-is-merged"
    r"|libdebian-installer|libnewt|libelogind|sysvinit|netbase|procps).*|lib.*-perl"
)
_DEPENDS: Final = ("depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks",
                   "--no-replaces", "--no-enhances")  # fmt: skip
_DEVICES: Final = {"null": 3, "zero": 5, "random": 8, "urandom": 9}
_USERS: Final = {"root": 0, "mail": 8, "nobody": 65534, "opensmtpd": 901, "opensmtpq": 902, "vmail": 903, "smmta": 904,
                 "smmsp": 905, "dovecot": 906, "dovenull": 907}  # fmt: skip


class UnpackedPeer(Peer):
    """``package`` with all that it needs, unpacked anew below ``root`` for each run; only root can start it."""

    package: str

    @property
    def root(self) -> Path:
        return self.home / "root"

    def set_up(self) -> None:
        if os.geteuid() != 0:
            raise Unavailable("it can be started by root only")
        for archive in _archives(self.package):
            subprocess.run(["dpkg", "-x", archive, self.root], check=True)
        for folder in ("dev", "etc", "tmp", "root", "run", "mail", "var/run", "var/lib", "var/spool"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        for name, minor in _DEVICES.items():
            os.mknod(self.root / "dev" / name, 0o20666, os.makedev(1, minor))
        (self.root / "dev/null").chmod(0o666)
        users, groups = ([f"{name}:x:{number}:" for name, number in _USERS.items()] for _ in range(2))
        self.write("etc/passwd", "".join(f"{user}{user.split(':')[2]}::/mail:/bin/sh\n" for user in users))
        self.write("etc/group", "".join(f"{group}\n" for group in groups))
        self.write("etc/hosts", "127.0.0.1 localhost.localdomain localhost mail.test\n")
        self.write("etc/nsswitch.conf", "hosts: files\n")
        os.chown(self.root / "mail", _USERS["vmail"], _USERS["vmail"])
        self.configure()

    def configure(self) -> None:
        """Write the server's own configuration."""

    def write(self, path: str, text: str) -> None:
        """Write a file of the server's own world."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def chroot(self, *command: str) -> list[str | Path]:
        return ["chroot", self.root, *command]


def _archives(package: str) -> list[Path]:
    """The package and all that it needs, downloaded once."""
    folder = Path(tempfile.gettempdir()) / f"sealpost-test-peers-{os.getuid()}" / "debian"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    said = subprocess.run(["apt-cache", *_DEPENDS, package], capture_output=True, text=True, check=False).stdout
    named = {line for line in said.splitlines() if line[:1].isalnum()} | {"dash"}
    names = sorted(name for name in named if not _LEFT_OUT.fullmatch(name))
    absent = [name for name in names if not _archive(folder, name)]
    if absent:
        command = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", *absent]
        if subprocess.run(command, cwd=folder, check=False).returncode:
            raise Unavailable("apt-get could not download it (apt-get update?)")
    return [archive for name in names if (archive := _archive(folder, name))]


def _archive(folder: Path, name: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{name}_*.deb"))), None)


class OpenSmtpdServer(UnpackedPeer):
    """OpenSMTPD with a maildir for everybody."""

    name, package = "OpenSMTPD 6.8.0p2", "opensmtpd"

    def configure(self) -> None:
        (self.root / "var/lib/opensmtpd/empty").mkdir(parents=True, exist_ok=True)
        (self.root / "var/spool/smtpd").mkdir(mode=0o711, exist_ok=True)
        self.write("etc/mailname", "mail.test\n")
        self.write(
            "etc/smtpd.conf",
            'table everybody { "@" = "vmail" }\n'
            f"listen on {self.host} port {self.port} hostname mail.test\n"
            'action "inbox" maildir "/mail" virtual <everybody>\n'
            'match from any for any action "inbox"\n',
        )

    def command(self) -> Sequence[str | Path]:
        return self.chroot("/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf")

    def arrived(self) -> list[bytes]:
        return [as_sent(path.read_bytes()) for path in (self.root / "mail/new").glob("*")]


_SENDMAIL: Final = """\
divert(-1)dnl
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
divert(0)dnl
OSTYPE(`debian')dnl
define(`confDELIVERY_MODE', `q')dnl
define(`confDOMAIN_NAME', `mail.test')dnl
define(`confPRIVACY_FLAGS', `noetrn')dnl
define(`QUEUE_DIR', `/var/spool/mqueue')dnl
define(`confPID_FILE', `/var/run/sendmail.pid')dnl
FEATURE(`promiscuous_relay')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`nocanonify')dnl
FEATURE(`no_default_msa')dnl
DAEMON_OPTIONS(`Family=inet, Name=MTA, Port={port}, Addr={host}')dnl
MAILER(`smtp')dnl
"""
_QUEUED_FIELD: Final = re.compile(r"^H\?[^?]*\?(.*(?:\n[ \t].*)*)", re.MULTILINE)


class SendmailServer(UnpackedPeer):
    """Sendmail, where mail stays in the queue."""

    name, package = "Sendmail 8.17.1.9", "sendmail-bin"

    def configure(self) -> None:
        (self.root / "var/lib/sendmail/host_status").mkdir(parents=True, exist_ok=True)
        (self.root / "var/spool/mqueue").mkdir(exist_ok=True)
        (self.root / "var/spool/mqueue").chmod(0o700)
        self.write("tmp/test.mc", _SENDMAIL.format(port=self.port, host=self.host))
        done = subprocess.run(self.chroot("/usr/bin/m4", "/tmp/test.mc"), capture_output=True, text=True, check=True)
        self.write("etc/mail/test.cf", done.stdout)

    def command(self) -> Sequence[str | Path]:
        return self.chroot("/usr/libexec/sendmail/sendmail", "-bD", "-C", "/etc/mail/test.cf")

    def arrived(self) -> list[bytes]:
        return [self._queued(path) for path in (self.root / "var/spool/mqueue").glob("qf*")]

    def _queued(self, control: Path) -> bytes:
        fields = [f"{field[1]}\n" for field in _QUEUED_FIELD.finditer(control.read_text("latin-1"))]
        body = control.with_name(f"df{control.name[2:]}").read_bytes()
        return as_sent("".join(fields).encode("latin-1") + b"\n" + body)


_DOVECOT: Final = """\
protocols = submission
listen = {host}
base_dir = /run/dovecot
log_path = /dev/stderr
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
hostname = mail.test
mail_location = maildir:/mail/%u
submission_relay_host = 127.0.0.1
submission_relay_port = {relay}
submission_max_mail_size = 10M
mail_max_userip_connections = 50
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=903 gid=903 home=/mail
}}
service submission-login {{
  inet_listener submission {{
    port = {port}
  }}
}}
"""


class DovecotServer(UnpackedPeer):
    """Dovecot's submission service, which hands each mail on to a relay while the client waits: a scripted one."""

    name, package = "Dovecot 2.3.19.1 submission", "dovecot-submissiond"
    form: dict[str, Any] = {"use_tls": False, "smtp_username": "shop", "smtp_password": "secret"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self._relay = ScriptedServer()
        self._running = ExitStack()

    def configure(self) -> None:
        self._running.enter_context(self._relay)
        self.write("etc/dovecot/test.conf", _DOVECOT.format(host=self.host, port=self.port, relay=self._relay.port))

    def command(self) -> Sequence[str | Path]:
        return self.chroot("/usr/sbin/dovecot", "-F", "-c", "/etc/dovecot/test.conf")

    def tear_down(self) -> None:
        self._running.close()

    def arrived(self) -> list[bytes]:
        return [as_sent(message.replace(b"\r\n.", b"\r\n")) for message in self._relay.messages]
