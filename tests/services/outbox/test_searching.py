"""The mail log is searched by one filter, which an address can hold."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app import create_app
from database import address_key_db
from database.address_key_db import StoredAddressKey
from database.attempt_db import EmailAttempt
from database.engine import db, transaction
from database.mail_facets import key_of
from database.outbox_db import OutboxMail, OutboxName, State
from services import address_key, email_service
from services.outbox import indexing, log, searching
from services.outbox.reasons import Reason
from services.outbox.searching import MailFilter
from tests.mails import attempted, change, in_state
from tests.outbox import row_of
from utils import clock
from utils.errors import Conflict, InvalidInput

MOMENT = datetime(2026, 12, 24, 8, 0, tzinfo=UTC)
SERVER = "Primary (smtp.example.com:587)"


@pytest.fixture
def app(on_either: dict[str, str], tmp_path: object) -> Iterator[Flask]:
    app = create_app(on_either, instance_path=tmp_path)  # type: ignore[arg-type]
    with app.app_context():
        with transaction() as session:
            for table in (EmailAttempt, OutboxMail, OutboxName, StoredAddressKey):
                session.execute(delete(table))
        yield app
        db.engine.dispose()


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        ({}, MailFilter()),
        ({"recipient": " ", "tag": "", "other": "x"}, MailFilter()),
        ({"recipient": "Jane@Example.COM"}, MailFilter(recipient="Jane@example.com")),
        ({"recipient": "@Example.com"}, MailFilter(recipient="example.com")),
        ({"recipient": "bücher.example"}, MailFilter(recipient="xn--bcher-kva.example")),
        ({"message_id": "3f2a@example.com"}, MailFilter(message_id="<3f2a@example.com>")),
        ({"message_id": "<3f2a@example.com>"}, MailFilter(message_id="<3f2a@example.com>")),
        ({"state": "failed, Expired,failed"}, MailFilter(states=(State.FAILED, State.EXPIRED))),
        ({"tag": "order 7", "server": SERVER}, MailFilter(tag="order 7", server=SERVER)),
        ({"account_id": "7", "cause": "no_recipient"}, MailFilter(account_id=7, cause="no_recipient")),
        ({"since": "2026-12-24T08:00"}, MailFilter(since=MOMENT)),
        ({"since": "2026-12-24T09:00:00+01:00"}, MailFilter(since=MOMENT)),
        ({"since": "2026-12-24T08:00Z"}, MailFilter(since=MOMENT)),
        ({"until": "2026-12-23"}, MailFilter(until=MOMENT.replace(hour=0))),
    ],
)
def test_a_filter_is_read_from_arguments_and_written_as_such(args: dict[str, str], wanted: MailFilter) -> None:
    assert searching.parse(args) == wanted
    assert searching.parse(searching.to_args(wanted)) == wanted


@pytest.mark.parametrize(
    "args",
    [
        {"recipient": "a@b@c"},
        {"recipient": "not a domain"},
        {"recipient": "@"},
        {"message_id": "<>"},
        {"message_id": "a\x00b"},
        {"message_id": "x" * 300},
        {"tag": "x" * 65},
        {"tag": "a\x00"},
        {"state": "gone"},
        {"state": "sent,,"},
        {"server": "a\nb"},
        {"account_id": "-1"},
        {"account_id": "0"},
        {"account_id": "٣"},
        {"account_id": "99999999999"},
        {"since": "yesterday"},
        {"since": "0001-01-01T00:00+05:00"},
        {"until": "9999-12-31"},
        {"until": "9999-12-31T23:59-05:00"},
        {"since": "2026-12-24", "until": "2026-12-23"},
        {"cause": "no such cause"},
    ],
)
def test_an_argument_that_cannot_be_read_is_named(args: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        searching.parse(args)
    assert set(refused.value.errors) == {list(args)[-1]}


def make_key() -> None:
    with transaction() as session:
        address_key.find_or_make(session)
    assert address_key.find()


def found(**wanted: Any) -> list[str]:
    """The ids that a filter finds, and that all ways to ask agree on."""
    wants = MailFilter(**wanted)
    mails = [each.id for each in searching.find(wants)[0]]
    assert [mail_id for batch in searching.ids(wants) for mail_id in batch] == mails
    assert searching.count(wants) == len(mails)
    return mails


def test_of_many_mails_no_more_are_counted_than_are_asked_for(app: Flask) -> None:
    for state in (State.SENT, *[State.FAILED] * 4, State.DEFERRED, State.HELD):
        in_state(state)
    assert log.counts_within(2) == {State.DEFERRED: 1, State.HELD: 1, State.FAILED: 3}
    assert log.counts_within(10) == log.counts()
    assert searching.count(MailFilter(states=(State.FAILED,)), 2) == 3


@pytest.mark.parametrize("is_indexed", [True, False])
def test_queued_mail_is_found_by_each_filter_and_by_two(app: Flask, is_indexed: bool) -> None:
    if is_indexed:
        make_key()
    old = in_state(State.SENT, "Jane@Example.com", days_ago=9, tag="order", account_id=7)
    refused = in_state(
        State.FAILED, "bob@example.com", "eve@other.example", reason=Reason.NO_RECIPIENT.value, tag="order"
    )
    detailed = in_state(State.EXPIRED, "eve@sub.example.com", reason=f"{Reason.ACCOUNT_LIMIT}:5 a day")
    attempted(old)
    own = in_state(
        State.SENT,
        "own@example.com",
        days_ago=20,
        message_id="<own@shop.example>",
        message_key=key_of("<own@shop.example>"),
    )
    if not is_indexed:
        change(own, message_key=None)
    assert is_indexed == (row_of(old).recipient_key is not None)
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, [detailed, refused, old, own]),
        ({"recipient": "jane@example.com"}, [old]),
        ({"recipient": "eve@other.example"}, [refused]),
        ({"recipient": "ne@example.com"}, []),
        ({"recipient": "example.com"}, [refused, old, own]),
        ({"recipient": "bob@example.com"}, [refused]),
        ({"recipient": "bob@example.com", "cause": "no_recipient"}, [refused]),
        ({"recipient": "example.com", "tag": "order"}, [refused, old]),
        ({"recipient": "example.com", "states": (State.SENT,)}, [old, own]),
        ({"recipient": "sub.example.com"}, [detailed]),
        ({"message_id": "<own@shop.example>"}, [own]),
        ({"message_id": "<own@shop.example>", "tag": "order"}, []),
        ({"message_id": f"<{old}@example.com>"}, [old]),
        ({"message_id": f"<{old}@example.org>"}, []),
        ({"tag": "order", "account_id": 7}, [old]),
        ({"tag": "order", "server": SERVER}, [old]),
        ({"account_id": 7, "server": SERVER}, [old]),
        ({"account_id": 7, "server": "Other"}, []),
        ({"recipient": "other.example"}, [refused]),
        ({"tag": "order"}, [refused, old]),
        ({"tag": "order", "states": (State.FAILED,)}, [refused]),
        ({"states": (State.FAILED, State.EXPIRED)}, [detailed, refused]),
        ({"states": (State.QUEUED,)}, []),
        ({"account_id": 7}, [old]),
        ({"server": SERVER}, [old]),
        ({"cause": "no_recipient"}, [refused]),
        ({"cause": "account_limit"}, [detailed]),
        ({"since": clock.now() - timedelta(days=1)}, [detailed, refused]),
        ({"until": clock.now() - timedelta(days=1)}, [old, own]),
        ({"until": clock.now() - timedelta(days=1), "states": (State.FAILED,)}, []),
    ]
    for wanted, expected in cases:
        assert found(**wanted) == expected, wanted
    indexing.index_some()
    assert row_of(own).recipient_key is not None
    for wanted, expected in cases:
        assert found(**wanted) == expected, wanted


def test_pages_follow_each_other_and_direct_mail_is_found_likewise(app: Flask) -> None:
    mails = [in_state(State.SENT) for _ in range(5)]
    first, before = searching.find(MailFilter(states=(State.SENT,)), limit=3)
    second, none = searching.find(MailFilter(states=(State.SENT,)), before, limit=3)
    assert [each.id for each in first + second] == mails[::-1]
    assert none is None
    attempted()
    attempted(outcome="permanent", reason=Reason.NO_RECIPIENT.value, server="Other (smtp.example.net:25)")
    attempted(mails[0])
    assert len(searching.direct(MailFilter())[0]) == 2
    for wanted in (
        MailFilter(states=(State.FAILED,)),
        MailFilter(cause="no_recipient"),
        MailFilter(server="Other (smtp.example.net:25)"),
    ):
        assert [each.outcome for each in searching.direct(wanted)[0]] == ["permanent"]
    assert searching.direct(MailFilter(states=(State.HELD,)))[0] == []


def test_what_is_committed_is_found_and_what_is_rolled_back_leaves_nothing(app: Flask) -> None:
    make_key()
    everyone = ["to@example.com", "cc@example.com", "bcc@other.example"]

    def queue(session: Session) -> str:
        to, cc, bcc = everyone
        return email_service.queue_email(to, "Hello", "Hello", cc=cc, bcc=bcc, tag="many", session=session)

    with pytest.raises(RuntimeError), transaction() as session:
        queue(session)
        queue(session)
        session.flush()
        raise RuntimeError
    assert [found(recipient=each) for each in everyone] == [[], [], []]
    with transaction() as session:
        mails = [queue(session), queue(session)]
        assert session.scalar(select(func.count()).select_from(OutboxName)) is not None
    for each in (*everyone, "example.com", "other.example"):
        assert found(recipient=each, tag="many") == mails[::-1]
    for mail_id in mails:
        change(mail_id, state=State.SENT, settled_at=clock.now() - timedelta(days=40))
    assert log.purge(timedelta(days=30)).mails == 2
    with transaction() as session:
        assert session.scalar(select(func.count()).select_from(OutboxName)) == 0


def test_mail_goes_on_while_the_key_is_away_and_the_search_says_so(app: Flask) -> None:
    make_key()
    before = in_state(State.SENT, "jane@example.com")
    with transaction() as session:
        kept = address_key_db.find(session)
        assert kept
        sealed, kept.key_id = kept.key_id, "00000000"
    address_key._read.clear()  # as in a process that has just started
    meanwhile = in_state(State.SENT, "jane@example.com", tag="meanwhile")
    email_service.send_email("jane@example.com", "Hello", "Hello", tag="meanwhile")
    assert indexing.index_some() == 0
    with pytest.raises(Conflict, match="APP_KEY"):
        searching.find(MailFilter(recipient="jane@example.com"))
    assert found(tag="meanwhile") == [meanwhile]
    assert [each.tag for each in searching.direct(MailFilter(tag="meanwhile"))[0]] == ["meanwhile"]
    with transaction() as session:
        kept = address_key_db.find(session)
        assert kept
        kept.key_id = sealed
    assert found(recipient="jane@example.com") == [meanwhile, before]
    assert indexing.index_some() == 2
    assert found(recipient="jane@example.com") == [meanwhile, before]
    assert len(searching.direct(MailFilter(recipient="example.com"))[0]) == 1  # its address is not kept


def test_a_key_that_is_given_up_takes_its_numbers_along(app: Flask) -> None:
    make_key()
    mail_id = in_state(State.SENT, "jane@example.com", "joe@example.com")
    number = row_of(mail_id).domain_key
    with transaction() as session:
        address_key.forget(session)
    assert row_of(mail_id).domain_key is None
    indexing.index_some()
    assert row_of(mail_id).domain_key not in (None, number)
    assert found(recipient="joe@example.com") == [mail_id]


def test_subjects_are_kept_only_where_that_is_asked_for(app: Flask) -> None:
    email_service.queue_email("jane@example.com", "A subject", "Hello")
    email_service.send_order_notification("jane@example.com", {}, tag="order")
    assert [each.subject for each in searching.find(MailFilter())[0]] == [None]
    assert [(each.subject, each.tag) for each in searching.direct(MailFilter())[0]] == [(None, "order")]
