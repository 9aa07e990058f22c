"""A real Postfix for the tests: its own configuration, queue and accounts in a directory of its own, on loopback."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Self

from tests import certificates
from tests.loopback import free_port
from tests.patience import PATIENCE

DOMAIN: Final = "mail.test"

_MAIN = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
meta_directory = /etc/postfix
maillog_file = {home}/mail.log
maillog_file_prefixes = {home}
mail_owner = postfix
setgid_group = postdrop
myhostname = {domain}
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
# Whatever is accepted, for whomever, ends in one maildir; nothing ever leaves this machine.
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {home}/mail
virtual_mailbox_maps = static:inbox/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
default_transport = virtual
relay_transport = virtual
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_peername_lookup = no
smtpd_tls_chain_files = {home}/key-and-chain.pem
smtpd_tls_auth_only = yes
smtpd_tls_session_cache_database =
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = {domain}
cyrus_sasl_config_path = {home}/sasl
message_size_limit = 1000000
smtputf8_enable = yes
"""
_MASTER = """\
127.0.0.1:{starttls_port} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt
127.0.0.1:{tls_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
"""
_SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {home}/sasldb2
mech_list: PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256
"""


def missing() -> str | None:
    """Why Postfix cannot be started here, or None if it can."""
    for program in ("postfix", "saslpasswd2"):
        if not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            return f"{program} is not installed"
    return None if os.geteuid() == 0 else "Postfix can be started by root only"


def parameters(more: Mapping[str, str]) -> str:
    """Lines of main.cf that set these."""
    return "".join(f"{name} = {value}\n" for name, value in more.items()).replace("{", "{{").replace("}", "}}")


def _service(port: int, options: Mapping[str, str]) -> str:
    """A line of master.cf: another listener, for which main.cf says this."""
    said = "".join(f" -o {{ {name} = {value} }}" for name, value in options.items())
    return f"127.0.0.1:{port} inet n - n - - smtpd -o smtpd_tls_security_level=may{said}\n"


class PostfixServer:
    """Postfix with STARTTLS on ``starttls_port`` and TLS from the start on ``tls_port``, login required.

    Its certificate is for localhost and 127.0.0.1, by the tests' authority; ``users`` maps names to passwords.
    ``more`` is added to main.cf; {home} in it is a directory with the tests' authority in ca.pem. Each of ``kinds`` is
    a name and what main.cf says otherwise for it: it has a port of its own in ``ports``, with STARTTLS or without.
    """

    def __init__(
        self, users: Mapping[str, str], more: str = "", kinds: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        self._users = dict(users)
        self._more = more
        self._kinds = kinds or {}
        self.ports = {name: free_port() for name in self._kinds}
        self.host = "localhost"
        self.starttls_port = free_port()
        self.tls_port = free_port()
        # Not pytest's directory: Postfix's own user has to be able to enter it.
        self._held = tempfile.TemporaryDirectory(prefix="postfix-")
        self._home = Path(self._held.name)

    def __enter__(self) -> Self:
        try:
            self._configure()
            self._postfix("start")
        except BaseException:
            self._held.cleanup()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._postfix("stop")
        finally:
            self._held.cleanup()

    def wait_for_mail(self, queue_id: str) -> bytes:
        """The delivered message with this queue id, its line ends LF; AssertionError if it does not come."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for path in (self._home / "mail/inbox/new").glob("*"):
                message = path.read_bytes()
                if f" id {queue_id}".encode() in message:
                    return message
            time.sleep(0.02)  # a maildir has no event that the standard library could wait for
        raise AssertionError(f"{queue_id} was not delivered:\n{self.log}")

    def all_delivered(self) -> list[bytes]:
        """Every delivered message, its line ends LF."""
        return [path.read_bytes() for path in (self._home / "mail/inbox/new").glob("*")]

    def queue(self, name: str) -> Iterator[Path]:
        """The files of one of its queues, which are mails."""
        return (self._home / "queue" / name).glob("*")

    @property
    def log(self) -> str:
        """Postfix's own log."""
        path = self._home / "mail.log"
        return path.read_text() if path.exists() else ""

    def _configure(self) -> None:
        owner, nobody = pwd.getpwnam("postfix"), pwd.getpwnam("nobody")
        self._home.chmod(0o755)
        names = {
            "home": self._home,
            "domain": DOMAIN,
            "uid": nobody.pw_uid,
            "gid": nobody.pw_gid,
            "starttls_port": self.starttls_port,
            "tls_port": self.tls_port,
        }
        for folder in ("queue", "data", "mail", "sasl"):
            (self._home / folder).mkdir()
        os.chown(self._home / "data", owner.pw_uid, owner.pw_gid)
        os.chown(self._home / "mail", nobody.pw_uid, nobody.pw_gid)
        (self._home / "main.cf").write_text((_MAIN + self._more).format(**names))
        services = [_service(self.ports[name], options) for name, options in self._kinds.items()]
        (self._home / "master.cf").write_text(_MASTER.format(**names) + "".join(services))
        (self._home / "sasl/smtpd.conf").write_text(_SASL.format(**names))
        certificates.authority().cert_pem.write_to_path(self._home / "ca.pem")
        leaf = certificates.authority().issue_cert("localhost", "127.0.0.1")
        leaf.private_key_and_cert_chain_pem.write_to_path(self._home / "key-and-chain.pem")
        for user, password in self._users.items():
            self._run("saslpasswd2", "-p", "-c", "-f", f"{self._home}/sasldb2", "-u", DOMAIN, user, given=password)
        os.chown(self._home / "sasldb2", owner.pw_uid, owner.pw_gid)

    def _postfix(self, action: str) -> None:
        self._run("postfix", "-c", str(self._home), action)

    def _run(self, program: str, *arguments: str, given: str = "") -> None:
        done = subprocess.run(
            [program, *arguments],
            input=given,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=PATIENCE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        assert done.returncode == 0, f"{program} failed: {done.stdout}\n{self.log}"
