"""The commands and the Python that the documents show are ones that there are, and what a start prints is as shown."""

import codeop
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest
from flask import Flask
from flask.cli import shell_command
from flask_migrate.cli import db as migrations

from services.message import recording
from services.providers import registry
from tests.running import ROOT
from tests.test_docs import DOCUMENTS

README: Final = ROOT / "README.md"
PYTHON: Final = [README, ROOT / "docs" / "sending.md"]
_BLOCK: Final = re.compile(r"^ *```sh\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_IN_TEXT: Final = re.compile(r"`(flask [a-z][^`]*)`")
_TARGET: Final = re.compile(r"^([\w./-]+):", re.MULTILINE)
_COMMAND: Final = re.compile(r"^(?:.*&& )?(?: *)((?:flask|make) .*?)(?= &&| > |$)", re.MULTILINE)


def shown_in_blocks(document: Path) -> Iterator[list[str]]:
    """The words of each command of our own in a block of shell."""
    for block in _BLOCK.findall(document.read_text()):
        for command in _COMMAND.findall(block):
            yield shlex.split(command, comments=True)


def shown_in_text(document: Path) -> Iterator[list[str]]:
    """Those within a sentence, as far as their groups and their own name; the rest may be a stand-in like ``…``."""
    for command in _IN_TEXT.findall(document.read_text()):
        yield command.split()


@pytest.fixture
def flask_command(app: Flask) -> click.Group:
    """`flask`, with the commands of the database in the place of what loads them late."""
    shown = app.cli.get_command(click.Context(app.cli), "db")  # which imports all others
    assert shown
    assert shown.make_context("db", [], resilient_parsing=True)  # which loads those below it
    return click.Group("flask", {**app.cli.commands, "db": migrations, "shell": shell_command})


def command_of(group: click.Group, words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """The command that ``words`` name, and what follows its name. Raises UsageError if there is none."""
    command: click.Command = group
    context = click.Context(group, info_name="flask")
    rest = words[1:]
    while isinstance(command, click.Group) and rest:
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    return command, context, rest


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_flask_command_of_a_block_takes_its_arguments(document: Path, flask_command: click.Group) -> None:
    for words in shown_in_blocks(document):
        if words[0] == "flask":
            command, context, rest = command_of(flask_command, words)
            assert not isinstance(command, click.Group), words
            command.parse_args(context, rest)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_flask_command_of_a_sentence_is_there(document: Path, flask_command: click.Group) -> None:
    for words in shown_in_text(document):
        command_of(flask_command, [word for word in words if "…" not in word])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_target_of_make_is_there(document: Path) -> None:
    targets = set(_TARGET.findall((ROOT / "Makefile").read_text()))
    named = {word for words in shown_in_blocks(document) if words[0] == "make" for word in words[1:] if "=" not in word}
    named |= set(re.findall(r"`(?:\w+=\S+ )?make ([\w./-]+)", document.read_text()))
    assert named - targets == set()


@pytest.mark.parametrize("document", PYTHON, ids=lambda path: path.name)
def test_the_examples_in_python_run(document: Path, app: Flask) -> None:
    with recording.record_messages() as recorded:
        for code in re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL):
            exec(code, {})
    assert recorded


@pytest.mark.parametrize("document", PYTHON, ids=lambda path: path.name)
def test_the_examples_in_python_can_be_pasted_into_a_shell(document: Path) -> None:
    """It takes a line at a time: what is indented ends with an empty one."""
    for code in re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL):
        statement = ""
        for line in [*code.splitlines(), ""]:
            statement += f"{line}\n"
            if codeop.compile_command(statement):
                statement = ""
        assert not statement.strip()


def test_the_start_prints_what_the_readme_shows() -> None:
    labels = re.findall(r"^(  [A-Z][a-z -]+?at|  Set-up code) +\S+$", README.read_text(), re.MULTILINE)
    source = (ROOT / "blueprints" / "announcing.py").read_text()
    assert len(labels) == len(re.findall(r'_say\(f?"(?:\\n)?  \w', source)) - 1  # "Also at" is for several addresses
    assert [label for label in labels if f"{label} " not in source] == []


def test_the_readme_counts_the_providers_that_are_known() -> None:
    """What stands for any other server, or for one on this machine, is no provider."""
    known = [each for each in registry.everyone() if each["group"] != "other"]
    assert re.findall(r"(\d+) providers", README.read_text()) == [str(len(known))]
