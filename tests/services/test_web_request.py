"""One request to a web server: it is one, whatever it is made of, and its answer is whole or none."""

from collections.abc import Iterator
from typing import Final

import pytest

from services import web_request
from services.smtp.wire import Deadline
from services.web_request import WebAnswer, WebFailure, WebHost, WebReach
from tests import certificates
from tests.patience import PATIENCE
from tests.web_server import WebServer, file, raw
from utils.allowed_places import EVERYWHERE
from utils.errors import Fault

LONGEST: Final = 1000
REACH: Final = WebReach(ca_file=certificates.ca_file(), dns_resolver="", allowed=EVERYWHERE)


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer(certificates.good_context("localhost")) as server:
        yield server


def asked(
    web: WebServer, target: str = "/token", method: str = "GET", headers: dict[str, str] | None = None
) -> WebAnswer:
    place, deadline = WebHost("localhost", web.port), Deadline(PATIENCE)
    return web_request.ask(place, method, target, headers or {}, b"", reach=REACH, deadline=deadline, longest=LONGEST)


def test_an_answer_is_its_status_its_headers_and_its_body_and_prints_neither(web: WebServer) -> None:
    web.hosts["localhost"] = file(b"secret", "403 Forbidden", "Retry-After: 7")
    answer = asked(web)
    assert (answer.status, answer.headers["retry-after"], answer.body) == (403, "7", b"secret")
    assert "secret" not in repr(answer)


def test_a_redirect_is_an_answer_like_any_other(web: WebServer) -> None:
    web.hosts["localhost"] = file(b"", "302 Found", "Location: /elsewhere")
    assert asked(web).status == 302
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", Fault.CLOSED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Fault.CLOSED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", Fault.CLOSED),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha", Fault.CLOSED),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Fault.CLOSED),
        (b"220 mail.example ESMTP\r\n", Fault.BROKEN_REPLY),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001, Fault.TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000, Fault.TOO_LARGE),
    ],
    ids=["nothing", "half", "no body", "half a chunk", "no chunk", "no HTTP", "an octet too many", "without end"],
)
def test_what_is_not_whole_is_no_answer(web: WebServer, answer: bytes, fault: Fault) -> None:
    web.hosts["localhost"] = raw(answer)
    with pytest.raises(WebFailure) as caught:
        asked(web)
    assert caught.value.fault is fault


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "/ä", "a", "", "https://other.example/", "/" + "a" * 5000])
def test_what_is_no_path_is_not_asked_for(web: WebServer, target: str) -> None:
    with pytest.raises(WebFailure):
        asked(web, target)
    assert web.connections == 0


@pytest.mark.parametrize("value", ["a\r\nX-More: b", "a\nb", "ä", "a\x00"])
def test_a_header_makes_no_second_one(web: WebServer, value: str) -> None:
    with pytest.raises(WebFailure):
        asked(web, headers={"Accept": value})
    assert web.connections == 0


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("https://id.example/token", "id.example"),
        ("https://ID.Example.:443/token", "id.example"),
        ("https://id.example:8443/token", "id.example:8443"),
        ("https://[2001:db8::1]/token", "[2001:db8::1]"),
        ("https://[2001:DB8::1]:8443/token", "[2001:db8::1]:8443"),
        ("http://localhost/token", "localhost"),
        ("http://127.0.0.1:8080/token", "127.0.0.1:8080"),
    ],
)
def test_a_host_is_named_as_the_server_has_to_hear_it(url: str, header: str) -> None:
    assert str(web_request.host_of(url, may_be_plain=True)) == header


@pytest.mark.parametrize(
    "url", ["http://localhost.evil.example/", "http://10.0.0.1/", "https://2130706433/", "https://a@b/"]
)
def test_a_host_that_is_another_than_it_looks_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        web_request.host_of(url, may_be_plain=True)
