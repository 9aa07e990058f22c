"""Lines for PowerShell: what was entered stays one argument, whatever it is."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.connecting import copying, guide
from services.connecting.copying import UnusableValue, quoted
from services.connecting.redirect_rules import judged
from services.connecting.steps import Entered
from services.oauth.providers import Grant, OAuthProvider

# PowerShell's own: each of them opens and closes a literal text, and two in a row within one stand for the first.
QUOTES: Final = "'\u2018\u2019\u201a\u201b"
BREAKS: Final = "\r\n\x00\x0b\x0c\x1b\x85\u2028\u2029\u202e\u2066"
NASTY: Final = st.text(st.sampled_from(f'{QUOTES}"`$;|&(){{}}#@%<>,- \t{BREAKS}ab'), max_size=40) | st.text(max_size=40)


def arguments(line: str) -> list[str]:
    """The words of a line as PowerShell's tokenizer finds them, as far as these lines use its grammar."""
    found, current, place = [], "", 0
    while place < len(line):
        character = line[place]
        if character in QUOTES:
            place += 1
            while not (line[place] in QUOTES and line[place + 1 : place + 2] not in tuple(QUOTES)):
                current += line[place]
                place += 2 if line[place] in QUOTES else 1
        elif character == " ":
            found.append(current)
            current = ""
        else:
            current += character
        place += 1
    return [*found, current]


@pytest.mark.parametrize(
    ("entered", "argument"),
    [
        ("shop@example.com", "'shop@example.com'"),
        ("o'neil@example.com", "'o''neil@example.com'"),
        ("'; Remove-Mailbox boss #", "'''; Remove-Mailbox boss #'"),
        ("o\u2019neil@example.com", "'o\u2019\u2019neil@example.com'"),
        ("$(Get-Date)", "'$(Get-Date)'"),
        ("`n", "'`n'"),
        ('a"b', "'a\"b'"),
        ("  a  ", "'a'"),
        ("-Confirm", "'-Confirm'"),
    ],
)
def test_an_argument_is_quoted_as_a_literal_text(entered: str, argument: str) -> None:
    assert quoted(entered) == argument


@pytest.mark.parametrize("entered", ["", "   ", *(f"a{mark}b" for mark in BREAKS), "a\tb", "\ud800", "a" * 321])
def test_what_could_begin_a_second_line_or_hide_something_is_refused(entered: str) -> None:
    with pytest.raises(UnusableValue):
        quoted(entered)


@given(NASTY)
def test_powershell_reads_an_argument_back_as_it_was_entered(entered: str) -> None:
    try:
        argument = quoted(entered)
    except UnusableValue:
        return
    assert arguments(f"Get-Mailbox -Identity {argument} -Verbose") == [
        "Get-Mailbox", "-Identity", entered.strip(" "), "-Verbose",
    ]  # fmt: skip


@given(NASTY, NASTY, NASTY, NASTY)
def test_no_value_changes_which_commands_the_guide_has(client: str, enterprise: str, mailbox: str, sender: str) -> None:
    entered = Entered(client_id=client, object_id=enterprise, mailbox=mailbox, from_email=sender, tenant="example.com")
    verdict = judged("https://app.example.com", OAuthProvider.MICROSOFT)
    steps = guide.steps_of(OAuthProvider.MICROSOFT, Grant.CLIENT_CREDENTIALS, entered, verdict)
    lines = [line for step in steps for line in step.lines if line.is_code]
    values = {text.strip(" ") for text in (client, enterprise, mailbox, sender)}
    for line in lines:
        assert len(line.text.splitlines()) == 1
        if not line.lacking:
            name, *rest = arguments(line.text)
            options = [word for word in rest if word not in values]
            assert name.partition("-")[0] in {"Install", "Connect", "New", "Add", "Set", "Get"}
            assert all(word.startswith(("-", "$false")) or word in NAMES for word in options)


NAMES: Final = {"ExchangeOnlineManagement", "FullAccess", "SendAs", "|", "Format-List", "SmtpClientAuth*"}


def test_a_value_that_cannot_stand_in_a_line_is_told_apart_from_one_that_is_missing() -> None:
    form, names = "Get-Mailbox -Identity {mailbox}", {"mailbox": "user name"}
    missing = copying.command("Look", form, names, {"mailbox": " "})
    odd = copying.command("Look", form, names, {"mailbox": "a\nRemove-Mailbox b"})
    assert (missing.text, missing.lacking) == (
        "Get-Mailbox -Identity ‹user name›",
        "Enter the user name to fill this line in.",
    )
    assert odd.text == missing.text
    assert odd.lacking == "The user name has a line break or a hidden character, or is too long. Enter it again."


def test_braces_in_a_value_are_no_placeholders() -> None:
    line = copying.command("Look", "A {a} {b}", {"a": "x", "b": "y"}, {"a": "{b}", "b": "{0}"})
    assert line.text == "A '{b}' '{0}'"
