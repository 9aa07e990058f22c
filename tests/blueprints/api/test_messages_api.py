"""`/api/messages`: what became of each mail, as JSON; sending again and cancelling."""

from base64 import b64encode
from typing import Any

from database.outbox_db import IN_HAND, WAITING, State
from tests.mails import BODY, REFUSAL, SUBJECT, attempted, change, in_state, queued
from tests.outbox import row_of
from tests.visitors import Visitor

URL = "/api/messages"


def data(client: Visitor, path: str, bearer: dict[str, str]) -> Any:
    answer = client.get(path, headers=bearer)
    assert answer.status_code == 200, answer.text
    return answer.get_json()["data"]


def ids(client: Visitor, query: str, bearer: dict[str, str]) -> list[str]:
    return [each["id"] for each in data(client, URL + query, bearer)]


def test_a_mail_has_the_id_that_queueing_returned_and_all_that_is_known_of_it(
    client: Visitor, bearer: dict[str, str]
) -> None:
    mail_id = queued("jane@example.com", "joe@example.com", kind="order_notification")
    (mail,) = data(client, URL, bearer)
    moments = {name: mail.pop(name) for name in ("created_at", "due_at", "expires_at")}
    assert all(moment.endswith("+00:00") for moment in moments.values())
    assert mail == {
        "id": mail_id,
        "message_id": f"<{mail_id}@example.com>",
        "kind": "order_notification",
        "priority": "normal",
        "state": "queued",
        "reason": "",
        "recipients": [
            {"address": "jane@example.com", "state": "pending", "code": None, "enhanced": None, "meaning": ""},
            {"address": "joe@example.com", "state": "pending", "code": None, "enhanced": None, "meaning": ""},
        ],
        "attempts": 0,
        "settled_at": None,
        "account_id": None,
        "tag": None,
    }


def test_the_newest_mail_stands_first_and_the_rest_is_reached_page_by_page(
    client: Visitor, bearer: dict[str, str]
) -> None:
    mails = [queued() for _ in range(5)]
    seen, query = [], "?limit=2"
    while True:
        page = client.get(URL + query, headers=bearer).get_json()
        seen += [each["id"] for each in page["data"]]
        if page["next"] is None:
            break
        query = f"?limit=2&before={page['next']}"
    assert seen == mails[::-1]


def test_mails_are_found_by_one_state_or_several(client: Visitor, bearer: dict[str, str]) -> None:
    failed, sent, waiting = in_state(State.FAILED), in_state(State.SENT), queued()
    assert ids(client, "?state=failed", bearer) == [failed]
    assert ids(client, "?state=failed&state=sent", bearer) == [sent, failed]
    assert ids(client, "", bearer) == [waiting, sent, failed]


def test_mails_are_found_by_every_filter_of_the_page(client: Visitor, bearer: dict[str, str]) -> None:
    old = in_state(State.FAILED, "bob@shop.example", days_ago=3, reason="no_recipient", tag="order")
    new = in_state(State.SENT, "jane@example.com", account_id=7)
    attempted(old)
    server = "Primary%20(smtp.example.com:587)"
    for query, found in (
        ("recipient=bob@shop.example", [old]),
        ("recipient=@example.com", [new]),
        (f"message_id=%3C{new}@example.com%3E", [new]),
        ("tag=order&cause=no_recipient", [old]),
        (f"server={server}", [old]),
        ("account_id=7", [new]),
        ("since=2020-01-01&until=2999-01-01T00:00Z", [new, old]),
        ("state=failed,expired", [old]),
        ("until=2020-01-01", []),
    ):
        assert ids(client, f"?{query}", bearer) == found, query
    for name, value in (("recipient", "a@b@c"), ("since", "soon"), ("cause", "bad luck"), ("account_id", "0")):
        for path in ("", "/direct"):
            answer = client.get(f"{URL}{path}?{name}={value}", headers=bearer)
            assert (answer.status_code, list(answer.get_json()["errors"])) == (422, [name])


def test_an_odd_query_is_refused_by_name(client: Visitor, bearer: dict[str, str]) -> None:
    odd = {
        "?state=flying": "state",
        "?state=sent&state=": "state",
        "?limit=0": "limit",
        "?limit=201": "limit",
        "?limit=5&limit=6": "limit",
        "?before=-1": "before",
        "?before=2147483648": "before",
        "?before=%D9%A3": "before",
        "?subject=x": "subject",
    }
    for query, field in odd.items():
        answer = client.get(URL + query, headers=bearer)
        assert (answer.status_code, list(answer.get_json()["errors"])) == (422, [field])


def test_the_log_of_a_mail_has_its_attempts_in_order_with_a_diagnosis(client: Visitor, bearer: dict[str, str]) -> None:
    mail_id = in_state(State.FAILED, reason="Refused.")
    attempted(mail_id, worker="host:1:ab", **REFUSAL)
    attempted(mail_id, ms=7)
    attempted(None)
    first, second = data(client, f"{URL}/{mail_id}", bearer)["attempt_log"]
    assert (first["code"], first["reply"], first["worker"]) == (550, "No such user here", "host:1:ab")
    assert first["diagnosis"]["remedy"]
    assert (second["outcome"], second["ms"], second["diagnosis"]) == ("accepted", 7, None)


