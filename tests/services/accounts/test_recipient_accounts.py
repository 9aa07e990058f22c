"""People whose address only servers take: they are written to, register, sign in, and reset a password."""

from collections.abc import Iterator

import pytest
from flask import Flask

from services.accounts import accounts, password_reset
from services.email_service import queue_email, send_email
from services.settings.fields import parse_address_field
from tests.outbox import answer_requests, drain
from tests.recording_server import RecordingServer
from tests.visitors import NEW_PASSWORD, PASSWORD, link_in, mail_through
from utils.errors import InvalidInput

pytestmark = pytest.mark.usefixtures("app")

LIBERAL = ["a..b@docomo.ne.jp", "a.@docomo.ne.jp", "a@my_shop.example", "a@xn--yp8ha.ws"]


@pytest.fixture
def mail_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], mail_server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(mail_server)


@pytest.mark.parametrize("address", LIBERAL)
def test_they_can_be_mailed_now_and_from_the_queue(mail_server: RecordingServer, address: str) -> None:
    assert send_email(address, "s", "b") is True
    queue_email(f"Jane <{address}>", "s", "b")
    drain()
    assert mail_server.data.count(f"RCPT TO:<{address}>".encode()) == 2


@pytest.mark.parametrize("address", LIBERAL)
def test_they_register_sign_in_and_reset_their_password(mail_server: RecordingServer, address: str) -> None:
    carol = accounts.create("carol", address, PASSWORD)
    assert carol.email == address
    assert accounts.authenticate(address, PASSWORD)
    password_reset.request_reset(address)
    answer_requests()
    assert mail_server.mails[-1].recipients == (address,)
    assert password_reset.redeem(link_in(mail_server.mails[-1])[1], NEW_PASSWORD)
    assert accounts.authenticate(address, NEW_PASSWORD)


@pytest.mark.parametrize(
    ("registered", "typed"),
    [
        ("a..b@docomo.ne.jp", '"a..b"@docomo.ne.jp'),
        ('"a..b"@docomo.ne.jp', "A..B@DOCOMO.ne.jp"),
        ("a.@docomo.ne.jp", '"a."@docomo.ne.jp'),
        ("a@xn--bcher-kva.my_shop.example", "a@bücher.my_shop.example"),
        ("a@XN--YP8HA.ws", "a@xn--yp8ha.ws"),
    ],
)
def test_two_spellings_are_one_account(registered: str, typed: str) -> None:
    carol = accounts.create("carol", registered, PASSWORD)
    signed_in = accounts.authenticate(typed, PASSWORD)
    assert signed_in is not None
    assert signed_in.id == carol.id
    with pytest.raises(InvalidInput) as refusal:
        accounts.create("dave", typed, PASSWORD)
    assert set(refusal.value.errors) == {"email"}


def test_a_reset_that_is_asked_for_in_quotes_goes_to_the_address_of_the_account(mail_server: RecordingServer) -> None:
    accounts.create("carol", "a..b@docomo.ne.jp", PASSWORD)
    password_reset.request_reset('"a..b"@docomo.ne.jp')
    answer_requests()
    assert [mail.recipients for mail in mail_server.mails] == [("a..b@docomo.ne.jp",)]


@pytest.mark.parametrize("address", LIBERAL)
def test_a_test_message_goes_to_them_too(address: str) -> None:
    assert parse_address_field("to", address) == address


@pytest.mark.parametrize("address", ['"a"@docomo.ne.jp', "..@docomo.ne.jp", "a..b@docomo.ne.jp>", "a@b@c..d"])
def test_what_is_no_address_registers_nobody(address: str, app: Flask) -> None:
    with pytest.raises(InvalidInput) as refusal:
        accounts.create("carol", address, PASSWORD)
    assert set(refusal.value.errors) == {"email"}
