"""What people read has one word for one thing: none of the words that docs/glossary.md rules out is in a shown text."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import jinja2
import pytest

from tests.test_architecture import ROOT


class Shown(NamedTuple):
    """A text that people may read, and the file that it is in."""

    path: str
    text: str


# What is out, and what is said instead.
OUT: Final = {
    r"\b(?:any|no|some|every)body\b": "anyone, no one, someone, everyone",
    r"\bwhoever\b": "anyone who, or name them",
    r"\bmails\b|\b(?:a|one|each|every|another) mail\b(?! (?:server|log|domain|program|provider))": "an email, emails",
    r"\be-mails?\b": "email",
    r"\btest (?:message|mail)s?\b": "test email",
    r"\btyping slip": "typo",
    r"\bdisturb": "temporary fault",
    r"\bin clear\b|\b(?:speaks?|starts?) plain\b|\bfrom the first byte\b": "unencrypted, from the start",
    r"\b[Ll]og(?:in|ins| in| out)\b": "user name and password, sign in, sign out",
    r"\bcredentials\b": "user name and password",
    r"\boperators?\b": "the server’s administrator",
    r"\breceivers?\b": "recipient, receiving server",
    r"\bforg(?:et|ets|otten)\b": "deleted",
    r"\bmeanwhile\b": "in the meantime, or who did it",
    r"\banew\b": "again",
    r"\bmend(?:ed|s)?\b": "fix",
    r"\bpassed over\b": "skipped",
    r"\bin reserve\b|\bstand-by\b": "standby",
    r"(?<!be )\bused now\b": "in use",
    r"\blook-ups?\b": "lookup",
    r"\bname servers?\b": "DNS, DNS server",
    r"\bgiven up\b": "failed, expired, stopped trying",
    r"\btaken up\b|\bhand(?:s|ed|ing)? (?:it )?over\b": "sending",
    r"\bput(?:s|ting)? off\b": "waiting, delayed",
    r"\bswitch(?:ed|es)? (?:it )?o(?:n|ff)\b": "active, deactivate, turn on, turn off",
    r"\bdead letters?\b": "failed",
    r"\bone-time code\b": "set-up code",
    r"\bbehind (?:the @|it|its)": "after",
    r"\bthis program\b": "Sealpost",
    r"(?:^|[.:] )Give\b": "Enter, Pass",
    r"\bthere is no such\b": "no such",
    r"\bThe most\b": "Maximum",
    r"\bin some (?:minutes|seconds|hours)\b|\bfor some (?:minutes|seconds|hours)\b": "a few",
    r"\bgiven again\b": "entered again",
    r"\b(?:out|in)side of\b": "outside, inside",
    r"\bwants (?!to\b)": "needs",
    r"\btakes (?:no|only|neither|nothing|mail)\b|\b(?:does|did) not take\b": "accepts",
    r"\bholds (?:a|an|no|more|the)\b": "contains",
    r"\bnothing has to be changed\b": "nothing to change",
    r"\bby another way\b": "another way",
    r"\bpresent (?:address|key|certificate)\b": "current",
    r"\bwithout end\b|\bfor ever\b": "never expires, forever",
    r"\bgoes? the next way\b|\bgoes around\b": "the next server in the route",
    r"\bpassword-reset\b": "password reset",
    r"\ball is well\b": "what was checked",
    r"\btr(?:y|ies)\b(?=[:,.]|$)": "attempt",
    r"\bjust now\b": "for now, at the moment",
}
# Of pages, scripts and the command line alone: the API has kept its word.
OUT_OF_PAGES: Final = {r"\bconfigurations?\b": "mail server, settings"}
# (end of the path, text): what is specified, what a vendor calls so, and what is read by machines.
ALLOWED: Final = {
    ("static/times.js", "just now"),  # of what is over
    ("providers.json", "The SMTP login shown under"),  # what Brevo calls it
    ("smtp_replies.json", "Enter the SMTP login and the SMTP key as"),
    ("smtp_replies.json", "SMTP credentials"),  # what Amazon calls them
    ("smtp_replies.json", "the credentials belong to another region"),
    ("smtp_replies.json", "these credentials"),
    ("providers.json", "SMTP credentials"),
}
# Files whose texts are for developers, or for machines.
UNREAD: Final = {"utils/late.py", "utils/request_bounds.py", "utils/key_strength.py"}
ROOMS: Final = ("blueprints", "services", "database", "utils")
_PAGES: Final = ("templates/", "static/", "blueprints/cli/")
_JSON_TEXTS: Final = re.compile(r"title|meaning|cause|remedy|label|text|obstacle|notes|limits|\w+_hint|\w+_rule")
_SHOWN_ATTRIBUTES: Final = re.compile(r'\b(?:aria-label|placeholder|title|alt|data-busy)="([^"]+)"')
_SCRIPT_TEXT: Final = re.compile(r'"([^"\n]* [^"\n]*)"|`([^`]* [^`]*)`')
_LOGS: Final = {"debug", "info", "warning", "error", "exception", "critical"}
# Patterns of servers' replies, statements and rules about code: nobody reads them.
_NOT_SHOWN: Final = re.compile(r"\\[bWds.]|\(\?|^(?:SELECT|UPDATE|INSERT|PRAGMA|BEGIN|ALTER)\b|[|^$]\w+[|$]")


def shown_texts(root: Path) -> Iterator[Shown]:
    """Every text of the sources that people may read."""
    for path in sorted((root / "templates").rglob("*.*")):
        yield from (Shown(_short(path, root), text) for text in _of_template(path.read_text()))
    for path in sorted((root / "static").glob("*.js")):
        yield from (Shown(_short(path, root), text) for text in _of_script(path.read_text()))
    for path in sorted((root / "services").rglob("data/*.json")):
        yield from (Shown(_short(path, root), text) for text in _of_data(json.loads(path.read_text())))
    for path in [root / "app.py", *(each for room in ROOMS for each in sorted((root / room).rglob("*.py")))]:
        if "migrations" not in path.parts and _short(path, root) not in UNREAD:
            is_command = "cli" in path.parts
            found = _of_python(path.read_text(), is_command=is_command)
            yield from (Shown(_short(path, root), text) for text in found)
    sample = root / ".env.example"
    yield from (Shown(sample.name, line[2:]) for line in sample.read_text().splitlines() if line.startswith("# "))


def _short(path: Path, root: Path) -> str:
    return str(path.relative_to(root))


def _of_template(source: str) -> Iterator[str]:
    page = ""
    for _, kind, value in jinja2.Environment(autoescape=True).lex(source):
        if kind == "data":
            page += value
        elif kind == "string" and not re.fullmatch(r"[a-z_.]*", value[1:-1]):  # the name of an endpoint or a field
            yield value[1:-1]
        elif kind in ("variable_begin", "block_begin"):
            page += "…" if kind == "variable_begin" else ""
    page = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.S)
    yield from _SHOWN_ATTRIBUTES.findall(page)
    yield from (line.strip() for line in re.sub(r"<[^>]*>", "\n", page).splitlines() if line.strip())


def _of_script(source: str) -> Iterator[str]:
    for line in source.splitlines():
        code = line.partition("// ")[0]
        if not code.lstrip().startswith(("/**", "*")):
            yield from (plain or made for plain, made in _SCRIPT_TEXT.findall(code))


def _of_data(data: object, key: str = "") -> Iterator[str]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _of_data(value, name)
    elif isinstance(data, list):
        for value in data:
            yield from _of_data(value, key)
    elif isinstance(data, str) and _JSON_TEXTS.fullmatch(key):
        yield data


def _of_python(source: str, *, is_command: bool) -> Iterator[str]:
    """Literals of several words, but for docstrings (of commands they are the help), log events and patterns."""
    tree = ast.parse(source)
    silent = set(_silent(tree, is_command=is_command))
    for node in ast.walk(tree):
        if node in silent:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if " " in text.strip() and not _NOT_SHOWN.search(text):
            yield text


def _silent(tree: ast.AST, *, is_command: bool) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            if not (is_command and isinstance(node, ast.FunctionDef) and node.decorator_list):
                yield from (each.value for each in node.body if isinstance(each, ast.Expr))
        elif isinstance(node, ast.JoinedStr):
            yield from node.values  # part of the whole
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _LOGS:
            yield from ast.walk(node)


def words_that_are_out(shown: Shown) -> list[str]:
    """What this text should not say."""
    if any(shown.path.endswith(path) and text in shown.text for path, text in ALLOWED):
        return []
    rules = OUT | (OUT_OF_PAGES if shown.path.startswith(_PAGES) else {})
    text = " ".join(shown.text.split())
    found = ((re.search(rule, text, re.I if rule.islower() else 0), instead) for rule, instead in rules.items())
    return [f"{match[0]!r} ({instead})" for match, instead in found if match]


def test_no_text_that_people_read_has_a_word_that_is_out() -> None:
    found = {(shown.path, shown.text): words for shown in shown_texts(ROOT) if (words := words_that_are_out(shown))}
    assert found == {}


def test_every_exception_is_still_needed() -> None:
    shown = [each for each in shown_texts(ROOT) if each.path.endswith(tuple(path for path, _ in ALLOWED))]
    assert [
        (path, text) for path, text in ALLOWED if not any(path in each.path and text in each.text for each in shown)
    ] == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("templates/page.html", "<p>Nobody is {{ here }}</p>"),
        ("templates/page.html", '{{ ui.button("Send the test message") }}'),
        ("templates/page.html", '<input placeholder="Your login">'),
        ("templates/email/x/body.txt", "You get a mail."),
        ("static/page.js", 'say("It is tried again just now");'),
        ("static/page.js", "say(`${count} mails`);"),
        ("services/x/data/replies.json", '{"rules": [{"remedy": "Ask the server\'s operator."}]}'),
        ("services/x/data/providers.json", '[{"notes": ["It must be switched on."]}]'),
        ("services/x/y.py", 'raise InvalidInput({"to": ["Give one address."]})'),
        ("services/x/y.py", 'text = f"{name} is passed over"'),
        ("blueprints/cli/y.py", '@command(smtp)\ndef show() -> None:\n    """Show a configuration."""'),
        (".env.example", "# How many mails a minute."),
    ],
)
def test_a_planted_word_is_found(file: str, source: str, tmp_path: Path) -> None:
    for path, text in ({"app.py": "", ".env.example": ""} | {file: source}).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert [shown.path for shown in shown_texts(tmp_path) if words_that_are_out(shown)] == [file]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("templates/page.html", "{# Whoever reads this #}<p>{{ url_for('auth.login') }}</p>"),
        ("static/page.js", "// nobody reads this"),
        ("services/x/data/replies.json", '{"rules": [{"pattern": "login|nobody"}]}'),
        (
            "services/x/y.py",
            '"""Whoever reads this."""\nlog.info("mails taken up", mails=3)\nx = re.compile(r"log ?in\\b")',
        ),
    ],
)
def test_what_nobody_reads_is_left_alone(file: str, source: str, tmp_path: Path) -> None:
    for path, text in ({"app.py": "", ".env.example": ""} | {file: source}).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert [shown for shown in shown_texts(tmp_path) if words_that_are_out(shown)] == []
