"""Postfix and Exim in front of the gateway: what they accept, they hand over to it, signed in and encrypted."""

import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from tests.exim_server import PROGRAM, USER
from tests.interop.clients import Errand
from tests.patience import PATIENCE, wait_until
from tests.postfix_server import PostfixServer

_POSTFIX: Final = """\
default_transport = smtp
relayhost = [{host}]:{port}
smtp_host_lookup = native
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = static:{user}:{token}
smtp_sasl_security_options = noanonymous
smtp_tls_security_level = verify
smtp_tls_verify_cert_match = hostname
smtp_tls_CAfile = {{home}}/ca.pem
bounce_notice_recipient = nobody@mail.test
"""
_EXIM: Final = """\
primary_hostname = exim.test
spool_directory = {home}/spool
log_file_path = {home}/%slog
exim_path = {program}
keep_environment =
disable_ipv6 = true
host_lookup =
acl_smtp_rcpt = accept_all
acl_smtp_data = accept_all

begin acl
accept_all:
  accept

begin routers
all:
  driver = manualroute
  route_list = * {host} byname
  self = send
  transport = gateway

begin transports
gateway:
  driver = smtp
  port = {port}
  allow_localhost = true
  hosts_require_auth = *
  hosts_require_tls = *
  tls_verify_certificates = {home}/ca.pem
  tls_verify_hosts = *

begin retry
* * F,2h,15m

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^{user}^{token}
"""


class PostfixRelay(PostfixServer):
    """Postfix whose ``relayhost`` is the gateway. Whoever reaches port ``port`` may send."""

    def __init__(self, errand: Errand) -> None:
        values = {"host": errand.host, "port": errand.port, "user": errand.username, "token": errand.token}
        taking = {"smtpd_relay_restrictions": "permit_mynetworks, reject", "mynetworks": "127.0.0.0/8"}
        super().__init__({"nobody": "nothing"}, _POSTFIX.format(**values), {"in": taking})

    @property
    def port(self) -> int:
        return self.ports["in"]

    def wait_for(self, words: str) -> str:
        """The log, once it has these words."""
        wait_until(lambda: words in self.log, f"{words!r} in Postfix's log")
        return self.log

    def _configure(self) -> None:
        super()._configure()
        with (self._home / "master.cf").open("a") as file:
            file.write("smtp unix - - n - - smtp\n")


class EximRelay:
    """Exim that sends all by way of the gateway, at once; started anew for each conversation."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        # Not pytest's directory: Exim's own user has to be able to enter it.
        self._held = tempfile.TemporaryDirectory(prefix="exim-relay-", ignore_cleanup_errors=True)
        self._home = Path(self._held.name)

    def __enter__(self) -> Self:
        told = self._errand
        shutil.copy(told.ca_file, self._home / "ca.pem")
        values = {"host": told.host, "port": told.port, "user": told.username, "token": told.token}
        (self._home / "exim.conf").write_text(_EXIM.format(home=self._home, program=PROGRAM, **values))
        owner = pwd.getpwnam(USER)
        for path in (self._home, *self._home.iterdir()):
            shutil.chown(path, owner.pw_uid, owner.pw_gid)
        return self

    def __exit__(self, *_: object) -> None:
        self._held.cleanup()

    def send(self, message: bytes) -> str:
        """Hand it a message as programs on its machine do, and wait until it has tried; gives its log."""
        self._run(["-odf", "-oi", "-f", self._errand.sender, self._errand.recipient], message)
        return self.log

    def converse(self, said: bytes) -> bytes:
        """Say this to it over SMTP, and give what it answers, once it has delivered what it took."""
        return self._run(["-odf", "-bs"], said)

    @property
    def log(self) -> str:
        return "\n".join(path.read_text() for path in self._home.glob("*log"))

    def _run(self, arguments: Sequence[str], given: bytes) -> bytes:
        done = subprocess.run(
            [PROGRAM, "-C", self._home / "exim.conf", *arguments],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/bin:/bin"},
            timeout=PATIENCE,
            check=False,
            user=USER,
            group=USER,
            extra_groups=[],
        )
        return done.stdout
