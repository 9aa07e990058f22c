"""Whatever servers say of a mail and its recipients, its row afterwards agrees with it: when, who, and how often."""

from datetime import timedelta
from typing import Final, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from database import outbox_claim_db
from database.engine import driver_transaction, transaction
from database.outbox_claim_db import Claim
from database.outbox_db import OutboxMail, Priority, State
from services.delivery.outcome import Outcome
from services.outbox.reasons import Reason
from services.smtp.transaction import Receipt
from services.smtp.wire import Reply
from services.worker import groups, settling
from services.worker.lease import Pace
from tests.mails import change, queued
from tests.outbox import row_of
from tests.turned_clock import Now
from utils import clock
from utils.errors import DeliveryError, Fault, Misconfigured, OutcomeUnknown, Permanent, Phase, Temporary

ADDRESSES: Final = tuple(f"person{number}@example.com" for number in range(6))
OPEN, CLOSED = ("pending", "deferred"), ("accepted", "refused")
COOL_DOWN: Final = timedelta(minutes=7)
SERVER: Final = "config:1"
OK: Final = Reply(250, "2.0.0", ("Ok: queued",))
BACK_OFF: Final = (1, 5, 15, 30, 60, 120, 120)  # minutes
HOURS_48, HOURS_24 = timedelta(hours=48), timedelta(hours=24)
NEVER: Final = timedelta(days=1000)

properties = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Said(NamedTuple):
    """A reply to RCPT: the wait that it asks for, the age from which it is final, whether it may go again at once."""

    reply: Reply
    asks: timedelta = timedelta(0)
    final_from: timedelta = NEVER
    at_once: bool = False

    def is_final(self, age: timedelta) -> bool:
        return age >= self.final_from


def _said(code: int, enhanced: str | None, text: str, **facts: timedelta | bool) -> Said:
    return Said(Reply(code, enhanced, (text,)), **facts)  # type: ignore[arg-type]


def _asking(minutes: int) -> Said:
    return _said(450, "4.2.0", f"Greylisted, try again in {minutes} minutes", asks=timedelta(minutes=minutes))


TOO_MANY: Final = _said(452, "4.5.3", "Too many recipients", at_once=True)
ASKS: Final = st.integers(1, 20 * 60).map(_asking)
TELLS: Final = st.one_of(
    ASKS,
    st.integers(1, 23).map(
        lambda hours: _said(421, "4.7.0", f"Wait {hours} hours and come back", asks=timedelta(hours=hours))
    ),
    st.integers(1, 90).map(
        lambda minutes: _said(
            452, "4.5.3", f"Too many recipients, retry in {minutes} minutes", asks=timedelta(minutes=minutes)
        )
    ),
    st.sampled_from([
        TOO_MANY,
        _said(451, "4.3.0", "Later, please"),
        _said(452, "4.2.2", "Mailbox is full"),
        _said(450, None, "Greylisted"),
        _said(550, "5.1.1", "No such user", final_from=timedelta(0)),
        _said(550, None, "No", final_from=timedelta(0)),
        _said(552, "5.2.2", "Mailbox is full", final_from=HOURS_48),
        _said(550, "5.7.1", "Blocked by the recipient", final_from=HOURS_24),
    ]),
)  # fmt: skip
AGES: Final = st.sampled_from([timedelta(0), timedelta(hours=1), HOURS_24, timedelta(hours=30), HOURS_48])
TRIED: Final = st.integers(0, 6)


def claimed(
    *recipients: tuple[str, str],
    age: timedelta = timedelta(0),
    tried: int = 0,
    uncertain: int = 0,
    pinned: str | None = None,
) -> Claim:
    """The only mail there is, for these addresses in these states, as a worker claims it."""
    with transaction() as session:
        session.execute(delete(OutboxMail))
    known = [{"address": address, "state": state, "code": None, "enhanced": None} for address, state in recipients]
    mail_id = queued(*(address for address, _ in recipients))
    change(
        mail_id,
        state=State.UNCERTAIN if pinned else State.DEFERRED if tried else State.QUEUED,
        recipients=known,
        created_at=clock.now() - age,
        attempts=tried,
        uncertain=uncertain,
        pinned_to=pinned,
    )
    group = groups.claim_group("test", Pace())
    assert group
    (claim,) = group.claims
    return claim


