"""sealpost-sendmail, as cron, PHP and scripts call it, against a server that stands in for the gateway."""

import errno
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from email import policy
from email.parser import BytesParser
from pathlib import Path

import pytest

from tests import certificates
from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.recording_server import RecordedMail, RecordingServer
from tests.running import NOBODY, ROOT, as_nobody
from tests.scripted_server import Answer, ScriptedServer, close
from utils import sendmail

SCRIPT = ROOT / "utils" / "sendmail.py"
TOKEN = "sp_geheim-8472"
MAIL = b"To: anna@recipient.example\nSubject: Hello\n\nGood morning.\n"


class Written:
    """A file of settings for one server, and what a call with it gives."""

    def __init__(self, path: Path, server_port: int, **values: str) -> None:
        self.path = path
        settings = {"host": "localhost", "port": str(server_port), "from": "noreply@sealpost.example"} | values
        path.write_text("# For the tests\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
        path.chmod(0o640)

    @property
    def environment(self) -> dict[str, str]:
        return {"SEALPOST_SENDMAIL_CONF": str(self.path)}

    def run(self, *arguments: str, text: bytes = MAIL) -> int:
        return sendmail.run(arguments, self.environment, io.BytesIO(text))


@pytest.fixture(scope="module")
def server() -> Iterator[RecordingServer]:
    with RecordingServer(
        tls=certificates.good_context(),
        users={"cron": TOKEN},
        smtputf8=True,
        refuse={
            "stranger@elsewhere.example": "550 5.7.1 This account may not send as that address",
            "nobody@recipient.example": "550 5.1.1 No such user",
            "full@recipient.example": "452 4.2.2 Over the limit",
        },
    ) as server:
        yield server


@pytest.fixture
def call(server: RecordingServer, tmp_path: Path) -> Written:
    server.mails.clear()
    settings = {"encryption": "starttls", "ca_file": str(certificates.ca_file())}
    settings |= {"username": "cron", "token": TOKEN, "root": "admin@sealpost.example"}
    return Written(tmp_path / "sendmail.conf", server.port, **settings)


def only(server: RecordingServer) -> RecordedMail:
    (mail,) = server.mails
    return mail


def text_of(mail: RecordedMail) -> str:
    return mail.content.decode().replace("\r\n", "\n")


def test_a_mail_with_its_recipients_in_the_header_is_handed_over_encrypted_and_signed_in(
    call: Written, server: RecordingServer
) -> None:
    assert call.run("-t", "-i") == 0
    mail = only(server)
    assert (mail.sender, mail.recipients) == ("noreply@sealpost.example", ("anna@recipient.example",))
    assert (mail.encrypted, mail.login) == (True, "cron")
    assert mail.content.endswith(MAIL.replace(b"\n", b"\r\n"))


def test_date_and_from_are_added_where_they_are_missing_and_nowhere_else(
    call: Written, server: RecordingServer
) -> None:
    whole = b"Date: Mon, 1 Jan 2024 10:00:00 +0000\nFrom: Shop <shop@sender.example>\n" + MAIL
    assert (call.run("-t"), call.run("-t", "-F", "Jörg, at work", text=whole)) == (0, 0)
    first, second = server.mails
    assert re.match(r"Date: .+ [+-]\d{4}\nFrom: noreply@sealpost.example\nTo: ", text_of(first))
    assert second.content == whole.replace(b"\n", b"\r\n")
    assert second.sender == "shop@sender.example"


def test_the_name_of_minus_f_stands_in_the_from_that_is_added(call: Written, server: RecordingServer) -> None:
    assert call.run("-t", "-F", "Jörg, at work", "-f", "joerg@sender.example") == 0
    parsed = BytesParser(policy=policy.SMTP).parsebytes(only(server).content)
    (author,) = parsed["From"].addresses
    assert (author.display_name, author.addr_spec) == ("Jörg, at work", "joerg@sender.example")


def test_blind_copies_are_sent_and_told_to_nobody(call: Written, server: RecordingServer) -> None:
    text = b"Bcc: Boss <boss@recipient.example>,\n secret@recipient.example\nCc: carl@recipient.example\n" + MAIL
    assert call.run("-ti", "more@recipient.example", text=text) == 0
    assert set(only(server).recipients) == {
        f"{name}@recipient.example" for name in ("more", "boss", "secret", "carl", "anna")
    }
    assert b"boss" not in only(server).content
    assert b"secret" not in only(server).content


@pytest.mark.parametrize("options", [["-i"], ["-oi"], ["-o", "i"], ["-oem", "-ti"]])
def test_with_minus_i_a_dot_alone_is_text(call: Written, server: RecordingServer, options: list[str]) -> None:
    assert call.run(*options, "anna@recipient.example", text=MAIL + b".\n..\nafter the dot\n") == 0
    assert only(server).content.endswith(b"\r\n\r\nGood morning.\r\n.\r\n..\r\nafter the dot\r\n")


def test_without_it_a_dot_alone_ends_the_email(call: Written, server: RecordingServer) -> None:
    assert call.run("-oem", "anna@recipient.example", text=MAIL + b".x\n.\r\nafter the dot\n") == 0
    assert only(server).content.endswith(b"Good morning.\r\n.x\r\n")


def test_what_crons_programs_print_arrives_whatever_is_in_it(call: Written, server: RecordingServer) -> None:
    """As Debian's cron writes it and calls it; mail for root goes to whom the settings name."""
    long = "ü" * 3000
    text = f"From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> 北京\n\n10%\r50%\r100%\n\0{long}\n".encode()
    assert call.run("-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root", text=text) == 0
    mail = only(server)
    assert (mail.sender, mail.recipients) == ("noreply@sealpost.example", ("admin@sealpost.example",))
    parsed = BytesParser(policy=policy.SMTP).parsebytes(mail.content)
    assert parsed["From"] == "Cron Daemon <noreply@sealpost.example>"
    assert (parsed["To"], parsed["Subject"]) == ("admin@sealpost.example", "Cron <root@host> 北京")
    body = text_of(mail).partition("\n\n")[2]
    assert body.startswith("10%\n50%\n100%\nüü")
    assert body.partition("100%\n")[2].replace("\n ", "") == long + "\n"
    assert max(map(len, mail.content.split(b"\r\n"))) <= 998


def test_a_mail_without_a_header_becomes_one(call: Written, server: RecordingServer) -> None:
    assert call.run("anna@recipient.example", text=b"The backup: done.\nAll well.\n") == 0
    assert only(server).content.endswith(b"\r\n\r\nThe backup: done.\r\nAll well.\r\n")


def test_a_line_of_a_mailbox_file_is_left_out(call: Written, server: RecordingServer) -> None:
    assert call.run("-t", text=b"From root Mon Jan  1 10:00:00 2024\n" + MAIL) == 0
    assert b"From root" not in only(server).content


def test_letters_outside_ascii_in_a_header_are_encoded(call: Written, server: RecordingServer) -> None:
    text = "To: Jörg Größe <joerg@recipient.example>\nSubject: Grüße\nX-Note: 北京\n\nÄ\n".encode()
    assert call.run("-t", text=text) == 0
    mail = only(server)
    assert mail.content.partition(b"\r\n\r\n")[0].isascii()
    assert mail.mail_options[1:] == ("BODY=8BITMIME",)
    parsed = BytesParser(policy=policy.SMTP).parsebytes(mail.content)
    assert (parsed["Subject"], parsed["X-Note"]) == ("Grüße", "北京")
    assert parsed["To"] == "Jörg Größe <joerg@recipient.example>"


def test_an_address_outside_ascii_is_handed_over_as_it_is(call: Written, server: RecordingServer) -> None:
    assert call.run("jörg@recipient.example") == 0
    assert only(server).recipients == ("jörg@recipient.example",)
    assert "SMTPUTF8" in only(server).mail_options


def test_the_empty_sender_stays_empty(call: Written, server: RecordingServer) -> None:
    assert call.run("-f", "<>", "-t") == 0
    assert only(server).sender == "<>"  # as that server tells of it


@pytest.mark.parametrize(
    "case",
    [
        (["-bs"], MAIL, 64, "-bs is not possible"),
        (["-bp"], MAIL, 64, "no queue"),
        (["-q15m"], MAIL, 64, "no queue"),
        (["--help"], MAIL, 64, "hyphens"),
        (["-Z"], MAIL, 64, "not known"),
        (["-f"], MAIL, 64, "value"),
        ([], MAIL, 64, "no recipient"),
        (["-t"], b"Subject: x\n\nx\n", 64, "no recipient"),
        (["--", "-oQ/tmp@recipient.example"], MAIL, 64, "not an address"),
        (["a b@recipient.example>\nRCPT TO:<x@y.example"], MAIL, 64, "not an address"),
        (["-f", "a@b.example\nBcc: x@y.example", "-t"], MAIL, 64, "not an address"),
        (["j\udcf6rg@recipient.example"], MAIL, 64, "not an address"),  # octets that are not UTF-8, as Python has them
        (["-f", "stranger@elsewhere.example", "-t"], MAIL, 77, "refused the sender"),
        (["nobody@recipient.example"], MAIL, 67, "nobody@recipient.example"),
        (["full@recipient.example"], MAIL, 75, "452"),
    ],
)
def test_what_cannot_be_done_has_the_status_of_sysexits_and_one_plain_line(
    call: Written, server: RecordingServer, capsys: pytest.CaptureFixture[str], case: tuple[list[str], bytes, int, str]
) -> None:
    arguments, text, status, said = case
    assert call.run(*arguments, text=text) == status
    line = capsys.readouterr().err
    assert said in line
    assert re.fullmatch(r"sealpost-sendmail: [ -~]+\n", line)
    assert server.mails == []


def test_who_is_accepted_gets_the_email_that_another_recipient_is_refused_for(
    call: Written, server: RecordingServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call.run("anna@recipient.example", "nobody@recipient.example") == 67
    assert only(server).recipients == ("anna@recipient.example",)
    assert "refused nobody@recipient.example, and accepted the email for the others" in capsys.readouterr().err


def test_more_recipients_than_one_email_may_have_get_it_in_several(tmp_path: Path) -> None:
    too_many = "452 4.5.3 Too many recipients"
    script: dict[str, Answer | list[Answer]] = {
        "RCPT": ["250 ok", "250 ok", too_many, "250 ok", "550 5.1.1 No", "250 ok"]
    }
    with ScriptedServer(script) as server:
        everyone = [f"r{number}@recipient.example" for number in range(5)]
        assert Written(tmp_path / "conf", server.port, host="127.0.0.1").run(*everyone) == 67
        assert [line.partition(":")[2] for line in server.commands if line.upper().startswith("RCPT")] == [
            f"<r{number}@recipient.example>" for number in (0, 1, 2, 2, 3, 4)
        ]
        assert len(server.messages) == 2


def test_a_name_without_a_domain_is_nobody_where_the_settings_name_nobody(
    server: RecordingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Written(tmp_path / "conf", server.port).run("root") == 67
    assert "root = you@example.com" in capsys.readouterr().err


SCRIPTS: list[tuple[dict[str, Answer | list[Answer]], int]] = [
    ({"AUTH": "535 5.7.8 No"}, 77),
    ({"AUTH": "454 4.7.0 Later"}, 75),
    ({"MAIL": "530 5.7.0 Sign in"}, 77),
    ({"MAIL": "550 Not you"}, 77),
    ({"MAIL": "552 5.3.4 Too large"}, 65),
    ({"MAIL": "451 4.3.0 Later"}, 75),
    ({"RCPT": "550 5.7.1 No relay"}, 77),
    ({"RCPT": "553 Which?"}, 67),
    ({"DATA": "451 4.3.0 Later"}, 75),
    ({"DATA": "503 5.5.1 First MAIL"}, 76),
    ({"MESSAGE": "554 5.6.0 Bare line feed"}, 65),
    ({"MESSAGE": "552 5.2.3 Too large"}, 65),
    ({"MESSAGE": "550 5.7.1 Not this From"}, 77),
    ({"MESSAGE": "554 No"}, 69),
    ({"MESSAGE": "451 4.3.0 The database is away"}, 75),
    ({"MESSAGE": "452 4.3.1 Over the limit until 10:00"}, 75),
    ({"GREETING": "421 4.3.2 Too many"}, 75),
    ({"GREETING": "554 5.3.2 No"}, 69),
    ({"GREETING": "SSH-2.0-OpenSSH"}, 76),
]


@pytest.mark.parametrize(("script", "status"), SCRIPTS)
def test_each_answer_of_the_gateway_has_its_status(
    script: dict[str, Answer | list[Answer]], status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer({"EHLO": "250-gateway\n250 AUTH PLAIN LOGIN", **script}) as server:
        settings = Written(tmp_path / "conf", server.port, username="cron", token=TOKEN, host="127.0.0.1")
        assert settings.run("-t") == status
    assert capsys.readouterr().err.count("\n") == 1


def test_a_gateway_that_is_away_is_a_reason_to_try_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Written(tmp_path / "conf", free_port(), host="127.0.0.1").run("-t") == 75
    assert "cannot be reached (Connection refused). Nothing was sent." in capsys.readouterr().err


def test_an_email_that_was_never_confirmed_is_said_to_be_in_doubt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer({"MESSAGE": close}) as server:
        assert Written(tmp_path / "conf", server.port, host="127.0.0.1").run("-t") == 75
    assert "may have it" in capsys.readouterr().err


def test_a_token_that_the_gateway_repeats_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script: dict[str, Answer | list[Answer]] = {"EHLO": "250-gateway\n250 AUTH PLAIN", "AUTH": f"535 5.7.8 {TOKEN}?"}
    with ScriptedServer(script) as server:
        settings = Written(tmp_path / "conf", server.port, username="cron", token=TOKEN, host="127.0.0.1")
        assert settings.run("-t") == 77
    assert TOKEN not in capsys.readouterr().err


def test_no_token_is_sent_to_a_server_whose_certificate_is_not_trusted(
    server: RecordingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.auth_attempts.clear()
    settings = {"encryption": "starttls", "username": "cron", "token": TOKEN}
    assert Written(tmp_path / "conf", server.port, **settings).run("-t") == 78
    assert "not trusted" in capsys.readouterr().err
    assert server.auth_attempts == []


def test_no_token_is_sent_where_encryption_is_not_offered(tmp_path: Path) -> None:
    with ScriptedServer({"EHLO": "250-gateway\n250 AUTH PLAIN"}) as server:
        settings = {"encryption": "starttls", "username": "cron", "token": TOKEN, "host": "127.0.0.1"}
        assert Written(tmp_path / "conf", server.port, **settings).run("-t") == 78
    assert not [each for each in server.commands if each.startswith("AUTH")]


def test_tls_from_the_start_is_spoken_where_the_settings_say_so(tmp_path: Path) -> None:
    with RecordingServer(tls=certificates.good_context(), implicit=True, users={"cron": TOKEN}) as server:
        settings = {"encryption": "tls", "ca_file": str(certificates.ca_file()), "username": "cron", "token": TOKEN}
        assert Written(tmp_path / "conf", server.port, **settings).run("-t") == 0
        assert only(server).login == "cron"


def test_a_token_that_everybody_can_read_is_refused(
    call: Written, server: RecordingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call.path.chmod(0o644)
    assert call.run("-t") == 78
    assert f"chmod o= {call.path}" in capsys.readouterr().err
    apart = tmp_path / "token"
    apart.write_text(TOKEN + "\n")
    values = {"encryption": "starttls", "ca_file": str(certificates.ca_file()), "username": "cron"}
    settings = Written(tmp_path / "conf", server.port, **values, token_file=str(apart))
    settings.path.chmod(0o644)
    apart.chmod(0o604)
    assert settings.run("-t") == 78
    apart.chmod(0o600)
    assert settings.run("-t") == 0
    assert TOKEN not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"port": "0"}, "port"),
        ({"encryption": "ssl"}, "encryption"),
        ({"password": TOKEN}, "Line 5 of"),
        ({"username": "cron"}, "token"),
        ({"host": "mail.example.com", "encryption": "none", "username": "cron", "token": TOKEN}, "unencrypted"),
        ({"ca_file": "/nowhere"}, "ca_file"),
        ({"token_file": "/nowhere", "username": "cron"}, "/nowhere cannot be read"),
    ],
)
def test_settings_that_are_wrong_are_named_and_nothing_of_them_is_shown(
    values: dict[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer({"EHLO": "250-gateway\n250 STARTTLS", "STARTTLS": "220 Go ahead"}) as server:
        defaults = {"encryption": "starttls"} if "ca_file" in values else {}
        assert Written(tmp_path / "conf", server.port, **{"host": "127.0.0.1"} | defaults | values).run("-t") == 78
    line = capsys.readouterr().err
    assert said in line
    assert TOKEN not in line


def test_what_the_environment_says_comes_before_the_file(call: Written, server: RecordingServer) -> None:
    environment = call.environment | {"SEALPOST_SENDMAIL_FROM": "other@sealpost.example"}
    assert sendmail.run(["-t"], environment, io.BytesIO(MAIL)) == 0
    assert only(server).sender == "other@sealpost.example"


def test_a_name_cannot_write_a_line_of_the_header(call: Written, server: RecordingServer) -> None:
    assert call.run("-t", "-F", "Shop\r\nBcc: x@y.example\udcf6") == 0
    mail = only(server)
    assert mail.recipients == ("anna@recipient.example",)
    assert BytesParser(policy=policy.SMTP).parsebytes(mail.content)["Bcc"] is None


def test_as_cronie_calls_it_the_sender_without_a_domain_is_that_of_the_settings(
    call: Written, server: RecordingServer
) -> None:
    text = b'From: "(Cron Daemon)" <root>\nTo: root\nSubject: Cron <root@host> job\n\nDone.\n'
    assert call.run("-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root", text=text) == 0
    mail = only(server)
    assert (mail.sender, mail.recipients) == ("noreply@sealpost.example", ("admin@sealpost.example",))


def test_an_email_that_cannot_be_read_is_no_mistake_of_its_own(
    call: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    class Torn(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    assert sendmail.run(["-t"], call.environment, Torn()) == 74
    assert "standard input (Input/output error)" in capsys.readouterr().err


@pytest.mark.parametrize("closed", [0, 2])
def test_what_a_daemon_has_closed_is_no_reason_for_a_traceback(tmp_path: Path, closed: int) -> None:
    settings = Written(tmp_path / "conf", free_port(), host="127.0.0.1")
    command = f'"$0" -I "$1" anna@recipient.example {closed}>&-'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, SCRIPT],
        env={**os.environ, **settings.environment},
        input=MAIL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 75
    assert b"Traceback" not in done.stderr


def test_a_mistake_of_its_own_shows_no_traceback(call: Written, capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise ZeroDivisionError(TOKEN)

    assert sendmail.run(["-t"], call.environment, Broken()) == 70
    assert re.fullmatch(r"sealpost-sendmail: .*ZeroDivisionError.*\n", capsys.readouterr().err)


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="Debian's python3 is not installed")
def test_the_file_alone_runs_for_another_user_in_crons_empty_environment(
    call: Written, server: RecordingServer, tmp_path: Path
) -> None:
    alone, authorities = tmp_path / "sendmail", tmp_path / "ca.pem"
    shutil.copy(SCRIPT, alone)
    shutil.copy(certificates.ca_file(), authorities)
    if os.geteuid() == 0:
        os.chown(call.path, 0, NOBODY)
    with as_nobody(tmp_path):
        pass  # opens the folders above
    done = subprocess.run(
        [alone, "-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"],
        input=b"From: root (Cron Daemon)\nTo: root\nSubject: Cron\n\nDone.\n",
        env={
            "PATH": "/usr/bin:/bin",
            "SHELL": "/bin/sh",
            "HOME": "/",
            "LOGNAME": "nobody",
            **call.environment,
            "SEALPOST_SENDMAIL_CA_FILE": str(authorities),
        },
        capture_output=True,
        cwd="/",
        timeout=PATIENCE,
        check=False,
        user=NOBODY if os.geteuid() == 0 else None,
        group=NOBODY if os.geteuid() == 0 else None,
        extra_groups=[] if os.geteuid() == 0 else None,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert only(server).recipients == ("admin@sealpost.example",)


needs_php = pytest.mark.skipif(shutil.which("php") is None, reason="php is not installed (make services)")
PHP = """\
$sent = mail('anna@recipient.example', 'Grüße', "Erste Zeile\\n.\\n..zwei Punkte\\nLetzte", [
    'From' => 'shop@sender.example', 'Bcc' => 'boss@recipient.example', 'X-Mailer' => 'PHP/' . phpversion(),
    'Content-Type' => 'text/plain; charset=utf-8'], $argv[1]);
echo $sent ? 'sent' : 'not sent';
"""


def php_mail(settings: Written, more: str) -> subprocess.CompletedProcess[str]:
    path = f"{sys.executable} -I {SCRIPT} -t -i"
    return subprocess.run(
        ["php", "-d", f"sendmail_path={path}", "-r", PHP, "--", more],
        env={**os.environ, **settings.environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@needs_php
def test_phps_mail_sends_through_it(call: Written, server: RecordingServer) -> None:
    assert php_mail(call, "-fbounces@sender.example").stdout == "sent"
    mail = only(server)
    assert mail.sender == "bounces@sender.example"
    assert set(mail.recipients) == {"anna@recipient.example", "boss@recipient.example"}
    parsed = BytesParser(policy=policy.SMTP).parsebytes(mail.content)
    assert (parsed["Subject"], parsed["Bcc"]) == ("Grüße", None)
    assert text_of(mail).partition("\n\n")[2].rstrip("\n") == "Erste Zeile\n.\n..zwei Punkte\nLetzte"


@needs_php
def test_phps_mail_gives_false_where_the_gateway_refuses(call: Written, server: RecordingServer) -> None:
    done = php_mail(call, "-fstranger@elsewhere.example")
    assert "not sent" in done.stdout
    assert "sealpost-sendmail: Sealpost's gateway refused the sender." in done.stderr
    assert server.mails == []
