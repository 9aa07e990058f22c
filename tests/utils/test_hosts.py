"""Host names: strict grammar, one normal form, and a remedy in each refusal."""

import socket

import pytest

from utils.addresses import InvalidAddress, parse_host, public_name


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("smtp.example.com", "smtp.example.com"),
        ("SMTP.Example.COM.", "smtp.example.com"),
        ("localhost", "localhost"),
        ("mailhog", "mailhog"),
        ("mail_server", "mail_server"),
        ("smtp-relay.gmail.com", "smtp-relay.gmail.com"),
        ("email-smtp.us-east-1.amazonaws.com", "email-smtp.us-east-1.amazonaws.com"),
        ("3com.example", "3com.example"),
        ("1e100.net", "1e100.net"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("192.0.2.10", "192.0.2.10"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[2001:DB8:0:0::25]", "2001:db8::25"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("[::ffff:7f00:1]", "127.0.0.1"),
        (f"{'x' * 63}.example", f"{'x' * 63}.example"),
    ],
)
def test_a_host_comes_back_normalised(text: str, normalised: str) -> None:
    assert parse_host(text) == normalised


REMEDIES = {
    "without https://": ["https://x.example", "smtp://x.example", "smtps://x.example:465", "ssl://x"],
    "port has its own field": ["x.example:587", "[::1]:25", "127.0.0.1:25", "localhost:1025", "x:"],
    "without a user name": ["user@x.example", "user:secret@x.example", "@x.example"],
    "without a path": ["x.example/", "x.example/mail", "x.example\\a", "x.example?a", "x.example#a"],
    "Remove spaces": [
        " x.example",
        "x.example ",
        "x .example",
        "x.example\r\n",
        "x.example\n",
        "x.example\r\nEHLO y",
        "x\x00.example",
        "x\t.example",
        "x\u2028.example",
        "x\u202e.example",
    ],
    "Enter only one host name": ["x.example,y.example", "x.example;y.example"],
    "at most 253": ["x" * 300, "x." * 150, "x" * 1_000_000, "é" * 1_000_000],
    "four numbers": [
        "2130706433",
        "0x7f000001",
        "0X7F000001",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "127.0.0.0x1",
        "1.2.3.4.5",
        "256.1.1.1",
        "01.2.3.4",
        "0",
        "0x",
        "x.1",
        "1.2.3",
    ],
    "look-alike": [
        "１２７.0.0.1",
        "①②⑦.0.0.1",
        "x。example",
        "x．example",
        "ⓧ.example",
        "ſmtp.example",
        "localhosｔ",
        "127。0。0。1",
    ],
    "not an IPv6": ["[127.0.0.1]", "[x.example]", "[::1", "::1]", ":::", "1:2:3", "[]", "g::1"],
    "without a zone": ["fe80::1%eth0", "[fe80::1%25eth0]"],
    "Enter the host name": [""],
    "Use letters": [
        ".",
        "..",
        "x..example",
        ".x",
        "-x.example",
        "x-.example",
        "_x.example",
        "x_",
        "x!.example",
        "x'",
        "x`id`",
        "$(id)",
        "x|y",
        "*.example",
        f"{'x' * 64}.example",
        "x.example..",
    ],
    "international host name": ["xn--zzzzzzzzzzz.example", "xn--a", f"{'é' * 64}.example", "\u0301x"],
}


@pytest.mark.parametrize(
    ("remedy", "text"),
    [(remedy, text) for remedy, texts in REMEDIES.items() for text in texts],
    ids=lambda text: ascii(text[:20]),
)
def test_a_refused_host_is_told_the_remedy(remedy: str, text: str) -> None:
    with pytest.raises(InvalidAddress, match=remedy):
        parse_host(text)


@pytest.mark.parametrize("value", [None, 5, True, b"x.example", ["x.example"]])
def test_only_text_is_a_host(value: object) -> None:
    with pytest.raises(InvalidAddress):
        parse_host(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [text for texts in REMEDIES.values() for text in texts if len(text) < 300], ids=ascii)
def test_no_spelling_that_the_resolver_reads_as_an_address_passes(text: str) -> None:
    try:
        found = socket.getaddrinfo(text, 25, flags=socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return
    assert found
    with pytest.raises(InvalidAddress):
        parse_host(text)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("app.example.com", "app.example.com"),
        ("APP.Example.com.", "app.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("shop.xn--p1ai", "shop.xn--p1ai"),
        ("3com.example", "3com.example"),
        ("local.example.com", "local.example.com"),
        ("internal.test.example", "internal.test.example"),
    ],
)
def test_a_name_that_others_can_know_is_public(host: str, name: str) -> None:
    assert public_name(host) == name


@pytest.mark.parametrize(
    "host",
    [
        "vault", "vault.", "localhost", "my_app", "my_app.example.com", "app_1.internal.example.com", "app.local",
        "App.LOCAL.", "vault.internal", "vault.lan", "shop.localhost", "nas.home.arpa", "1.0.0.127.in-addr.arpa",
        "shop.test", "shop.invalid", "shop.corp", "shop.home", "shop.mail", "shop.intranet", "shop.private",
        "shop.onion", "shop.alt", "localhost.localdomain", "10.0.0.8", "192.0.2.10", "::1", "2001:db8::25", "127.1",
        "2130706433", "app.1", "app..example.com", ".example.com", "app.example.com..", "-app.example.com",
        "a b.example", "", "app.example.com:8000", f"{'x' * 64}.example",
    ],
)  # fmt: skip
def test_a_name_of_local_use_is_not_public(host: str) -> None:
    assert public_name(host) is None