def settled(claim: Claim, outcome: Outcome, *, is_about_it: bool = False) -> OutboxMail:
    """The mail's row once this outcome is written into it."""
    result = settling.after(claim, outcome, SERVER, clock.now(), COOL_DOWN, is_about_it=is_about_it)
    with driver_transaction() as driver:
        outbox_claim_db.settle(driver, [result])
    return row_of(claim.mail_id)


def taken(told: dict[str, Said | None]) -> Outcome:
    """The server took the mail for those of whom it said nothing else."""
    accepted = tuple(address for address, said in told.items() if said is None)
    refused = {address: said.reply for address, said in told.items() if said}
    return Outcome(
        kind="accepted", message="", ms=1, receipt=Receipt(reply=OK, refused=refused, accepted=accepted, ms=1)
    )


def failed(error: DeliveryError) -> Outcome:
    return Outcome(kind=error.outcome, message="", ms=1, error=error)


def all_refused(told: dict[str, Said]) -> Outcome:
    """The server refused every recipient, as the client reports it: for the first of those that may yet be taken."""
    replies = {address: said.reply for address, said in told.items()}
    first = next((reply for reply in replies.values() if reply.code < 500), next(iter(replies.values())))
    kind = Temporary if first.code < 500 else Permanent
    error = kind(Phase.RECIPIENT, Fault.REPLY, first.text, code=first.code, enhanced=first.enhanced)
    error.refused = replies
    return failed(error)


def states(row: OutboxMail) -> dict[str, str]:
    return {recipient["address"]: str(recipient["state"]) for recipient in row.recipients}


def wait_of(row: OutboxMail, now: Now) -> timedelta:
    return row.due_at - now()


# When.


@properties
@given(told=st.lists(st.none() | TELLS, min_size=1, max_size=6), age=AGES, tried=TRIED)
def test_a_mail_is_due_no_sooner_than_each_waiting_recipients_server_asked_for(
    now: Now, told: list[Said | None], age: timedelta, tried: int
) -> None:
    said = dict(zip(ADDRESSES, told, strict=False))
    claim = claimed(*((address, "pending") for address in said), age=age, tried=tried)
    row = settled(claim, taken({**said, ADDRESSES[0]: None}))
    waiting = [each for address, each in said.items() if each and address != ADDRESSES[0] and not each.is_final(age)]
    if not waiting:
        assert row.state == State.SENT
        return
    assert row.state == State.DEFERRED
    for each in waiting:
        assert row.due_at >= now() + each.asks
    if all(each.at_once for each in waiting):
        assert row.due_at == now()
    else:
        assert wait_of(row, now) >= timedelta(minutes=BACK_OFF[tried]) * 0.8


@properties
@given(told=st.lists(TELLS, min_size=1, max_size=6), tried=TRIED)
def test_where_all_were_refused_for_now_the_mail_waits_as_long_as_any_server_asked(
    now: Now, told: list[Said], tried: int
) -> None:
    said = dict(zip(ADDRESSES, told, strict=False))
    row = settled(claimed(*((address, "pending") for address in said), tried=tried), all_refused(said))
    for address, each in said.items():
        if states(row)[address] in OPEN:
            assert row.due_at >= now() + each.asks
    if row.state == State.DEFERRED:
        assert wait_of(row, now) >= timedelta(seconds=30)  # at once would be for ever


@pytest.mark.parametrize("hours", [1, 3, 12])
def test_one_recipients_long_wait_holds_the_mail_though_another_asked_for_a_short_one(now: Now, hours: int) -> None:
    told = {ADDRESSES[0]: None, ADDRESSES[1]: _asking(1), ADDRESSES[2]: _asking(60 * hours)}
    row = settled(claimed(*((address, "pending") for address in told)), taken(told))
    assert wait_of(row, now) == timedelta(hours=hours)


def test_recipients_too_many_for_one_transaction_go_at_once_only_where_nobody_else_waits(now: Now) -> None:
    alone = {ADDRESSES[0]: None, ADDRESSES[1]: TOO_MANY, ADDRESSES[2]: TOO_MANY}
    assert wait_of(settled(claimed(*((address, "pending") for address in alone)), taken(alone)), now) == timedelta(0)
    for other in (_asking(90), _said(450, None, "Greylisted")):
        told = {**alone, ADDRESSES[3]: other}
        row = settled(claimed(*((address, "pending") for address in told)), taken(told))
        assert wait_of(row, now) >= max(other.asks, timedelta(minutes=5))


