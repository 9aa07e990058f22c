"""Addresses: what passes comes out in one form, everything ambiguous is refused."""

from email.utils import getaddresses

import pytest

from tests.utils.hostile_addresses import ENDLESS, HOSTILE
from utils.addresses import (
    InvalidAddress,
    ascii_address,
    mask_address,
    parse_address,
    parse_mailbox,
)


def test_the_corpus_holds_over_two_hundred_addresses() -> None:
    assert len(set(HOSTILE)) > 200


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_hostile_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_address(text)


@pytest.mark.parametrize("text", ENDLESS, ids=lambda text: ascii(text[:8]))
def test_endless_text_is_refused_before_it_is_parsed(text: str) -> None:
    with pytest.raises(InvalidAddress, match="at most 254"):
        parse_address(text)


@pytest.mark.parametrize("value", [None, 5, True, b"a@x.example", ["a@x.example"], {"a": 1}, object()])
def test_only_text_is_an_address(value: object) -> None:
    with pytest.raises(InvalidAddress):
        parse_address(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [*HOSTILE, "s3cret-word"], ids=ascii)
def test_a_refusal_is_a_sentence_that_does_not_echo_the_input(text: str) -> None:
    with pytest.raises(InvalidAddress) as refused:
        parse_address(text)
    sentence = str(refused.value)
    assert sentence.endswith(".")
    assert sentence.isascii()
    assert len(text) < 3 or text not in sentence
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("jane@example.com", "jane@example.com"),
        ("Jane.Doe+tag@EXAMPLE.Com", "Jane.Doe+tag@example.com"),
        ("root@localhost", "root@localhost"),
        ("a@mail.local", "a@mail.local"),
        ("a@app.test", "a@app.test"),
        ("a@b", "a@b"),
        ("o'brien@example.com", "o'brien@example.com"),
        ("!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com"),
        (f"{'r' * 80}@reply.example.com", f"{'r' * 80}@reply.example.com"),
        ("jürgen@bücher.example", "jürgen@bücher.example"),
        ("a@xn--bcher-kva.example", "a@bücher.example"),
        ("a@BÜCHER.example", "a@bücher.example"),
        ("用户@例子.example", "用户@例子.example"),
        ("ju\u0308rgen@example.com", "jürgen@example.com"),
        ("a@4chan.org", "a@4chan.org"),
    ],
)
def test_a_plain_address_comes_back_normalised(text: str, normalised: str) -> None:
    assert parse_address(text) == normalised


@pytest.mark.parametrize("text", ["jane@example.com", "jürgen@bücher.example", "a@xn--bcher-kva.example"])
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert parse_address(parse_address(text)) == parse_address(text)


def test_an_address_of_254_octets_passes() -> None:
    domain = ".".join(["x" * 60] * 4)
    address = f"{'a' * (254 - len(domain) - 1)}@{domain}"
    assert parse_address(address) == address


def test_the_standard_library_reads_a_passed_address_the_same_way() -> None:
    for text in ("jane@example.com", "!#$%&'*+-/=?^_`{|}~@example.com", "a@mail.local"):
        assert getaddresses([text]) == [("", text)]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("jürgen@bücher.example", "jürgen@xn--bcher-kva.example"),
        ("a@straße.example", "a@xn--strae-oqa.example"),
        ("a@example.com", "a@example.com"),
    ],
)
def test_the_domain_becomes_a_labels_and_the_local_part_stays(address: str, expected: str) -> None:
    assert ascii_address(address) == expected


def test_no_a_labels_are_made_of_what_is_no_address() -> None:
    with pytest.raises(InvalidAddress):
        ascii_address("a@x\r\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@x.example", ("", "a@x.example")),
        ("<a@x.example>", ("", "a@x.example")),
        (" Shop <a@x.example> ", ("Shop", "a@x.example")),
        ("Müller & Söhne <a@x.example>", ("Müller & Söhne", "a@x.example")),
        ('"Shop, Ltd." <a@x.example>', ("Shop, Ltd.", "a@x.example")),
        ('"He said \\"hi\\" \\\\o/" <a@x.example>', ('He said "hi" \\o/', "a@x.example")),
        ('"b@y.example" <a@x.example>', ("b@y.example", "a@x.example")),
        ("株式会社 🚀 <a@bücher.example>", ("株式会社 🚀", "a@bücher.example")),
    ],
)
def test_a_mailbox_is_read_into_name_and_address(text: str, expected: tuple[str, str]) -> None:
    assert parse_mailbox(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Shop",
        "Shop <>",
        "Shop, Ltd. <a@x.example>",
        "a@x.example, b@y.example",
        "a@x.example <b@y.example>",
        "A <a@x.example>, B <b@y.example>",
        "Shop <a@x.example> trailing",
        "Shop\r\nBcc: b@y.example <a@x.example>",
        "Shop\x00 <a@x.example>",
        "Shop\u202e <a@x.example>",
        'Shop" <a@x.example>',
        '"Shop <a@x.example>',
        '"Shop\\" <a@x.example>',
        "Shop <a@x.example>>",
        "Group: <a@x.example>",
        f"{'n' * 256} <a@x.example>",
        "n" * 1_000_000 + " <a@x.example>",
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_an_ambiguous_mailbox_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_mailbox(text)


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        ("jane@example.com", "j***@example.com"),
        ("a@x.example", "a***@x.example"),
        ("jürgen@bücher.example", "j***@xn--bcher-kva.example"),
        ("not an address", "***"),
        ("a@x\r\nfake log line", "***"),
    ],
)
def test_a_masked_address_keeps_one_letter_and_the_domain(address: str, masked: str) -> None:
    assert mask_address(address) == masked
