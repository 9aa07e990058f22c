"""A server that fails one time after the other is left alone for a while."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from services.delivery.circuit import Circuits, Key

SERVER = Key("config:1", "as-it-is")
MENDED = Key("config:1", "mended")
OTHER = Key("config:2", "as-it-is")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuits(clock: Clock) -> Circuits:
    return Circuits(clock)


def fail(circuits: Circuits, times: int, key: Key = SERVER) -> None:
    for _ in range(times):
        circuits.note_failure(key)


def wait_seconds(circuits: Circuits, key: Key) -> float:
    """How long a mail waits that nothing is known of: 0 for who may go, after a pause as its probe."""
    return circuits.admit(key, ()).wait


def test_five_failures_in_a_row_open_it(circuits: Circuits) -> None:
    fail(circuits, 4)
    assert wait_seconds(circuits, SERVER) == 0
    fail(circuits, 1)
    assert wait_seconds(circuits, SERVER) == 30


def test_a_success_between_starts_the_row_again(circuits: Circuits) -> None:
    fail(circuits, 4)
    circuits.note_success(SERVER)
    fail(circuits, 4)
    assert wait_seconds(circuits, SERVER) == 0


def test_more_than_half_of_the_last_twenty_open_it(circuits: Circuits) -> None:
    for _ in range(5):
        fail(circuits, 2)
        circuits.note_success(SERVER)
    assert wait_seconds(circuits, SERVER) == 0
    fail(circuits, 1)
    assert wait_seconds(circuits, SERVER) == 30


def test_what_lies_more_than_twenty_back_is_forgotten(circuits: Circuits) -> None:
    for _ in range(20):
        circuits.note_failure(SERVER)
        circuits.note_success(SERVER)
    assert wait_seconds(circuits, SERVER) == 0


def test_another_server_is_not_concerned(circuits: Circuits) -> None:
    fail(circuits, 5)
    assert wait_seconds(circuits, OTHER) == 0


def test_after_the_pause_one_goes_and_the_others_wait_for_it(circuits: Circuits, clock: Clock) -> None:
    fail(circuits, 5)
    clock.now += 30
    assert wait_seconds(circuits, SERVER) == 0
    assert wait_seconds(circuits, SERVER) == 5


def test_many_threads_get_one_probe(circuits: Circuits, clock: Clock) -> None:
    fail(circuits, 5)
    clock.now += 30
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(lambda _: wait_seconds(circuits, SERVER), range(200)))
    assert waits.count(0) == 1


def test_a_probe_that_works_closes_it(circuits: Circuits, clock: Clock) -> None:
    fail(circuits, 5)
    clock.now += 30
    wait_seconds(circuits, SERVER)
    circuits.note_success(SERVER)
    assert wait_seconds(circuits, SERVER) == 0
    fail(circuits, 4)
    assert wait_seconds(circuits, SERVER) == 0


def test_each_probe_that_fails_doubles_the_pause_to_a_quarter_of_an_hour(circuits: Circuits, clock: Clock) -> None:
    fail(circuits, 5)
    pauses = []
    for _ in range(50):
        pauses.append(wait_seconds(circuits, SERVER))
        clock.now += pauses[-1]
        assert wait_seconds(circuits, SERVER) == 0
        circuits.note_failure(SERVER)
    assert pauses == [30, 60, 120, 240, 480, *[900] * 45]


def test_a_probe_that_never_tells_is_replaced(circuits: Circuits, clock: Clock) -> None:
    fail(circuits, 5)
    clock.now += 30
    wait_seconds(circuits, SERVER)
    clock.now += 60
    assert wait_seconds(circuits, SERVER) == 0


def test_what_was_under_way_when_it_opened_neither_prolongs_nor_closes_it(circuits: Circuits) -> None:
    fail(circuits, 8)
    circuits.note_success(SERVER)
    assert wait_seconds(circuits, SERVER) == 30


def test_one_refused_login_opens_it_for_long(circuits: Circuits) -> None:
    circuits.note_failure(SERVER, long=True)
    assert wait_seconds(circuits, SERVER) == 900


def test_other_settings_close_it_at_once(circuits: Circuits) -> None:
    circuits.note_failure(SERVER, long=True)
    assert wait_seconds(circuits, MENDED) == 0


def test_late_news_of_the_earlier_settings_change_nothing(circuits: Circuits) -> None:
    wait_seconds(circuits, MENDED)
    circuits.note_failure(SERVER, long=True)
    assert wait_seconds(circuits, MENDED) == 0
    circuits.note_failure(MENDED, long=True)
    circuits.note_success(SERVER)
    assert wait_seconds(circuits, MENDED) == 900


# What may be about one mail.

POISON = 7


def doubt(circuits: Circuits, *mails: int) -> list[bool]:
    return [circuits.note_doubt(SERVER, mail) for mail in mails]


def goes(circuits: Circuits, *mails: int, is_urgent: bool = False) -> set[int]:
    return set(circuits.admit(SERVER, mails, is_urgent=is_urgent).mails)


def test_one_mail_that_meets_it_again_and_again_opens_nothing(circuits: Circuits) -> None:
    assert doubt(circuits, *[POISON] * 50) == [False] * 50
    assert goes(circuits, POISON, 8) == {POISON, 8}


def test_once_another_meets_it_too_it_is_the_servers_and_some_more_open_it(circuits: Circuits) -> None:
    assert doubt(circuits, 1, 2, 3) == [False, True, True]
    assert goes(circuits, 1, 9) == {1, 9}
    doubt(circuits, 4, 5, 6)
    assert goes(circuits, 1, 2) == set()


def test_where_it_is_likely_the_servers_the_first_is_enough_unless_it_has_just_taken_another(
    circuits: Circuits, clock: Clock
) -> None:
    assert circuits.note_doubt(SERVER, 1, is_likely=True)
    circuits.note_success(SERVER)
    assert not circuits.note_doubt(SERVER, 2, is_likely=True)
    circuits.note_success(SERVER)
    clock.now += 601
    assert circuits.note_doubt(SERVER, 3, is_likely=True)


def test_while_it_is_in_doubt_other_mail_is_the_probe_after_half_a_minute(circuits: Circuits, clock: Clock) -> None:
    doubt(circuits, *range(1, 7))
    assert goes(circuits, 1, 9) == set()
    clock.now += 30
    assert goes(circuits, 1, 9) == {9}
    assert goes(circuits, 1, 10) == set()  # one probe at a time
    circuits.note_success(SERVER)
    assert goes(circuits, 1, 10) == {1, 10}


def test_mails_that_met_it_before_do_not_lengthen_the_wait_of_others(circuits: Circuits, clock: Clock) -> None:
    doubt(circuits, *range(1, 7))
    for _ in range(20):
        clock.now += circuits.admit(SERVER, [1]).wait
        assert goes(circuits, 1) == {1}
        doubt(circuits, 1)
    assert circuits.admit(SERVER, [9]).wait <= 30


def test_urgent_mail_is_kept_by_no_doubt_but_by_a_server_that_is_down(circuits: Circuits) -> None:
    doubt(circuits, *range(1, 7))
    assert goes(circuits, 1, is_urgent=True) == {1}
    circuits.note_failure(SERVER, long=True)
    assert goes(circuits, 1, is_urgent=True) == set()


def test_who_met_it_while_others_were_served_speaks_for_nobody_any_more(circuits: Circuits) -> None:
    doubt(circuits, *range(1, 5))
    circuits.note_success(SERVER)
    assert doubt(circuits, *range(1, 5)) == [False] * 4
    assert doubt(circuits, 9, 1, 10) == [False, True, True]


def test_who_waits_less_than_a_second_more_waits_like_all_others(circuits: Circuits, clock: Clock) -> None:
    doubt(circuits, *range(1, 7))
    clock.now += 29.5
    admission = circuits.admit(SERVER, [9])
    assert (set(admission.mails), admission.wait, admission.is_for_all) == (set(), 0.5, True)


def test_those_that_met_a_doubt_wait_for_themselves_and_at_a_server_that_is_down_for_all(circuits: Circuits) -> None:
    doubt(circuits, *range(1, 7))
    assert circuits.admit(SERVER, [1]).is_for_all is False
    circuits.note_failure(SERVER, long=True)
    assert circuits.admit(SERVER, [1]).is_for_all is True


def test_a_failure_that_is_clearly_the_servers_ends_the_doubt(circuits: Circuits) -> None:
    doubt(circuits, *range(1, 7))
    circuits.note_failure(SERVER)
    assert goes(circuits, 1, is_urgent=True) == set()


def test_a_probe_that_met_a_doubt_makes_room_for_the_next(circuits: Circuits, clock: Clock) -> None:
    fail(circuits, 5)
    circuits.note_doubt(SERVER, POISON)
    clock.now += 30
    assert goes(circuits, 8) == {8}
    assert circuits.note_doubt(SERVER, POISON) is False
    assert goes(circuits, 9) == {9}


def test_a_mail_that_is_known_opens_it_for_long_each_time_that_no_other_was_served(circuits: Circuits) -> None:
    assert circuits.note_doubt(SERVER, 1, is_likely=True, long=True)
    assert circuits.note_doubt(SERVER, 1, is_likely=True, long=True)
    assert not circuits.note_doubt(SERVER, 1, is_likely=True)


def test_mails_that_come_back_are_not_counted_again_before_it_is_open(circuits: Circuits) -> None:
    doubt(circuits, 1, 2, *[1, 2] * 50)
    assert goes(circuits, 1, 2) == {1, 2}
    assert wait_seconds(circuits, SERVER) == 0


def test_a_probe_that_never_told_is_replaced_however_long_ago_it_went(circuits: Circuits, clock: Clock) -> None:
    fail(circuits, 5)
    clock.now += 30
    assert wait_seconds(circuits, SERVER) == 0
    clock.now += 75
    assert wait_seconds(circuits, SERVER) == 0


def test_of_very_many_mails_those_that_met_it_last_are_known(circuits: Circuits) -> None:
    doubt(circuits, *range(1000), 0, 1000)
    assert goes(circuits, 0) == set()  # it came back, so it is not the oldest
    assert circuits.admit(SERVER, [0]).is_for_all is False
    assert circuits.admit(SERVER, [1]).is_for_all is True  # forgotten, so that it could tell


def test_while_all_is_well_nobody_waits_for_anybodys_answer(circuits: Circuits) -> None:
    assert [wait_seconds(circuits, SERVER) for _ in range(3)] == [0, 0, 0]
    circuits.note_failure(SERVER, long=True)
    assert [wait_seconds(circuits, MENDED) for _ in range(3)] == [0, 0, 0]


def test_who_waits_for_a_probe_asks_again_when_it_is_given_up(circuits: Circuits, clock: Clock) -> None:
    fail(circuits, 5)
    clock.now += 30
    assert wait_seconds(circuits, SERVER) == 0
    assert wait_seconds(circuits, SERVER) == 5
    clock.now += 57
    assert wait_seconds(circuits, SERVER) == 3


def test_who_met_a_doubt_while_others_were_served_is_no_probe_for_it(circuits: Circuits, clock: Clock) -> None:
    doubt(circuits, POISON)
    circuits.note_success(SERVER)
    doubt(circuits, *range(10, 16))
    clock.now += 30
    assert goes(circuits, POISON, 9) == {9}