@pytest.mark.parametrize("state", ["pending", "deferred"])
def test_a_recipient_whom_no_answer_names_is_asked_for_at_once_and_not_taken_for_sent(now: Now, state: str) -> None:
    row = settled(claimed((ADDRESSES[0], "pending"), (ADDRESSES[1], state)), taken({ADDRESSES[0]: None}))
    assert (row.state, row.due_at) == (State.DEFERRED, now())
    assert states(row) == {ADDRESSES[0]: "accepted", ADDRESSES[1]: state}


def test_a_recipient_refused_for_good_does_not_hold_up_those_too_many_for_one_transaction(now: Now) -> None:
    nobody = _said(550, "5.1.1", "No such user")
    told = {ADDRESSES[0]: None, ADDRESSES[1]: nobody, ADDRESSES[2]: TOO_MANY}
    row = settled(claimed(*((address, "pending") for address in told)), taken(told))
    assert (row.state, row.due_at) == (State.DEFERRED, now())


@pytest.mark.parametrize(
    ("error", "least"),
    [
        (Temporary(Phase.SENDER, Fault.REPLY, "Daily sending quota exceeded", code=452), timedelta(hours=1)),
        (Temporary(Phase.SENDER, Fault.REPLY, "Hourly quota reached", code=451, enhanced="4.7.0"), timedelta(hours=1)),
        (Permanent(Phase.MESSAGE, Fault.REPLY, "Daily limit", code=550, enhanced="5.4.5"), timedelta(hours=1)),
        (Temporary(Phase.SENDER, Fault.REPLY, "No room", code=452, enhanced="4.3.1"), timedelta(minutes=5)),
        (Temporary(Phase.SENDER, Fault.REPLY, "No room, try in 9 minutes again", code=452, enhanced="4.3.1"),
         timedelta(minutes=9)),
        (Temporary(Phase.SENDER, Fault.REPLY, "Closing", code=421), timedelta(minutes=1)),
        (Temporary(Phase.CONNECT, Fault.REFUSED), timedelta(minutes=1)),
        (Temporary(Phase.GREETING, Fault.REPLY, "Too many connections", code=421), timedelta(seconds=30)),
    ],
)  # fmt: skip
def test_a_mail_waits_uncharged_as_long_as_its_server_needs(now: Now, error: DeliveryError, least: timedelta) -> None:
    row = settled(claimed((ADDRESSES[0], "pending"), tried=2), failed(error))
    assert (row.state, row.attempts, wait_of(row, now)) == (State.DEFERRED, 2, least)
    assert states(row) == {ADDRESSES[0]: "pending"}


@pytest.mark.parametrize("tried", range(7))
def test_a_mail_that_the_server_does_not_take_just_now_backs_off(now: Now, tried: int) -> None:
    error = Temporary(Phase.MESSAGE, Fault.REPLY, "Later", code=451, enhanced="4.3.0")
    row = settled(claimed((ADDRESSES[0], "pending"), tried=tried), failed(error))
    step = timedelta(minutes=BACK_OFF[tried])
    assert (row.state, row.attempts) == (State.DEFERRED, tried + 1)
    assert step * 0.8 <= wait_of(row, now) <= step * 1.2


def test_waits_are_spread_to_both_sides_so_that_mails_do_not_come_back_together(now: Now) -> None:
    error = Temporary(Phase.MESSAGE, Fault.REPLY, "Later", code=451, enhanced="4.3.0")
    waits = {wait_of(settled(claimed((ADDRESSES[0], "pending")), failed(error)), now) for _ in range(40)}
    assert min(waits) < timedelta(minutes=1) < max(waits)


# Who.


