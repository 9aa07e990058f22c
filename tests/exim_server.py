"""A second real server for the tests: Exim, unpacked beside Postfix, with a queue of its own, on loopback."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from tests import certificates
from tests.loopback import free_port
from tests.patience import PATIENCE

DOMAIN: Final = "exim.test"
PROGRAM: Final = Path("/usr/local/lib/sealpost-test-peers/exim/usr/sbin/exim4")
USER: Final = "Debian-exim"  # compiled into the program

_CONFIGURATION = """\
primary_hostname = {domain}
spool_directory = {home}/spool
log_file_path = {home}/%slog
pid_file_path = {home}/exim.pid
exim_path = {program}
local_interfaces = 127.0.0.1
daemon_smtp_ports = {starttls_port} : {tls_port}
tls_on_connect_ports = {tls_port}
tls_advertise_hosts = *
tls_certificate = {home}/key-and-chain.pem
{more}
auth_advertise_hosts = ${{if def:tls_in_cipher{{*}}}}
host_lookup =
keep_environment =
message_size_limit = 1M
# What is accepted stays in the queue; nothing ever leaves this machine.
queue_only = true
acl_smtp_mail = check_sender
acl_smtp_rcpt = check_recipient

begin acl

check_sender:
  deny authenticated = *
       !senders = {senders}
       message = 5.7.1 $authenticated_id may send as {senders} only
  accept

check_recipient:
{refusals}
  accept authenticated = *
  accept domains = {domain}
  deny message = relay not permitted

begin routers

{routers}
all:
  driver = accept
  transport = nowhere

begin transports

nowhere:
  driver = appendfile
  file = /dev/null

begin authenticators

plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if eq{{$auth3}}{{${{lookup{{$auth2}}lsearch{{{home}/users}}{{$value}}fail}}}}}}
  server_set_id = $auth2
"""


def missing() -> str | None:
    """Why Exim cannot be started here, or None if it can."""
    if not PROGRAM.exists():
        return "it is not unpacked (make services)"
    return None if os.geteuid() == 0 else "it can be started by root only"


class EximServer:
    """Exim with STARTTLS on ``starttls_port`` and TLS from the start on ``tls_port``; PLAIN, and only encrypted.

    Its certificate is for localhost and 127.0.0.1, by the tests' authority; ``users`` maps names to passwords. Who
    signs in may send as ``senders`` only; who does not, only to DOMAIN. ``more`` is added to its main section; {home}
    in it is a directory with the tests' authority in ca.pem. ``refusals`` come first of what is asked at RCPT, and
    ``routers`` of where an address leads.
    """

    def __init__(
        self, users: Mapping[str, str], senders: str, more: str = "", *, refusals: str = "", routers: str = ""
    ) -> None:
        self._users = dict(users)
        self._more = more
        self._refusals, self._routers = refusals, routers
        self._senders = senders
        self.host = "localhost"
        self.starttls_port = free_port()
        self.tls_port = free_port()
        # Not pytest's directory: Exim's own user has to be able to enter it.
        self._held = tempfile.TemporaryDirectory(prefix="exim-")
        self._home = Path(self._held.name)

    def __enter__(self) -> Self:
        try:
            self._configure()
            self._start()
        except BaseException:
            self._held.cleanup()
            raise
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._held.cleanup()

    def queued(self, queue_id: str) -> bytes:
        """The content of the message with this queue id as it lies in the queue, its line ends LF."""
        data = (self._home / f"spool/input/{queue_id}-D").read_bytes()
        return data.partition(b"\n")[2]

    def all_queued(self) -> list[bytes]:
        """Every message in the queue, its line ends LF; of its header, what Exim has not struck out."""
        return [
            _kept_fields(path.read_bytes()) + b"\n" + self.queued(path.name[:-2])
            for path in (self._home / "spool/input").glob("*-H")
        ]

    @property
    def log(self) -> str:
        """Exim's own words."""
        return "\n".join(path.read_text() for path in (*self._home.glob("*log"), self._home / "stderr"))

    def _configure(self) -> None:
        values = {
            "home": self._home,
            "domain": DOMAIN,
            "program": PROGRAM,
            "senders": self._senders,
            "more": self._more.format(home=self._home),
            "refusals": self._refusals,
            "routers": self._routers,
            "starttls_port": self.starttls_port,
            "tls_port": self.tls_port,
        }
        (self._home / "exim.conf").write_text(_CONFIGURATION.format(**values))
        (self._home / "users").write_text("".join(f"{name}: {word}\n" for name, word in self._users.items()))
        certificates.authority().cert_pem.write_to_path(self._home / "ca.pem")
        leaf = certificates.authority().issue_cert("localhost", "127.0.0.1")
        leaf.private_key_and_cert_chain_pem.write_to_path(self._home / "key-and-chain.pem")
        owner = pwd.getpwnam(USER)
        for path in (self._home, *self._home.iterdir()):
            shutil.chown(path, owner.pw_uid, owner.pw_gid)

    def _start(self) -> None:
        with (self._home / "stderr").open("wb") as said:
            self._process = subprocess.Popen(
                [PROGRAM, "-C", self._home / "exim.conf", "-bdf"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env={"PATH": "/usr/bin:/bin"},
                user=USER,
                group=USER,
                extra_groups=[],
            )

    def _wait_until_it_listens(self) -> None:
        end = time.monotonic() + PATIENCE
        for port in (self.starttls_port, self.tls_port):
            while True:
                assert self._process.poll() is None, f"Exim ended:\n{self.log}"
                assert time.monotonic() < end, f"Exim does not listen:\n{self.log}"
                with socket.socket() as probe:
                    if probe.connect_ex((self.host, port)) == 0:
                        break
                time.sleep(0.02)  # it has no event for it


def _kept_fields(header_file: bytes) -> bytes:
    """The fields in the file that Exim keeps beside each message: length, a mark ("*" for struck out), the field."""
    _, _, rest = header_file.partition(b"\n\n")
    fields = b""
    while found := re.match(rb"(\d{3,})(.) ", rest):
        end = found.end() + int(found[1])
        if found[2] != b"*":
            fields += rest[found.end() : end]
        rest = rest[end:]
    return fields
