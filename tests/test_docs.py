"""What the documents for developers say of files, rooms and states is so."""

import re
from pathlib import Path
from typing import Final

import pytest

from database.outbox_db import State
from services.smtp.habits import Habit
from tests.test_architecture import ROOMS, ROOT

DOCUMENTS: Final = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ARCHITECTURE: Final = ROOT / "docs" / "architecture.md"
_PATH: Final = re.compile(r"`((?:services|blueprints|database|utils|templates|static|tests|benchmarks|docs)/[\w./-]*)`")
_LINK: Final = re.compile(r"\]\(([\w./-]+)(?:#[\w-]+)?\)")
_SCRIPT: Final = re.compile(r"(?:services|blueprints|database|tests)/[\w/]+\.py")


def rows_of(text: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its first two lines."""
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def words_in(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    text = document.read_text()
    named = {*_PATH.findall(text), *_SCRIPT.findall(text)}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_of_a_document_leads_to_a_file(document: Path) -> None:
    links = _LINK.findall(document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_table_of_rooms_is_the_one_that_the_code_is_held_to() -> None:
    rows = rows_of(ARCHITECTURE.read_text(), "The rooms")
    assert {next(iter(words_in(room))): words_in(arrows) for room, _, arrows in rows} == {
        room: set(arrows.split()) for room, arrows in ROOMS.items()
    }


def test_every_state_of_a_queued_mail_is_explained() -> None:
    rows = rows_of(ARCHITECTURE.read_text(), "States of a queued mail")
    assert {word for row in rows for word in words_in(row[0])} == {state.value for state in State}


def test_every_habit_of_a_server_is_explained() -> None:
    rows = rows_of(ARCHITECTURE.read_text(), "What servers have shown")
    assert {word for row in rows for word in words_in(row[0])} == {habit.name for habit in Habit}