@properties
@given(
    before=st.lists(st.sampled_from([*OPEN, *CLOSED]), min_size=1, max_size=6),
    told=st.lists(st.none() | TELLS, min_size=6, max_size=6),
    age=AGES,
    tried=TRIED,
)
def test_each_recipient_stays_once_in_its_place_and_in_the_state_that_the_server_left_it(
    now: Now, before: list[str], told: list[Said | None], age: timedelta, tried: int
) -> None:
    known = dict(zip(ADDRESSES, ["pending", *before], strict=False))
    claim = claimed(*known.items(), age=age, tried=tried)
    asked = {address: said for address, said in zip(ADDRESSES, told, strict=True) if known.get(address) in OPEN}
    assert settling.pending(claim) == tuple(asked)
    row = settled(claim, taken({**asked, ADDRESSES[0]: None}))
    expected = dict(known)
    for address, said in {**asked, ADDRESSES[0]: None}.items():
        expected[address] = "accepted" if said is None else "refused" if said.is_final(age) else "deferred"
    assert [recipient["address"] for recipient in row.recipients] == list(known)
    assert states(row) == expected
    is_waiting = any(state in OPEN for state in expected.values())
    assert row.state == (State.DEFERRED if is_waiting else State.SENT)
    assert (row.settled_at is None) is is_waiting
    assert (row.content is None) is not is_waiting


@properties
@given(told=st.lists(TELLS, min_size=2, max_size=6), age=AGES)
def test_where_all_were_refused_those_refused_for_good_are_and_the_others_wait(
    now: Now, told: list[Said], age: timedelta
) -> None:
    said = dict(zip(ADDRESSES, told, strict=False))
    is_final = {address: each.is_final(age) for address, each in said.items()}
    row = settled(claimed(*((address, "pending") for address in said), age=age), all_refused(said))
    assert list(states(row)) == list(said)
    if all(is_final.values()):
        assert row.state == State.FAILED
        assert set(states(row).values()) == {"refused"}
    elif row.attempts:  # else it was the server's fault, and nothing is said of a recipient
        assert row.state == State.DEFERRED
        assert {address: state == "refused" for address, state in states(row).items()} == is_final


def test_what_the_server_said_of_each_recipient_is_kept_with_it(now: Now) -> None:
    told = {ADDRESSES[0]: None, ADDRESSES[1]: _said(550, "5.1.1", "No such user"), ADDRESSES[2]: _asking(5)}
    row = settled(claimed(*((address, "pending") for address in told)), taken(told))
    assert [(each["code"], each["enhanced"]) for each in row.recipients] == [
        (250, "2.0.0"),
        (550, "5.1.1"),
        (450, "4.2.0"),
    ]


def test_a_refusal_of_the_message_is_each_waiting_recipients_and_no_others(now: Now) -> None:
    claim = claimed((ADDRESSES[0], "accepted"), (ADDRESSES[1], "deferred"), (ADDRESSES[2], "pending"), tried=1)
    row = settled(claim, failed(Permanent(Phase.MESSAGE, Fault.REPLY, "Spam", code=554, enhanced="5.7.1")))
    assert states(row) == dict(zip(ADDRESSES, ["accepted", "refused", "refused"], strict=False))
    assert row.state == State.SENT  # to whom it was
    assert [each["code"] for each in row.recipients] == [None, 554, 554]


# How often.

ERRORS: Final = st.sampled_from([
    (Temporary(Phase.MESSAGE, Fault.REPLY, "Later", code=451, enhanced="4.3.0"), 1, 0),
    (Temporary(Phase.DATA, Fault.CLOSED), 1, 0),
    (Permanent(Phase.MESSAGE, Fault.REPLY, "Spam", code=554, enhanced="5.7.1"), 1, 0),
    (Permanent(Phase.SENDER, Fault.REPLY, "No", code=550, enhanced="5.1.8"), 1, 0),
    (OutcomeUnknown(Phase.MESSAGE, Fault.CLOSED, may_have_been_sent=True), 1, 1),
    (OutcomeUnknown(Phase.MESSAGE, Fault.TIMEOUT, may_have_been_sent=True), 1, 1),
    (Temporary(Phase.CONNECT, Fault.REFUSED), 0, 0),
    (Temporary(Phase.SENDER, Fault.REPLY, "Closing", code=421), 0, 0),
    (Misconfigured(Phase.SIGN_IN, Fault.REPLY, "Bad password", code=535, enhanced="5.7.8"), 0, 0),
    (Temporary(Phase.SENDER, Fault.REPLY, "Daily sending quota exceeded", code=452), 0, 0),
])  # fmt: skip


