"""Whole numbers are read strictly, and in one place."""

import re
from pathlib import Path

import pytest

from utils.numbers import LARGEST, number_or_text, up_to, whole_number

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("7", 7), ("0587", 587), (str(LARGEST), LARGEST)])
def test_ascii_digits_are_a_number(text: str, number: int) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize(
    "text", ["", " 7", "7\n", "-1", "+1", "1_000", "1.0", "1e3", "0x10", "٣", "²", "７", str(LARGEST + 1), "9" * 5000]
)
def test_anything_else_is_none(text: str) -> None:
    assert whole_number(text) is None
    assert number_or_text(text) == text


@pytest.mark.parametrize(("text", "number"), [("0", None), ("1", 1), ("60", 60), ("61", None), ("060", None)])
def test_a_number_outside_of_its_bounds_is_none(text: str, number: int | None) -> None:
    assert whole_number(text, 1, 60) == number


@pytest.mark.parametrize(("number", "told"), [(0, "0"), (9_999, "9,999"), (10_000, "10,000"), (10_001, "10,000+")])
def test_a_number_beyond_the_most_is_told_as_more_than_that(number: int, told: str) -> None:
    assert up_to(number, 10_000) == told


def test_nobody_reads_digits_on_their_own() -> None:
    # Of bytes, or of a group that a pattern found: there digits are ASCII already, or become no number.
    allowed = {"utils/numbers.py", "utils/request_bounds.py", "utils/sendmail.py"} | {
        f"services/{name}.py" for name in ("smtp/tls", "smtp/wire", "diagnosis/retry_hints")
    }
    files = [file for layer in ("blueprints", "services", "database", "utils") for file in (ROOT / layer).rglob("*.py")]
    found = {
        str(file.relative_to(ROOT)) for file in files if re.search(r"\.is(digit|decimal|numeric)\(", file.read_text())
    }
    assert found <= allowed
