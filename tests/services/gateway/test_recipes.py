"""What an application reads from its lines is what the gateway asks for, whatever letters are in it."""

import ast
import configparser
import io
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import dotenv
import pytest
import yaml

from services.gateway.recipes import SendingValues, application, applications, recipe
from services.smtp.settings import Security
from tests.patience import PATIENCE
from utils.errors import NotFound
from utils.secret import Secret

HOST = "mail.example.com"
TOKENS = ("sealpost_aB3-_xyZ", 'it\'s 100% "odd" #1; $HOME \\ `x` {{host}} & é')
NAMES = ("alice", "O'Neil #2 \\ Ünïcode")
ALL = list(Security)
CHOSEN = {"gitea", "nextcloud", "grafana", "vaultwarden", "gitlab", "authentik", "ghost", "wordpress", "uptime-kuma",
          "home-assistant", "django", "rails", "laravel", "node", "php", "sendmail", "other", "http"}  # fmt: skip


def values(
    security: Security = Security.STARTTLS, token: str = TOKENS[0], username: str = NAMES[0], host: str = HOST
) -> SendingValues:
    return SendingValues(
        host=host,
        port=465 if security is Security.TLS else 587,
        security=security,
        username=username,
        token=Secret(token),
        sender="noreply@example.com",
        send_url="https://mail.example.com/api/messages/send-email",
    )


def text(of: str, given: SendingValues, part: int = 0) -> str:
    return recipe(application(of), given)[part].lines


def env(source: str) -> dict[str, Any]:
    """As Compose and Laravel read it, which know one escape more than this reader: \\$, between quotation marks."""
    told = dotenv.dotenv_values(stream=io.StringIO(source), interpolate=False)
    return {name: value and value.replace("\\$", "$") for name, value in told.items()}


def ini(source: str) -> dict[str, str]:
    """The section as go-ini reads it: what stands between backticks or three quotation marks is the value."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(source)
    return {name: re.sub(r'^(`|""")(.*)\1$', r"\2", value) for name, value in parser["mailer"].items()}


def occ(source: str) -> dict[str, str]:
    told = {}
    for line in source.splitlines():
        *_, command, name, value = [word for word in shlex.split(line) if not word.startswith("--type")]
        assert command == "config:system:set"
        told[name] = value.removeprefix("--value=")
    return told


def ruby(source: str) -> dict[str, Any]:
    """Ruby’s strings between single quotes are Python’s, with these two escapes alone."""
    found = re.findall(
        r"(?:gitlab_rails\['(\w+)'\] = |^ {2}(\w+): )('(?:\\.|[^'\\])*'|\d+|true|false|:\w+)", source, re.M
    )
    return {one or other: ast.literal_eval(value) if value[0] == "'" else value for one, other, value in found}


def python(source: str) -> dict[str, Any]:
    told = {}
    for statement in ast.parse(source).body:
        assert isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
        if isinstance(statement.value, ast.Constant):
            told[statement.targets[0].id] = statement.value.value
    return told


def fields(source: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in source.splitlines())


def home_assistant(source: str) -> dict[str, Any]:
    (notifier,) = yaml.safe_load(source)["notify"]
    return dict(notifier)


# How each is read, and under which names it then has host, port, user name and password.
READ: dict[str, tuple[Callable[[str], dict[str, Any]], tuple[str, str, str, str]]] = {
    "gitea": (ini, ("smtp_addr", "smtp_port", "user", "passwd")),
    "nextcloud": (occ, ("mail_smtphost", "mail_smtpport", "mail_smtpname", "mail_smtppassword")),
    "vaultwarden": (env, ("SMTP_HOST", "SMTP_PORT", "SMTP_USERNAME", "SMTP_PASSWORD")),
    "gitlab": (ruby, ("smtp_address", "smtp_port", "smtp_user_name", "smtp_password")),
    "authentik": (env, tuple(f"AUTHENTIK_EMAIL__{x}" for x in ("HOST", "PORT", "USERNAME", "PASSWORD"))),  # type: ignore[dict-item]
    "ghost": (env, tuple(f"mail__options__{x}" for x in ("host", "port", "auth__user", "auth__pass"))),  # type: ignore[dict-item]
    "uptime-kuma": (fields, ("Hostname", "Port", "Username", "Password")),
    "home-assistant": (home_assistant, ("server", "port", "username", "password")),
    "django": (python, ("EMAIL_HOST", "EMAIL_PORT", "EMAIL_HOST_USER", "EMAIL_HOST_PASSWORD")),
    "rails": (ruby, ("address", "port", "user_name", "password")),
    "laravel": (env, ("MAIL_HOST", "MAIL_PORT", "MAIL_USERNAME", "MAIL_PASSWORD")),
    "other": (fields, ("SMTP server", "Port", "User name", "Password")),
}  # fmt: skip


@pytest.mark.parametrize("username", NAMES)
@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("of", READ)
def test_an_application_reads_these_values_from_its_lines(of: str, token: str, username: str) -> None:
    read, names = READ[of]
    told = read(text(of, values(token=token, username=username)))
    assert [str(told[name]) for name in names] == [HOST, "587", username, token]