@properties
@given(case=ERRORS, tried=TRIED, uncertain=st.integers(0, 2))
def test_an_attempt_is_charged_unless_the_server_was_at_fault_and_a_doubt_is_counted_once(
    now: Now, case: tuple[DeliveryError, int, int], tried: int, uncertain: int
) -> None:
    error, charge, doubt = case
    pinned = SERVER if uncertain else None
    row = settled(claimed((ADDRESSES[0], "pending"), tried=tried, uncertain=uncertain, pinned=pinned), failed(error))
    assert (row.attempts, row.uncertain) == (tried + charge, uncertain + doubt)
    if row.state in (State.DEFERRED, State.UNCERTAIN):
        assert row.due_at > now()
        assert states(row)[ADDRESSES[0]] in OPEN
    if doubt and row.uncertain < 3:
        assert (row.state, row.pinned_to, wait_of(row, now)) == (State.UNCERTAIN, SERVER, COOL_DOWN)
    if doubt and row.uncertain >= 3:
        assert (row.state, row.pinned_to, row.settled_at) == (State.FAILED, None, now())
        assert row.reason == Reason.UNKNOWN_FATE
    if not charge:
        assert row.state == (State.UNCERTAIN if pinned else State.DEFERRED)  # goes back to none but that server
        assert row.pinned_to == pinned


@pytest.mark.parametrize("priority", list(Priority))
def test_a_dead_letter_keeps_its_content_unless_it_is_a_link_that_must_not_lie_around(
    now: Now, priority: Priority
) -> None:
    claim = claimed((ADDRESSES[0], "pending"))
    change(claim.mail_id, state=State.DEFERRED, priority=priority, lease_token=None)
    group = groups.claim_group("test", Pace())
    assert group
    row = settled(group.claims[0], failed(Permanent(Phase.MESSAGE, Fault.REPLY, "Spam", code=554)))
    assert row.state == State.FAILED
    assert (row.content is None) is (priority == Priority.SECURITY)


# What is about this mail alone, since the server serves others.


def test_a_doubt_of_which_nobody_knows_whose_it_is_is_not_charged(now: Now) -> None:
    claim, error = claimed((ADDRESSES[0], "pending"), tried=1), Temporary(Phase.SENDER, Fault.REPLY, "Bye", code=421)
    told = settling.after(claim, failed(error), SERVER, clock.now(), COOL_DOWN)
    assert (told.state, told.attempts) == (State.DEFERRED, 1)


def test_a_doubt_that_is_about_this_mail_is_charged(now: Now) -> None:
    error = Temporary(Phase.SENDER, Fault.REPLY, "Closing", code=421)
    row = settled(claimed((ADDRESSES[0], "pending"), tried=1), failed(error), is_about_it=True)
    assert (row.state, row.attempts) == (State.DEFERRED, 2)


@pytest.mark.parametrize(("age", "state"), [(timedelta(hours=23), State.DEFERRED), (HOURS_24, State.FAILED)])
def test_a_recipient_that_a_server_refuses_as_relay_while_it_serves_others_is_given_up_after_a_day(
    now: Now, age: timedelta, state: State
) -> None:
    said = {ADDRESSES[0]: _said(554, "5.7.1", "Relay access denied")}
    row = settled(claimed((ADDRESSES[0], "pending"), age=age), all_refused(said), is_about_it=True)
    assert (row.state, row.attempts) == (state, 1)


def test_a_group_that_was_cut_short_goes_on_at_once_uncharged(now: Now) -> None:
    claim = claimed((ADDRESSES[0], "pending"), tried=3)
    with driver_transaction() as driver:
        outbox_claim_db.settle(driver, [settling.given_back(claim, clock.now())])
    row = row_of(claim.mail_id)
    assert (row.state, row.attempts, row.due_at) == (State.DEFERRED, 3, now())


def test_a_mail_whose_time_is_over_is_not_charged_for_the_claim(now: Now) -> None:
    claim = claimed((ADDRESSES[0], "pending"), tried=3)
    change(claim.mail_id, expires_at=clock.now(), state=State.DEFERRED, lease_token=None, attempts=3)
    group = groups.claim_group("test", Pace())
    assert group
    groups.work_off(group, Pace())
    row = row_of(claim.mail_id)
    assert (row.state, row.attempts, row.settled_at) == (State.EXPIRED, 3, now())
