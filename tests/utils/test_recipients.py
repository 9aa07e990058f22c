"""Recipients: taken as liberally as servers take them, in one form each, and nothing beyond that."""

from email import message_from_string, policy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.utils.hostile_addresses import ENDLESS, HOSTILE
from utils.addresses import (
    InvalidAddress,
    ascii_recipient,
    has_odd_dots,
    header_form,
    mask_address,
    parse_address,
    parse_recipient,
    parse_recipient_mailbox,
)

# What servers are known to take; senders may have none of it.
LIBERAL = [
    "a..b@docomo.ne.jp",
    "a.@docomo.ne.jp",
    ".a@docomo.ne.jp",
    "a...b..c.@docomo.ne.jp",
    "A..B+tag@ezweb.ne.jp",
    "a..b@bücher.example",
    "a..b@my_shop.example",
    "a@my_shop.example",
    "a@_shop.example",
    "a@shop_.example",
    "a@mail.my_shop.example",
    "a@xn--yp8ha.ws",
    "a@xn--a.example",
    "a@mail.xn--yp8ha.ws",
    "a@ab--cd.example",
]
HOSTILE_TO_ALL = [text for text in HOSTILE if text not in {
    ".a@x.example", "a.@x.example", "a..b@x.example", "a@x_y.example",
    "a@xn--a.example", "a@xn--zzzzzzzzzzz.example", "a@ab--cd.example",
}]  # fmt: skip


@pytest.mark.parametrize("text", LIBERAL)
def test_what_servers_take_is_taken_as_it_stands(text: str) -> None:
    assert parse_recipient(text) == text


@pytest.mark.parametrize("text", LIBERAL)
def test_a_sender_is_held_to_the_strict_grammar(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_address(text)


@pytest.mark.parametrize("text", [*HOSTILE_TO_ALL, *ENDLESS], ids=lambda text: ascii(text[:40]))
def test_a_hostile_recipient_is_refused_in_a_sentence_that_does_not_echo_it(text: str) -> None:
    with pytest.raises(InvalidAddress) as refused:
        parse_recipient(text)
    sentence = str(refused.value)
    assert sentence.endswith(".")
    assert sentence.isascii()
    assert len(text) < 3 or text not in sentence


@pytest.mark.parametrize(
    "text",
    [
        '"a"@docomo.ne.jp',
        '"a.b"@docomo.ne.jp',
        '".."@docomo.ne.jp',
        '"a..b@docomo.ne.jp"',
        '"a. .b"@docomo.ne.jp',
        '"a..\\"b"@docomo.ne.jp',
        '"a..b"c@docomo.ne.jp',
        '"a..b"@"docomo.ne.jp"',
        '"a..b"@docomo.ne.jp>',
        '"a..b"@docomo.ne.jp\r\nRCPT TO:<x@y.example>',
        '"a..b"@docomo.ne.jp\n',
        '"a..\x00b"@docomo.ne.jp',
        '"a..\u202eb"@docomo.ne.jp',
        '"a..b>"@docomo.ne.jp',
        "a..b>@docomo.ne.jp",
        "a.. b@docomo.ne.jp",
        "a..b@docomo.ne.jp.",
        "a..b@1.2.3.4",
        "a..b@[127.0.0.1]",
        "a..b@x.example, c@y.example",
        "a@my_shop..example",
        "a@my_shop-.example",
        "a@-my_shop.example",
        "a@🚀.ws",
        f"{'a..' * 90}b@docomo.ne.jp",
        f"a..b@{'x' * 64}.example",
        f"a@{'é' * 60}_.example",
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_quotes_and_dots_open_no_other_door(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_recipient(text)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ('"a..b"@docomo.ne.jp', "a..b@docomo.ne.jp"),
        ('"a."@docomo.ne.jp', "a.@docomo.ne.jp"),
        ('".a"@DOCOMO.ne.jp', ".a@docomo.ne.jp"),
        ("a@MY_Shop.example", "a@my_shop.example"),
        ("a@XN--YP8HA.ws", "a@xn--yp8ha.ws"),
        ("Postmaster@my_shop.example", "postmaster@my_shop.example"),
        ("a@BÜCHER.my_shop.example", "a@bücher.my_shop.example"),
        ("a@xn--bcher-kva.my_shop.example", "a@bücher.my_shop.example"),
        ("ju\u0308rgen@my_shop.example", "jürgen@my_shop.example"),
        ("jane@example.com", "jane@example.com"),
    ],
)
def test_two_spellings_of_one_recipient_come_out_the_same(typed: str, meant: str) -> None:
    assert parse_recipient(typed) == parse_recipient(meant) == meant


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("a..b@bücher.example", "a..b@xn--bcher-kva.example"),
        ("a@straße.my_shop.example", "a@xn--strae-oqa.my_shop.example"),
        ("a@faß.example", "a@xn--fa-hia.example"),
        ("a@xn--yp8ha.ws", "a@xn--yp8ha.ws"),
        ('"a.."@docomo.ne.jp', "a..@docomo.ne.jp"),
    ],
)
def test_the_domain_of_a_recipient_becomes_a_labels(address: str, expected: str) -> None:
    assert ascii_recipient(address) == expected


LOCAL = st.text("ab.+'_-", min_size=1, max_size=12).filter(lambda text: text.strip("."))
DOMAIN = st.from_regex(r"[a-z0-9_]{1,8}(?:\.[a-z][a-z0-9_]{0,8}){1,3}", fullmatch=True)


@settings(max_examples=300, deadline=None)
@given(LOCAL, DOMAIN)
def test_normalising_a_recipient_twice_changes_nothing_and_headers_hold_it(local: str, domain: str) -> None:
    address = parse_recipient(f"{local}@{domain}")
    assert parse_recipient(address) == ascii_recipient(address) == address
    assert parse_recipient(header_form(address)) == address
    message = message_from_string(f"To: {header_form(address)}\n\n", policy=policy.default)
    (read,) = message["To"].addresses
    assert (read.username, read.domain) == (local, domain)
    assert not message["To"].defects


def test_only_dots_at_odd_places_are_put_in_quotes() -> None:
    assert header_form("a..b@x.example") == '"a..b"@x.example'
    assert header_form("a.b@x.example") == "a.b@x.example"
    assert [has_odd_dots(local) for local in ("a.", ".a", "a..b", "a.b", "a", ".", "..", "", "ü..b", '"a..b"')] == [
        *(True, True, True, False, False, False, False, False, False, False),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"Näme, Quoted" <a@example.com>', ("Näme, Quoted", "a@example.com")),
        ('Jane <"a..b"@docomo.ne.jp>', ("Jane", "a..b@docomo.ne.jp")),
        ("<a..b@docomo.ne.jp>", ("", "a..b@docomo.ne.jp")),
        ('"a..b"@docomo.ne.jp', ("", "a..b@docomo.ne.jp")),
    ],
)
def test_a_recipient_may_have_a_name(text: str, expected: tuple[str, str]) -> None:
    assert parse_recipient_mailbox(text) == expected


def test_a_masked_recipient_shows_no_more_than_another() -> None:
    assert mask_address('"secret..word"@docomo.ne.jp') == "s***@docomo.ne.jp"