@pytest.mark.parametrize(
    ("of", "name", "said"),
    [
        ("gitea", "protocol", ("smtp+starttls", "smtps", "smtp")),
        ("nextcloud", "mail_smtpsecure", ("tls", "ssl", "")),
        ("vaultwarden", "SMTP_SECURITY", ("starttls", "force_tls", "off")),
        ("gitlab", "smtp_enable_starttls_auto", ("true", "false", "false")),
        ("gitlab", "smtp_tls", ("false", "true", "false")),
        ("authentik", "AUTHENTIK_EMAIL__USE_TLS", ("true", "false", "false")),
        ("authentik", "AUTHENTIK_EMAIL__USE_SSL", ("false", "true", "false")),
        ("ghost", "mail__options__secure", ("false", "true", "false")),
        ("ghost", "mail__options__requireTLS", ("true", None, None)),
        ("ghost", "mail__options__ignoreTLS", (None, None, "true")),
        ("home-assistant", "encryption", ("starttls", "tls", "none")),
        ("django", "EMAIL_USE_TLS", (True, False, False)),
        ("django", "EMAIL_USE_SSL", (False, True, False)),
        ("laravel", "MAIL_SCHEME", ("smtp", "smtps", "smtp")),
        ("uptime-kuma", "Security", ("None / STARTTLS (25, 587)", "TLS (465)", "None / STARTTLS (25, 587)")),
    ],
)
def test_an_application_is_told_which_encryption_in_its_own_words(of: str, name: str, said: tuple[Any, ...]) -> None:
    read, _ = READ[of]
    assert tuple(read(text(of, values(security))).get(name) for security in ALL) == said


def test_grafana_gets_host_and_port_in_one_and_an_address_of_ipv6_in_brackets() -> None:
    told = env(text("grafana", values(token=TOKENS[1])))
    assert told["GF_SMTP_HOST"] == "mail.example.com:587"
    assert told["GF_SMTP_PASSWORD"] == TOKENS[1]
    assert told["GF_SMTP_STARTTLS_POLICY"] == "MandatoryStartTLS"
    assert env(text("grafana", values(host="::1")))["GF_SMTP_HOST"] == "[::1]:587"


def test_a_plain_token_stands_bare_in_an_environment_file_as_docker_reads_it() -> None:
    assert f"GF_SMTP_PASSWORD={TOKENS[0]}\n" in text("grafana", values())


@pytest.mark.parametrize("security", ALL)
def test_rails_gets_one_setting_for_its_encryption(security: Security) -> None:
    said = {"starttls": "enable_starttls: true", "tls": "tls: true", "none": "enable_starttls: false"}
    assert f"  {said[security]}\n}}" in text("rails", values(security))


def run(program: str, *arguments: str) -> Any:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=True, timeout=PATIENCE)
    return json.loads(done.stdout)


def test_wordpress_hands_these_values_to_phpmailer() -> None:
    config, plugin = (part.lines for part in recipe(application("wordpress"), values(token=TOKENS[1])))
    code = (
        "class Mailer { public $ways = 0; function isSMTP() { $this->ways++; } }"
        "function add_filter($name, $work) { $GLOBALS['from'] = $work(); }"
        "function add_action($name, $work) { $GLOBALS['mailer'] = new Mailer; @$work($GLOBALS['mailer']); }"
        f"{config}\n{plugin.removeprefix('<?php')}\necho json_encode([$from, $mailer]);"
    )
    sender, mailer = run("php", "-r", code)
    assert sender == "noreply@example.com"
    assert mailer == {
        "ways": 1, "Host": HOST, "Port": 587, "SMTPSecure": "tls", "SMTPAutoTLS": True, "SMTPAuth": True,
        "Username": "alice", "Password": TOKENS[1],
    }  # fmt: skip


def test_nodemailer_is_handed_these_values() -> None:
    code = "const nodemailer = { createTransport: (...all) => all };\n"
    said = "\nconsole.log(JSON.stringify(transporter));"
    lines = text("node", values(Security.TLS, TOKENS[1]))
    options, defaults = run("node", "-e", code + lines + said)
    assert options == {"host": HOST, "port": 465, "secure": True, "auth": {"user": "alice", "pass": TOKENS[1]}}
    assert defaults == {"from": "noreply@example.com"}


def conf(source: str) -> dict[str, str]:
    """As sealpost-sendmail reads it."""
    pairs = [line.partition("=") for line in source.splitlines()]
    return {name.strip(): value.strip() for name, _, value in pairs}


@pytest.mark.parametrize(("of", "part"), [("sendmail", 0), ("php", 1)])
@pytest.mark.parametrize("security", ALL)
def test_sealpost_sendmail_gets_its_file(of: str, part: int, security: Security) -> None:
    given = values(security, TOKENS[1], NAMES[1])
    assert conf(text(of, given, part)) == {
        "host": HOST, "port": str(given.port), "encryption": security.value, "username": NAMES[1], "token": TOKENS[1],
        "from": "noreply@example.com", "root": "noreply@example.com",
    }  # fmt: skip


def test_curl_gets_a_header_with_the_token_and_json() -> None:
    words = shlex.split(text("http", values(token=TOKENS[1])).replace("\\\n", ""))
    assert words[:3] == ["curl", "-sS", "https://mail.example.com/api/messages/send-email"]
    assert words[4] == f"Authorization: Bearer {TOKENS[1]}"
    assert json.loads(words[-1])["to"] == "you@example.com"


def test_all_that_were_promised_can_be_chosen() -> None:
    assert set(applications()) == CHOSEN


@pytest.mark.parametrize("of", applications())
def test_no_line_has_a_gap_and_the_token_is_in_one_part_alone(of: str) -> None:
    for security in ALL:
        parts = recipe(application(of), values(security))
        assert not any("{{" in part.lines for part in parts)
        assert sum(TOKENS[0] in part.lines for part in parts) == 1
        assert TOKENS[0] not in repr(parts)


def test_an_application_that_nobody_knows_is_refused() -> None:
    with pytest.raises(NotFound):
        application("sendgrid")
