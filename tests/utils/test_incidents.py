"""What nobody foresaw leaves its class and its way through the code in the log, and no value of the moment."""

import threading
from collections.abc import Callable

import pytest

from tests.reported import reported
from utils import incidents
from utils.errors import Conflict
from utils.log_utils import Redactor

SECRET = "canary-7f3a91c4"


def raised(work: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:
        work()
    return caught.value


def told(error: BaseException) -> dict[str, object]:
    with reported() as lines:
        reference = incidents.report("something_broke", error, mails=["m1", "m2"])
    line = lines.get_nowait()
    assert line["reference"] == reference
    return line


def stumble(password: str) -> None:
    raise ValueError(f"cannot use {password}")  # canary in the source: canary-7f3a91c4


def with_cause() -> None:
    try:
        stumble(SECRET)
    except ValueError as error:
        raise RuntimeError(SECRET) from error


def with_context() -> None:
    try:
        stumble(SECRET)
    finally:
        raise KeyError(SECRET)


def on_the_quiet() -> None:
    try:
        stumble(SECRET)
    except ValueError:
        raise LookupError(SECRET) from None


def endless(depth: int = 0) -> int:
    return endless(depth + 1)


def in_a_circle() -> None:
    first, second = ValueError(SECRET), KeyError(SECRET)
    first.__cause__, second.__cause__ = second, first
    raise first


def with_notes() -> None:
    error = ValueError(SECRET)
    error.add_note(SECRET)
    raise error


def oddly_named() -> None:
    raise type(f"Odd\n{'x' * 500}", (Exception,), {})(SECRET)


@pytest.mark.parametrize(
    "work",
    [
        lambda: stumble(SECRET),
        with_cause,
        with_context,
        on_the_quiet,
        endless,
        in_a_circle,
        with_notes,
        oddly_named,
        lambda: int(SECRET),
        lambda: {"a": 1}[SECRET],
        lambda: SECRET.encode().decode("utf-16"),
        lambda: Redactor([5, SECRET]),  # type: ignore[list-item]
    ],
)
def test_neither_message_nor_source_nor_variables_are_told(work: Callable[[], object]) -> None:
    line = told(raised(work))
    assert "canary" not in str(line)
    assert line["mails"] == ["m1", "m2"]
    assert isinstance(line["traceback"], list)
    assert len(line["traceback"]) < 100
    assert all("\n" not in each and len(each) <= 200 for each in line["traceback"])


def test_the_way_is_told_frame_by_frame_without_the_folders_of_the_machine() -> None:
    way = told(raised(lambda: stumble(SECRET)))["traceback"]
    assert isinstance(way, list)
    assert way[0] == "ValueError:"
    assert way[-1].startswith("tests/utils/test_incidents.py:")
    assert way[-1].endswith(" in stumble")
    assert not any(each.startswith("/") for each in way)


def test_what_led_to_it_is_told_first() -> None:
    for work, classes in ((with_cause, ["ValueError:", "RuntimeError:"]), (with_context, ["ValueError:", "KeyError:"])):
        way = told(raised(work))["traceback"]
        assert isinstance(way, list)
        assert [each for each in way if each.endswith(":")] == classes


def test_what_was_left_behind_on_purpose_is_not_told() -> None:
    assert "ValueError" not in str(told(raised(on_the_quiet))["traceback"])


def test_an_endless_recursion_is_cut_short() -> None:
    assert "more …" in str(told(raised(endless))["traceback"])


def test_the_last_place_of_ours_is_told_apart() -> None:
    line = told(raised(lambda: Redactor([5, SECRET])))  # type: ignore[list-item]
    assert str(line["where"]).startswith("utils/log_utils.py:")


def test_what_an_error_of_ours_says_is_told() -> None:
    def refuse() -> None:
        raise Conflict("Someone else saved a change.")

    assert told(raised(refuse))["said"] == "Someone else saved a change."


def test_an_error_that_was_never_raised_is_told_by_its_class() -> None:
    line = told(ZeroDivisionError(SECRET))
    assert (line["kind"], line["where"]) == ("ZeroDivisionError", "elsewhere")
    assert line["traceback"] == ["ZeroDivisionError:"]


def test_what_breaks_a_thread_is_reported_and_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with reported() as lines:
        thread = threading.Thread(target=incidents.watched(lambda: stumble(SECRET)), name="some-thread")
        thread.start()
        thread.join()
    line = lines.get_nowait()
    assert (line["event"], line["thread"], line["kind"]) == ("thread_broken", "some-thread", "ValueError")
    assert "canary" not in "".join(capfd.readouterr())
