"""The clients of the set: each is started as its users start it, and signs in to send one email over STARTTLS.

Some are given a whole message, which has to arrive octet by octet; the others compose one from its parts.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from typing import Final

from tests.patience import PATIENCE
from tests.peers import npm_packages
from tests.running import ROOT

PROGRAMS: Final = Path(__file__).parent / "programs"
SUBJECT: Final = "Grüße aus 北京"
TEXT: Final = "Guten Tag,\n.\n..zwei Punkte\nGrüße aus München und 北京.\n\nUnd so weiter: = % \\ \t ende\n"
ATTACHED: Final = bytes(range(256)) * 12 + b"\r\n.\r\nQUIT\r\n"
ATTACHED_AS: Final = "Rechnung März.bin"
_GO_SOURCE: Final = PROGRAMS / "go/client.go"
_JARS: Final = ("/usr/share/java/jakarta-mail.jar", "/usr/share/java/jakarta-activation.jar")
_PHPMAILER: Final = Path("/usr/share/php/libphp-phpmailer/src/PHPMailer.php")


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What a client is told: where to, as whom, and what. ``home`` is a folder of its own."""

    host: str
    port: int
    ca_file: Path
    username: str
    token: str
    sender: str
    recipient: str
    home: Path

    @property
    def message(self) -> bytes:
        """The whole message, with LF, for those who are given one."""
        mail = EmailMessage()
        mail["Date"] = "Mon, 01 Jan 2024 10:00:00 +0000"
        mail["From"] = f"Jörg's Shop <{self.sender}>"
        mail["To"] = self.recipient
        mail["Subject"] = SUBJECT
        mail["Message-ID"] = "<interop@sender.example>"
        mail.set_content(TEXT, cte="8bit")
        mail.add_attachment(ATTACHED, "application", "octet-stream", filename=ATTACHED_AS)
        mail.set_boundary("=-=interop=-=")
        return mail.as_bytes()

    def file(self, name: str, content: bytes) -> Path:
        path = self.home / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    @property
    def place(self) -> list[str]:
        return [self.host, str(self.port), str(self.ca_file), self.username, self.token]

    @property
    def parts(self) -> list[str]:
        """What those are told who compose it."""
        text, attached = self.file("text.txt", TEXT.encode()), self.file(ATTACHED_AS, ATTACHED)
        return [self.sender, self.recipient, SUBJECT, str(text), str(attached)]


@dataclass(frozen=True)
class Ended:
    """A client's exit status, and what it said."""

    status: int
    said: str


@dataclass(frozen=True, kw_only=True)
class SendingProgram:
    """``lacks`` says why it cannot be run here, if so; ``whole``: it is given a message, and changes nothing in it."""

    name: str
    send: Callable[[Errand], Ended]
    lacks: Callable[[], str | None]
    whole: bool = False


def _run(command: Sequence[str | Path], *, given: bytes = b"", environment: Mapping[str, str] | None = None) -> Ended:
    done = subprocess.run(
        command,
        input=given,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(errors="replace"))


def _installed(*programs: str) -> Callable[[], str | None]:
    lacking = [program for program in programs if not shutil.which(program)]
    return lambda: f"{' and '.join(lacking)} cannot be found (make services)" if lacking else None


def _there(path: str | Path, *programs: str) -> Callable[[], str | None]:
    return lambda: _installed(*programs)() or (None if Path(path).exists() else f"{path} is missing (make services)")


def _swaks(errand: Errand) -> Ended:
    mail = errand.file("mail.eml", errand.message.removesuffix(b"\n"))  # it adds one
    return _run(
        f"swaks --server {errand.host} --port {errand.port} --helo client.example --tls --tls-verify --tls-ca-path"
        f" {errand.ca_file} --auth PLAIN --auth-user {errand.username} --auth-password {errand.token}"
        f" --from {errand.sender} --to {errand.recipient} --data @{mail}".split()
    )


def _curl(errand: Errand) -> Ended:
    mail = errand.file("mail.eml", errand.message.replace(b"\n", b"\r\n"))
    return _run(
        f"curl --no-progress-meter --verbose --ssl-reqd --cacert {errand.ca_file} --user"
        f" {errand.username}:{errand.token} --mail-from {errand.sender} --mail-rcpt {errand.recipient}"
        f" --upload-file {mail} smtp://{errand.host}:{errand.port}/client.example".split()
    )


def _msmtp(errand: Errand) -> Ended:
    lines = [
        "account default", f"host {errand.host}", f"port {errand.port}", "tls on", "tls_starttls on",
        f"tls_trust_file {errand.ca_file}", "auth plain", f"user {errand.username}", f"password {errand.token}",
        f"from {errand.sender}",
    ]  # fmt: skip
    settings = errand.file("msmtprc", ("\n".join(lines) + "\n").encode())
    return _run(["msmtp", "-C", settings, errand.recipient], given=errand.message)


