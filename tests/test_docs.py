"""What the documents for developers say of files, rooms and states is so."""

import re
from pathlib import Path
from typing import Final

import pytest

from database.outbox_db import State
from services.audit import Action
from services.smtp.habits import Habit
from tests.test_architecture import ROOMS, ROOT
from tests.test_words import Shown, words_that_are_out
from utils.env_names import FILES

DOCUMENTS: Final = [
    ROOT / "CONTRIBUTING.md", ROOT / "README.md", ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]  # fmt: skip
# What is read by developers alone may use their words.
FOR_DEVELOPERS: Final = {"CONTRIBUTING.md", "architecture.md", "asvs.md", "decisions.md", "glossary.md"}
FOR_PEOPLE: Final = [document for document in DOCUMENTS if document.name not in FOR_DEVELOPERS]
ARCHITECTURE: Final = ROOT / "docs" / "architecture.md"
_PATH: Final = re.compile(r"`((?:services|blueprints|database|utils|templates|static|tests|benchmarks|docs)/[\w./-]*)`")
_LINK: Final = re.compile(r"\]\(([\w./-]*)(?:#([\w-]+))?\)")
_CODE: Final = re.compile(r"^ *```.*?^ *```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_SAMPLE: Final = re.compile(r"^#?([A-Z_]+)=", re.MULTILINE)
_SCRIPT: Final = re.compile(r"(?:services|blueprints|database|tests)/[\w/]+\.py")
_TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ASVS: Final = ROOT / "docs" / "asvs.md"
# Level 1 of ASVS 5.0.0: a chapter, and the numbers in it.
LEVEL_1: Final = {
    1: "2.1 2.2 2.3 2.4 2.5 3.1 3.2 5.1",
    2: "1.1 2.1 2.2 3.1",
    3: "2.1 2.2 3.1 4.1 4.2 5.1 5.2 5.3",
    4: "1.1 4.1",
    5: "2.1 2.2 3.1 3.2",
    6: "1.1 2.1 2.2 2.3 2.4 2.5 2.6 2.7 2.8 3.1 3.2 4.1 4.2",
    7: "2.1 2.2 2.3 2.4 4.1 4.2",
    8: "1.1 2.1 2.2 3.1",
    9: "1.1 1.2 1.3 2.1",
    10: "4.1 4.2 4.3 4.4 4.5",
    11: "3.1 3.2 4.1",
    12: "1.1 2.1 2.2",
    13: "4.1",
    14: "2.1 3.1",
    15: "1.1 2.1 3.1",
}
# Those of level 2 that are about administrators, their sessions and other machines.
LEVEL_2: Final = {
    3: "4.1", 6: "3.3", 7: "1.1 1.2 3.1 4.5 5.2", 11: "4.4", 12: "3.1 3.2", 13: "2.4 2.5 3.2 4.5", 15: "2.2",
    16: "1.1 3.2 3.3 5.3",
}  # fmt: skip
_OF_LEVEL_2: Final = "\n## Of level 2\n"


def rows_of(text: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its first two lines."""
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def requirements_in(text: str) -> list[list[str]]:
    """The rows of a table of requirements: number, what it asks for, where it is met."""
    rows = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]


def numbers_of(level: dict[int, str]) -> list[str]:
    return [f"{chapter}.{number}" for chapter, rest in level.items() for number in rest.split()]


def words_in(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def anchors_of(document: Path) -> set[str]:
    """What a link may name behind ``#``: each heading as GitHub writes it."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    text = document.read_text()
    named = {*_PATH.findall(text), *_SCRIPT.findall(text)}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_of_a_document_leads_to_a_file(document: Path) -> None:
    links = _LINK.findall(document.read_text())
    assert [link for link, _ in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_heading_leads_to_one(document: Path) -> None:
    links = [(link or document.name, heading) for link, heading in _LINK.findall(document.read_text()) if heading]
    assert [link for link in links if link[1] not in anchors_of(document.parent / link[0])] == []


@pytest.mark.parametrize("document", FOR_PEOPLE, ids=lambda path: path.name)
def test_no_document_for_people_has_a_word_that_is_out(document: Path) -> None:
    paragraphs = re.split(r"\n\s*\n|\n(?=[|-] ?)", _CODE.sub("…", document.read_text()))
    found = {text: words for text in paragraphs if (words := words_that_are_out(Shown(document.name, text)))}
    assert found == {}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_a_document_names_is_there(document: Path) -> None:
    named = _TEST.findall(document.read_text())
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in (ROOT / file).read_text()]
    assert missing == []


def test_every_requirement_of_level_1_is_met_somewhere_or_does_not_apply() -> None:
    cells = requirements_in(ASVS.read_text().partition(_OF_LEVEL_2)[0])
    assert [number for number, _, _ in cells] == numbers_of(LEVEL_1)
    unproven = [number for number, _, where in cells if not re.search(r"`|README|does not apply|below", where)]
    assert unproven == []


def test_each_of_level_2_is_met_and_names_a_test() -> None:
    cells = requirements_in(ASVS.read_text().partition(_OF_LEVEL_2)[2])
    assert [number for number, _, _ in cells] == numbers_of(LEVEL_2)
    assert [number for number, _, where in cells if not _TEST.search(where)] == []


def test_every_action_of_the_audit_trail_is_in_the_inventory() -> None:
    inventory = (ROOT / "docs" / "running.md").read_text().partition("\n## Logs\n")[2]
    assert {action.value for action in Action} - words_in(inventory) == set()


def test_every_variable_that_it_names_is_in_the_sample() -> None:
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", ASVS.read_text()))
    assert named - set(_SAMPLE.findall((ROOT / ".env.example").read_text())) == set()


def test_the_readme_explains_every_variable_of_the_sample_once() -> None:
    rows = rows_of((ROOT / "README.md").read_text(), "Settings")
    explained = [name for row in rows for name in re.findall(r"`([A-Z_]+)`", row[0])]
    sample = set(_SAMPLE.findall((ROOT / ".env.example").read_text()))
    in_files = {name for name in sample if name.endswith("_FILE") and name.removesuffix("_FILE") in sample}
    assert sorted(explained) == sorted(sample - in_files)


def test_every_secret_that_may_stand_in_a_file_is_named() -> None:
    text = (ROOT / "docs" / "running.md").read_text()
    assert set(re.findall(r"`([A-Z_]+_FILE)`", text)) == set(FILES)


def test_the_table_of_rooms_is_the_one_that_the_code_is_held_to() -> None:
    rows = rows_of(ARCHITECTURE.read_text(), "The rooms")
    assert {next(iter(words_in(room))): words_in(arrows) for room, _, arrows in rows} == {
        room: set(arrows.split()) for room, arrows in ROOMS.items()
    }


def test_every_state_of_a_queued_email_is_explained() -> None:
    rows = rows_of(ARCHITECTURE.read_text(), "States of a queued email")
    assert {word for row in rows for word in words_in(row[0])} == {state.value for state in State}


def test_every_habit_of_a_server_is_explained() -> None:
    rows = rows_of(ARCHITECTURE.read_text(), "What servers have shown")
    assert {word for row in rows for word in words_in(row[0])} == {habit.name for habit in Habit}