def test_what_was_sent_directly_has_a_list_of_its_own(client: Visitor, bearer: dict[str, str]) -> None:
    attempted(queued())
    attempted(None, recipients="a***@example.com")
    attempted(None, recipients="b***@example.com", outcome="not_configured", server="", code=None, reply="")
    page = client.get(f"{URL}/direct?limit=1", headers=bearer).get_json()
    assert [each["recipients"] for each in page["data"]] == ["b***@example.com"]
    assert page["data"][0]["diagnosis"]["title"] == "SMTP not configured"
    older = client.get(f"{URL}/direct?before={page['next']}", headers=bearer).get_json()
    assert ([each["recipients"] for each in older["data"]], older["next"]) == (["a***@example.com"], None)


def test_an_unknown_mail_is_not_found(client: Visitor, bearer: dict[str, str]) -> None:
    for mail_id in ("1", "0" * 32, "g" * 32, "%00" * 32, "0" * 31 + "%0a", "٣" * 32, "x" * 5000):
        for method, more in (("GET", ""), ("POST", "/retry"), ("POST", "/cancel")):
            assert client.open(f"{URL}/{mail_id}{more}", method=method, headers=bearer).status_code == 404


def test_a_mail_that_waits_is_cancelled_for_good(client: Visitor, bearer: dict[str, str]) -> None:
    for state in WAITING:
        mail_id = in_state(state)
        answer = client.post(f"{URL}/{mail_id}/cancel", headers=bearer)
        assert answer.get_json()["data"]["state"] == "cancelled"
        assert row_of(mail_id).content is None
        assert client.post(f"{URL}/{mail_id}/retry", headers=bearer).status_code == 409


def test_it_can_be_too_late_to_cancel(client: Visitor, bearer: dict[str, str]) -> None:
    for state in (*IN_HAND, State.SENT, State.FAILED, State.CANCELLED):
        answer = client.post(f"{URL}/{in_state(state)}/cancel", headers=bearer)
        assert answer.status_code == 409
        assert answer.get_json()["message"].startswith("This email is")


def test_a_dead_letter_is_sent_again_to_whoever_has_not_got_it(client: Visitor, bearer: dict[str, str]) -> None:
    recipients = [
        {"address": "a@example.com", "state": "accepted", "code": 250, "enhanced": None},
        {"address": "b@example.com", "state": "refused", "code": 550, "enhanced": "5.1.1"},
    ]
    mail_id = in_state(State.FAILED, "a@example.com", "b@example.com", recipients=recipients)
    mail = client.post(f"{URL}/{mail_id}/retry", headers=bearer).get_json()["data"]
    assert mail["state"] == "queued"
    assert [each["state"] for each in mail["recipients"]] == ["accepted", "pending"]


def test_what_is_sent_or_on_its_way_is_not_sent_again(client: Visitor, bearer: dict[str, str]) -> None:
    for state in (*IN_HAND, State.SENT):
        assert client.post(f"{URL}/{in_state(state)}/retry", headers=bearer).status_code == 409


def test_neither_subject_nor_content_is_told(client: Visitor, bearer: dict[str, str]) -> None:
    mail_id = queued()
    told = client.get(URL, headers=bearer).text + client.get(f"{URL}/{mail_id}", headers=bearer).text
    sealed = row_of(mail_id).content
    assert sealed is not None
    assert not [word for word in (SUBJECT, BODY, b64encode(sealed).decode(), sealed.hex()) if word in told]


def test_a_reply_that_holds_control_characters_is_one_line(client: Visitor, bearer: dict[str, str]) -> None:
    mail_id = in_state(State.FAILED)
    attempted(mail_id, **{**REFUSAL, "reply": "no\r\n\x1b[31m\u202eway"})
    (attempt,) = data(client, f"{URL}/{mail_id}", bearer)["attempt_log"]
    assert attempt["reply"].isprintable()


def test_a_partial_result_says_who_was_refused(client: Visitor, bearer: dict[str, str]) -> None:
    mail_id = in_state(State.SENT)
    attempted(mail_id, refused=[{"recipient": "b***@example.com", "code": 550, "enhanced": "5.1.1"}])
    change(mail_id, reason="Some recipients were refused.")
    (attempt,) = data(client, f"{URL}/{mail_id}", bearer)["attempt_log"]
    assert attempt["refused"] == [{"recipient": "b***@example.com", "code": 550, "enhanced": "5.1.1"}]


def test_each_recipient_has_its_state_its_codes_and_what_they_mean(client: Visitor, bearer: dict[str, str]) -> None:
    refused = {"address": "joe@example.com", "state": "refused", "code": 550, "enhanced": "5.1.1"}
    waits = {"address": "ann@example.com", "state": "deferred", "code": 452, "enhanced": None}
    odd = {"address": "odd@example.com", "state": "refused", "code": "x", "enhanced": 7}
    accepted = {"address": "jane@example.com", "state": "accepted", "code": 250, "enhanced": "2.0.0"}
    mail_id = in_state(State.DEFERRED, recipients=[refused, waits, odd, accepted])
    answer = client.get(f"/api/messages/{mail_id}", headers=bearer).get_json()
    told = {each["address"]: each for each in answer["data"]["recipients"]}
    assert told["joe@example.com"] == {**refused, "meaning": "The recipient does not exist"}
    assert told["ann@example.com"]["meaning"]
    assert told["odd@example.com"] == {**odd, "code": None, "enhanced": None, "meaning": ""}
    assert told["jane@example.com"]["meaning"] == ""
