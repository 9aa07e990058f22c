"""The changelog: a heading for each version, the newest first, which is the one that this code says it is."""

import re
from datetime import date

from tests.running import ROOT
from utils.version import VERSION

HEADINGS = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_its_newest_version_is_that_of_the_code() -> None:
    assert HEADINGS[0].partition(", ")[0] == VERSION


def test_every_version_but_the_newest_has_its_day_and_they_are_in_order() -> None:
    versions = [tuple(map(int, heading.partition(", ")[0].split("."))) for heading in HEADINGS]
    days = [date.fromisoformat(heading.partition(", ")[2]) for heading in HEADINGS[1:]]
    assert versions == sorted(versions, reverse=True)
    assert days == sorted(days, reverse=True)


def test_the_version_is_said_in_one_place() -> None:
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()
