"""The checker that says that nothing was lost finds what is lost: losses and copies that were planted."""

from typing import Any

from tests.faults.checker import Promises, Row, Verdict, judge
from tests.faults.sink import Event

ALL = ["a@example.com", "b@example.com", "c@example.com"]
PROMISES = Promises(asked={*ALL, "d@example.com"}, promised={f"id-of-{address}": [address] for address in ALL})
SENT = [
    Row(
        mail_id=f"id-of-{address}",
        message_id=f"<{address}>",
        state="sent",
        reason="",
        recipients={address: "accepted"},
    )
    for address in ALL
]


def taken(address: str, event: Event = Event.TAKEN, message_id: str = "") -> dict[str, Any]:
    return {"event": event, "id": message_id or f"<{address}>", "to": [address]}


LEDGER = [taken(address) for address in ALL]


def verdict(ledger: list[dict[str, Any]], table: list[Row] | None = None, bound: int = 0) -> Verdict:
    return judge(PROMISES, SENT if table is None else table, ledger, bound=bound)


def test_all_that_was_promised_and_came_once_is_well() -> None:
    assert verdict(LEDGER).complaints == {}


def test_a_planted_loss_is_found() -> None:
    found = verdict(LEDGER[1:])
    assert found.lost == {ALL[0]}
    assert "lost" in found.complaints


def test_a_planted_duplicate_is_found() -> None:
    found = verdict([*LEDGER, LEDGER[0]])
    assert found.duplicates == 1
    assert "duplicates" in found.complaints


def test_a_duplicate_is_explained_by_a_fault_or_by_an_answer_that_never_came() -> None:
    assert verdict([*LEDGER, LEDGER[0]], bound=1).complaints == {}
    assert verdict([taken(ALL[0], Event.UNTOLD), *LEDGER]).complaints == {}


def test_a_fourth_copy_is_too_many_whatever_the_faults() -> None:
    found = verdict(LEDGER + 3 * [LEDGER[0]], bound=10)
    assert found.complaints == {"copies": 4}


def test_a_mail_that_nobody_asked_for_is_found() -> None:
    assert verdict([*LEDGER, taken("e@example.com")]).complaints == {"unexpected": ["e@example.com"]}


def test_a_mail_whose_promise_the_caller_did_not_live_to_hear_may_arrive() -> None:
    assert verdict([*LEDGER, taken("d@example.com")]).complaints == {}


def test_a_promise_without_a_row_is_found() -> None:
    assert verdict(LEDGER, SENT[1:]).complaints == {"untrue": ["id-of-a@example.com"]}


def test_a_row_that_is_left_over_is_found() -> None:
    left = Row(**{**vars(SENT[0]), "state": "transmitting", "recipients": {ALL[0]: "pending"}})
    assert verdict(LEDGER, [left, *SENT[1:]]).complaints == {"stuck": ["id-of-a@example.com"]}


def test_a_mail_that_is_sent_in_the_table_only_is_found() -> None:
    found = verdict(LEDGER[1:])
    assert found.untrue == {"a@example.com: accepted, and never arrived"}


def test_a_mail_that_the_server_refused_for_good_is_not_lost() -> None:
    refused = Row(
        **{**vars(SENT[0]), "state": "failed", "reason": "Message refused", "recipients": {ALL[0]: "refused"}}
    )
    assert verdict([taken(ALL[0], Event.REFUSED), *LEDGER[1:]], [refused, *SENT[1:]]).complaints == {}


def test_a_refusal_that_the_server_did_not_speak_is_found() -> None:
    refused = Row(
        **{**vars(SENT[0]), "state": "failed", "reason": "Message refused", "recipients": {ALL[0]: "refused"}}
    )
    found = verdict(LEDGER[1:], [refused, *SENT[1:]])
    assert found.lost == {ALL[0]}
    assert "a@example.com: refused, but not by the server" in found.untrue


def test_a_retry_with_another_message_id_is_found() -> None:
    again = taken(ALL[0], message_id="<another>")
    assert verdict([*LEDGER, again], bound=1).complaints == {"untrue": ["a@example.com: another Message-ID"]}