def _smtplib(errand: Errand) -> Ended:
    mail = errand.file("mail.eml", errand.message)
    given = [*errand.place, errand.sender, errand.recipient, str(mail)]
    return _run([sys.executable, PROGRAMS / "smtplib_client.py", *given])


def _sendmail(errand: Errand) -> Ended:
    return _run(
        [sys.executable, "-I", ROOT / "utils/sendmail.py", "-t", "-i"], given=errand.message, environment=_conf(errand)
    )


def _php_mail(errand: Errand) -> Ended:
    path = f"{sys.executable} -I {ROOT / 'utils/sendmail.py'} -t -i"
    command: list[str | Path] = ["php", "-d", f"sendmail_path={path}", PROGRAMS / "php_mail.php", *errand.parts]
    return _run(command, environment=_conf(errand))


def _conf(errand: Errand) -> dict[str, str]:
    """The settings of sealpost-sendmail."""
    values = {"host": errand.host, "port": errand.port, "encryption": "starttls", "ca_file": errand.ca_file}
    values |= {"username": errand.username, "token": errand.token, "from": errand.sender}
    lines = "".join(f"{name} = {value}\n" for name, value in values.items())
    return {"SEALPOST_SENDMAIL_CONF": str(errand.file("sendmail.conf", lines.encode()))}


def _phpmailer(errand: Errand) -> Ended:
    program: list[str | Path] = ["php", "-d", f"openssl.cafile={errand.ca_file}", PROGRAMS / "phpmailer.php"]
    return _run([*program, *errand.place, *errand.parts])


def _django(errand: Errand) -> Ended:
    command: list[str | Path] = [sys.executable, PROGRAMS / "django_client.py", *errand.place, *errand.parts]
    return _run(command, environment={"SSL_CERT_FILE": str(errand.ca_file)})


def _nodemailer(errand: Errand) -> Ended:
    modules = npm_packages.installed(ROOT / "benchmarks/senders/nodemailer")
    command: list[str | Path] = ["node", PROGRAMS / "client.js", *errand.place, *errand.parts]
    return _run(command, environment={"NODE_PATH": str(modules)})


def _go(way: str) -> Callable[[Errand], Ended]:
    return lambda errand: _run([_go_program(), way, *errand.place, *errand.parts])


@cache
def _go_program() -> Path:
    """What `.ci/services` compiled of the source as it is now."""
    name = f"go-client-{hashlib.sha256(_GO_SOURCE.read_bytes()).hexdigest()[:12]}"
    return Path("/usr/local/lib/sealpost-test-peers") / name


def _java(errand: Errand) -> Ended:
    classes = ":".join((str(_java_class(errand.home.parent)), *_JARS))
    # Started for one email, it need not learn which of its code is used most.
    return _run(["java", "-XX:TieredStopAtLevel=1", "-cp", classes, "Client", *errand.place, *errand.parts])


@cache
def _java_class(folder: Path) -> Path:
    """Where the compiled class is."""
    made = folder / "java"
    command = ["javac", "-encoding", "UTF-8", "-d", str(made), "-cp", ":".join(_JARS), str(PROGRAMS / "Client.java")]
    subprocess.run(command, check=True, timeout=PATIENCE)
    return made


CLIENTS: Final = (
    SendingProgram(name="swaks", send=_swaks, lacks=_installed("swaks"), whole=True),
    SendingProgram(name="curl", send=_curl, lacks=_installed("curl"), whole=True),
    SendingProgram(name="msmtp", send=_msmtp, lacks=_installed("msmtp"), whole=True),
    SendingProgram(name="sealpost-sendmail", send=_sendmail, lacks=lambda: None, whole=True),
    SendingProgram(name="PHP's mail()", send=_php_mail, lacks=_installed("php")),
    SendingProgram(name="PHPMailer, as WordPress", send=_phpmailer, lacks=_there(_PHPMAILER, "php")),
    SendingProgram(name="Python's smtplib", send=_smtplib, lacks=lambda: None),
    SendingProgram(name="Django", send=_django, lacks=lambda: None),
    SendingProgram(name="nodemailer", send=_nodemailer, lacks=lambda: npm_packages.missing(18)),
    SendingProgram(name="Go's net/smtp, as Gitea", send=_go("gitea"), lacks=_there(_go_program())),
    SendingProgram(name="Go's mail.v2, as Grafana", send=_go("grafana"), lacks=_there(_go_program())),
    SendingProgram(name="Jakarta Mail", send=_java, lacks=_there(_JARS[0], "java", "javac")),
)
