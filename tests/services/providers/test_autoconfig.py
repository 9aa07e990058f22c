"""What is read out of an autoconfig document: the best of its servers, or none; whatever is in it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.providers.autoconfig import OutgoingServer, Unreadable, best_server, places
from services.smtp.settings import Security
from utils.addresses import ip_literal, parse_host

ADDRESS = "Jane.Doe@shop.example"
IMAP = "<incomingServer type='imap'><hostname>imap.shop.example</hostname><port>993</port></incomingServer>"


def server(
    host: str = "smtp.shop.example",
    port: str = "465",
    mode: str = "SSL",
    ways: tuple[str, ...] = ("password-cleartext",),
    username: str = "%EMAILADDRESS%",
    *,
    kind: str = "smtp",
) -> str:
    """One server of a document."""
    signing_in = "".join(f"<authentication>{way}</authentication>" for way in ways)
    return (
        f"<outgoingServer type='{kind}'><hostname> {host}\n</hostname><port>{port}</port>"
        f"<socketType>{mode}</socketType>{signing_in}<username>{username}</username></outgoingServer>"
    )


def document(*servers: str) -> bytes:
    inner = "".join(servers)
    return (
        "<?xml version='1.0' encoding='UTF-8'?><clientConfig version='1.1'><emailProvider id='shop.example'>"
        f"<domain>shop.example</domain><displayName>Shop</displayName>{IMAP}{inner}</emailProvider></clientConfig>"
    ).encode()


def best(*servers: str, address: str = ADDRESS) -> OutgoingServer | None:
    return best_server(document(*servers), address, "shop.example")


def test_a_document_is_looked_for_at_two_places_of_the_domain_without_the_address() -> None:
    assert [f"{host}{path}" for host, path in places("shop.example")] == [
        "autoconfig.shop.example/mail/config-v1.1.xml",
        "shop.example/.well-known/autoconfig/mail/config-v1.1.xml",
    ]


def test_a_server_is_read_whole() -> None:
    assert best(server()) == ("smtp.shop.example", 465, Security.TLS, True, True, ADDRESS)


@pytest.mark.parametrize(
    ("mode", "port", "security"),
    [("SSL", "465", Security.TLS), ("starttls", "587", Security.STARTTLS), ("plain", "25", Security.NONE)],
)
def test_each_way_of_encryption_is_known(mode: str, port: str, security: Security) -> None:
    found = best(server(mode=mode, port=port))
    assert found
    assert (found.port, found.security) == (int(port), security)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("%EMAILADDRESS%", ADDRESS),
        ("%emaillocalpart%", "Jane.Doe"),
        ("%EMAILLOCALPART%@%EMAILDOMAIN%", "Jane.Doe@shop.example"),
        ("%EMAILLOCALPART%.%EMAILDOMAIN%", "Jane.Doe.shop.example"),
        ("%REALNAME%", ""),  # which nobody here knows
        ("%EMAILLOCALPART%-%REALNAME%", ""),
        ("info@shop.example", ""),  # somebody's, or nobody's: the address was not sent
        ("", ""),
        ("%EMAILADDRESS%" * 20, ""),
    ],
)
def test_the_user_name_is_told_by_the_address_or_not_at_all(form: str, name: str) -> None:
    found = best(server(username=form))
    assert found
    assert found.username == name


def test_without_an_address_there_is_no_user_name() -> None:
    found = best(server(username="%EMAILLOCALPART%@%EMAILDOMAIN%"), address="")
    assert found
    assert found.username == ""


def test_the_domain_may_be_part_of_the_host() -> None:
    found = best(server(host="smtp.%EMAILDOMAIN%"))
    assert found
    assert found.host == "smtp.shop.example"


def test_encryption_comes_first_then_a_password_then_the_order_of_the_document() -> None:
    plain = server("plain.shop.example", "25", "plain")
    by_token = server("token.shop.example", ways=("OAuth2",))
    second = server("second.shop.example", "587", "STARTTLS", ("OAuth2", "password-encrypted"))
    third = server("third.shop.example")
    for offered, host in (
        ((plain, by_token, second, third), "second.shop.example"),
        ((plain, by_token), "token.shop.example"),
        ((plain,), "plain.shop.example"),
    ):
        found = best(*offered)
        assert found
        assert found.host == host


@pytest.mark.parametrize(
    ("ways", "takes_password", "signs_in"),
    [
        (("password-cleartext",), True, True),
        (("plain",), True, True),
        (("none",), False, False),
        (("client-IP-address",), False, False),
        (("OAuth2",), False, True),
        (("TLS-client-cert", "none"), False, True),
        ((), True, True),
    ],
)
def test_how_one_signs_in_is_known(ways: tuple[str, ...], takes_password: bool, signs_in: bool) -> None:
    found = best(server(ways=ways))
    assert found
    assert (found.takes_password, found.signs_in, bool(found.username)) == (takes_password, signs_in, takes_password)


@pytest.mark.parametrize(
    "unusable",
    [
        server(host="localhost"),
        server(host="10.0.0.1"),
        server(host="[::1]"),
        server(host="https://smtp.shop.example"),
        server(host="smtp.shop.example:465"),
        server(host="%NOTHING%.shop.example"),
        server(host=""),
        server(port="0"),
        server(port="65536"),
        server(port="-1"),
        server(port="four"),
        server(port=""),
        server(mode="maybe"),
        server(mode=""),
        server(kind="exchange"),
        "<outgoingServer><hostname>smtp.shop.example</hostname></outgoingServer>",
        IMAP,
    ],
)
def test_what_cannot_be_used_is_left_out(unusable: str) -> None:
    assert best(unusable) is None
    found = best(unusable, server("good.shop.example"))
    assert found
    assert found.host == "good.shop.example"


BOMB = "".join(f"<!ENTITY e{number} '{f'&e{number - 1};' * 10}'>" for number in range(1, 10))


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"no XML",
        b"<html><body>Not found</body></html",
        document(server())[:-20],
        b"<!DOCTYPE clientConfig>" + document(server()).partition(b"?>")[2],
        f"<!DOCTYPE a [<!ENTITY e0 'x'>{BOMB}]><a>&e9;</a>".encode(),
        f"<!DOCTYPE a [<!ENTITY e0 'x'>{BOMB}]><a>&e9;</a>".encode("utf-16"),
        b"<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><a>&e;</a>",
        b"<!DOCTYPE a SYSTEM 'https://away.example/a.dtd'><a/>",
        b"<!DOCTYPE a [<!ENTITY % p SYSTEM 'https://away.example/p'> %p;]><a/>",
        b"<a>&unknown;</a>",
        b"<?xml version='1.0' encoding='nonsense'?><a/>",
        b"<?xml version='1.0' encoding='utf-7'?><a/>",
        b"<?xml version='1.0' encoding='idna'?><a/>",
        b"<?xml version='1.0' encoding='hex'?><a/>",
        b"<a>" * 20_000,
        b"\0" * 1000,
    ],
)
def test_what_is_no_such_document_is_unreadable(octets: bytes) -> None:
    with pytest.raises(Unreadable):
        best_server(octets, ADDRESS, "shop.example")


@pytest.mark.parametrize(
    "octets",
    [
        b"<clientConfig/>",
        b"<html><outgoingServer type='smtp'><hostname>a.example</hostname></outgoingServer></html>",
        document(f"<deep>{server()}</deep>"),
        b"<a>" * 9_000 + b"</a>" * 9_000,
        document(server().replace("<hostname>", "<inner><hostname>").replace("</hostname>", "</hostname></inner>")),
    ],
)  # fmt: skip
def test_what_stands_elsewhere_in_it_is_no_server(octets: bytes) -> None:
    assert best_server(octets, ADDRESS, "shop.example") is None


TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.sampled_from(
        ["%EMAILADDRESS%", "%EMAILDOMAIN%", "smtp.shop.example", "465", "SSL", "&amp;", "<![CDATA[", "]]>"]
    ),
)
TAGS = st.sampled_from(
    ["hostname", "port", "socketType", "authentication", "username", "outgoingServer", "emailProvider"]
)
PARTS = st.lists(st.tuples(TAGS, TEXTS).map(lambda part: f"<{part[0]}>{part[1]}</{part[0]}>"), max_size=8).map("".join)
SERVERS = st.tuples(TEXTS, PARTS).map(lambda part: f"<outgoingServer type='smtp'>{part[1]}</outgoingServer>{part[0]}")
DOCUMENTS = st.one_of(
    st.binary(max_size=200),
    st.lists(st.one_of(SERVERS, st.just(server())), max_size=4).map(lambda each: document(*each)),
    st.tuples(st.integers(0, 700), st.binary(max_size=4)).map(
        lambda cut: document(server())[: cut[0]] + cut[1] + document(server())[cut[0] + len(cut[1]) :]
    ),
)


@given(DOCUMENTS)
@settings(max_examples=300, deadline=None)
def test_whatever_a_document_holds_it_gives_a_server_that_can_be_used_or_none(octets: bytes) -> None:
    try:
        found = best_server(octets, ADDRESS, "shop.example")
    except Unreadable:
        return
    if found:
        assert parse_host(found.host) == found.host
        assert not ip_literal(found.host)
        assert 1 <= found.port <= 65535
        assert found.username.isprintable()
