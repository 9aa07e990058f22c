"""docs/embedding.md: what it shows of a file is in that file, everything else that it shows in Python runs."""

import re
from pathlib import Path
from typing import Final

import pytest
from flask import Flask

from services.message import recording
from tests.running import ROOT

PAGE: Final = ROOT / "docs" / "embedding.md"
BLOCKS: Final = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
SHOWN: Final = [block for block in BLOCKS if block.startswith("# examples/")]
RUN: Final = [block for block in BLOCKS if block not in SHOWN]


def test_a_file_of_the_examples_is_shown_as_it_is() -> None:
    for block in SHOWN:
        name, _, code = block.partition("\n")
        assert (ROOT / name.removeprefix("# ")).read_text() == code
    assert SHOWN


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.splitlines()[-1][:40])
def test_what_is_shown_runs(block: str, guest: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with recording.record_messages() as recorded:
        exec(block, names)
    assert len(recorded) == block.count("    queue_email(")
    if "application" in names:
        assert callable(names["application"])


def test_every_file_of_the_examples_is_on_the_page_and_run_by_a_test() -> None:
    files = [path for path in (ROOT / "examples").rglob("*.py") if path.name != "__init__.py"]
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "examples").glob("test_*.py"))
    page = PAGE.read_text()
    for path in files:
        if path.parent.name != "migrations":  # which those of the shop run
            assert str(path.relative_to(ROOT)) in page
            assert path.stem in tests
