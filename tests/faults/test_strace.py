"""Whoever is told of a write before it is on the disk is found: planted traces of threads."""

from tests.strace import SYNCS, WRITES, Call, told

ANSWER, REFUSAL = ("HTTP/1.1 2",), ("HTTP/1.1 5",)
SYNC = SYNCS.partition(",")[0]


def call(name: str, file: str = "/a/test.db-wal", said: str = "", *, worked: bool = True) -> Call:
    return Call(name=name, file=file, said=said, worked=worked)


WRITE, SYNCED, FAILED = call(WRITES), call(SYNC), call(SYNC, worked=False)
OTHER_SYNCED = call(SYNC, "/a/test.db")
YES, NO = (call("sendto", "socket:[1]", f"HTTP/1.1 {status}") for status in ("200 OK", "503 Service Unavailable"))


def too_early(*calls: Call) -> int:
    return len(told(calls, ANSWER, REFUSAL).too_early)


def test_an_answer_after_the_log_is_synced_is_in_time() -> None:
    found = told([WRITE, WRITE, SYNCED, YES], ANSWER, REFUSAL)
    assert (found.in_time, found.too_early) == (1, [])


def test_an_answer_without_a_sync_after_the_last_write_is_too_early() -> None:
    assert too_early(WRITE, YES) == 1
    assert too_early(WRITE, SYNCED, WRITE, YES) == 1


def test_a_sync_that_fails_or_of_another_file_is_none() -> None:
    assert too_early(WRITE, FAILED, YES) == 1
    assert too_early(WRITE, OTHER_SYNCED, YES) == 1


def test_what_was_refused_need_not_be_on_the_disk() -> None:
    assert too_early(WRITE, FAILED, NO, YES) == 0


def test_an_answer_to_what_wrote_nothing_does_not_count() -> None:
    assert told([WRITE, SYNCED, YES, YES], ANSWER, REFUSAL).in_time == 1
