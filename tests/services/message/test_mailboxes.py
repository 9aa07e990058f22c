"""To, Cc and Reply-To: names beside addresses, several of them, or nobody at all."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.message.draft import Sender, serialise
from tests.services.message.test_composing import SENDER, make, read, sent
from tests.utils.hostile_addresses import SEVERAL, SMUGGLED

NAMED = '"Näme, Quoted" <a@example.com>'


@pytest.mark.parametrize("field", ["to", "cc", "reply_to"])
@pytest.mark.parametrize("as_list", [False, True])
def test_an_address_may_have_a_name(field: str, as_list: bool) -> None:
    asked: dict[str, Any] = {field: [NAMED] if as_list else NAMED}
    message = sent(**asked)
    (address,) = message[{"to": "To", "cc": "Cc", "reply_to": "Reply-To"}[field]].addresses
    assert (address.display_name, address.addr_spec) == ("Näme, Quoted", "a@example.com")


def test_a_name_is_no_part_of_the_envelope() -> None:
    made = make(to=NAMED, cc=["Bob <b@example.com>"], bcc='"Hidden, Carol" <c@example.com>')
    assert made.recipients == ("a@example.com", "b@example.com", "c@example.com")
    assert b"Carol" not in serialise(made, SENDER)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Jane Doe <a@example.com>", "Jane Doe"),
        ('"Doe, Jane" <a@example.com>', "Doe, Jane"),
        ('"say \\"hi\\" \\\\" <a@example.com>', 'say "hi" \\'),
        ("株式会社 🚀 <a@example.com>", "株式会社 🚀"),
        ("O'Brien <a@example.com>", "O'Brien"),
        ("J. R. <a@example.com>", "J. R."),
        ('"b@other.example" <a@example.com>', "b@other.example"),
        ("=?utf-8?q?x?= <a@example.com>", "=?utf-8?q?x?="),
        ("two  spaces <a@example.com>", "two  spaces"),
        ("<a@example.com>", ""),
        ("  Jane <a@example.com> ", "Jane"),
    ],
)
def test_a_name_reads_back_as_it_was_meant(text: str, name: str) -> None:
    (address,) = sent(to=text)["To"].addresses
    assert (address.display_name, address.addr_spec) == (name, "a@example.com")


@pytest.mark.parametrize("field", ["to_email", "cc", "bcc", "reply_to"])
@pytest.mark.parametrize(
    "text",
    [
        "Doe, Jane <a@example.com>",
        "a@x.example, Bob <b@example.com>",
        "Jane <a@x.example>, Bob <b@example.com>",
        '"Jane" <a@x.example>, "Bob" <b@example.com>',
        "a@x.example <b@example.com>",
        "Jane <>",
        "Jane <a@example.com> x",
        "Jane\r\nBcc: e@e.example <a@example.com>",
        "Jane\x00 <a@example.com>",
        "Jane\u202e <a@example.com>",
        'Jane" <a@example.com>',
        "Group: a@x.example; <a@example.com>",
        f"{'n' * 256} <a@example.com>",
        *SEVERAL,
        *SMUGGLED,
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_what_could_be_read_in_two_ways_is_the_callers_mistake(field: str, text: str) -> None:
    asked: dict[str, Any] = {"to": text} if field == "to_email" else {field: text}
    with pytest.raises(ValueError, match=f"^{field}: "):
        make(**asked)


def test_an_address_that_is_named_twice_keeps_its_first_name() -> None:
    message = sent(to=["Jane <a@example.com>", "J. <a@EXAMPLE.com>", "a@example.com"])
    assert [str(address) for address in message["To"].addresses] == ["Jane <a@example.com>"]


def test_dots_at_odd_places_are_quoted_in_the_header_and_bare_in_the_envelope() -> None:
    made = make(to=["Jane <a..b@docomo.ne.jp>", '"c."@docomo.ne.jp'], reply_to="d..e@docomo.ne.jp")
    octets = serialise(made, SENDER)
    message = read(octets)
    assert made.recipients == ("a..b@docomo.ne.jp", "c.@docomo.ne.jp")
    assert b'\r\nTo: Jane <"a..b"@docomo.ne.jp>, "c."@docomo.ne.jp\r\n' in octets
    assert [address.username for address in message["To"].addresses] == ["a..b", "c."]
    assert b'\r\nReply-To: "d..e"@docomo.ne.jp\r\n' in octets


def test_replies_may_go_to_several() -> None:
    people = [
        "Support, Ltd. <help@example.com>".replace("Support, Ltd.", '"Support, Ltd."'),
        "b@example.com",
        "Zoë <c@example.com>",
    ]
    message = sent(reply_to=people)
    assert [(address.display_name, address.addr_spec) for address in message["Reply-To"].addresses] == [
        ("Support, Ltd.", "help@example.com"),
        ("", "b@example.com"),
        ("Zoë", "c@example.com"),
    ]


@pytest.mark.parametrize("reply_to", [None, "", [], ()])
def test_without_a_reply_to_the_servers_own_serves(reply_to: Any) -> None:
    sender = Sender(email="a@x.example", reply_to="b@x.example")
    assert sent(sender, reply_to=reply_to)["Reply-To"] == "b@x.example"


@pytest.mark.parametrize("to", ["", None, [], ()])
def test_a_mail_may_go_to_bcc_only(to: Any) -> None:
    made = make(to=to, bcc=["Hidden <a@example.com>", "b@example.com"])
    octets = serialise(made, SENDER)
    assert made.recipients == ("a@example.com", "b@example.com")
    assert read(octets)["To"] == "undisclosed-recipients:;"
    assert read(octets)["To"].addresses == ()
    assert b"Hidden" not in octets
    assert b"a@example.com" not in octets
    assert "Bcc" not in read(octets)


def test_a_mail_may_go_to_cc_only() -> None:
    message = sent(to=[], cc="Jane <a@example.com>", bcc="b@example.com")
    assert "To" not in message
    assert message["Cc"] == "Jane <a@example.com>"


@pytest.mark.parametrize("nobody", [{}, {"cc": []}, {"cc": None, "bcc": ()}, {"reply_to": "a@example.com"}])
@pytest.mark.parametrize("to", ["", None, [], ()])
def test_a_mail_to_nobody_is_the_callers_mistake(to: Any, nobody: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="to_email: Pass at least one recipient"):
        make(to=to, **nobody)


NAME = st.text(
    st.characters(exclude_categories=["C", "Zl", "Zp"]) | st.sampled_from(' "\\(),:;<>@=?_.'), max_size=100
).filter(lambda name: not name or name.strip(" "))


@settings(max_examples=120, deadline=None)
@given(st.lists(NAME, min_size=1, max_size=12))
def test_any_names_read_back_and_their_addresses_stay_as_many(names: list[str]) -> None:
    quoted = [name.replace("\\", "\\\\").replace('"', '\\"') for name in names]
    addresses = [f"p{number}@example.com" for number in range(len(names))]
    octets = serialise(
        make(to=[f'"{name}" <{address}>' for name, address in zip(quoted, addresses, strict=True)]), SENDER
    )
    message = read(octets)
    assert [address.addr_spec for address in message["To"].addresses] == addresses
    head = octets.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert all(line.strip() for line in head.split(b"\r\n"))
    shown = [address.display_name for address in message["To"].addresses]
    assert ["".join(name.split()) for name in shown] == ["".join(name.split()) for name in names]
