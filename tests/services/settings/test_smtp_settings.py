"""One validation for page, API, command line and `.env`."""

from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import create_app
from services.delivery.attempt import policy_for
from services.settings.fields import MASK, parse_change
from services.settings.rules import CHANGED_SERVER, mail_host, merged, message_id_domain
from services.smtp.settings import Security, SmtpSettings
from utils.env_utils import get_settings
from utils.errors import InvalidInput
from utils.secret import Secret

STORED = SmtpSettings(
    host="smtp.example.com",
    port=587,
    security=Security.STARTTLS,
    username="user",
    password=Secret("stored-password"),
    from_email="noreply@example.com",
)
NEW = {"smtp_server": "smtp.example.com", "from_email": "noreply@example.com"}


def errors_of(raw: dict[str, object], stored: SmtpSettings | None = None) -> dict[str, list[str]]:
    with pytest.raises(InvalidInput) as caught:
        merged(stored, parse_change(raw))
    return caught.value.errors


def after(raw: dict[str, object], stored: SmtpSettings | None = STORED) -> SmtpSettings:
    return merged(stored, parse_change(raw))


@pytest.mark.parametrize("port", [0, -5, 65536, "abc", "587", 587.5, True, None, [587], {}, 1e400])
def test_a_port_is_a_whole_number_in_range(app: Flask, port: object) -> None:
    assert list(errors_of({**NEW, "smtp_port": port})) == ["smtp_port"]


def test_a_json_number_without_fraction_is_a_whole_number(app: Flask) -> None:
    assert after({**NEW, "smtp_port": 2525.0}, None).port == 2525


@pytest.mark.parametrize(
    "host",
    ["", " ", "https://smtp.example.com", "a b.example", "a\r\nb", "a\0b", "x" * 300, "a..b", "-a.example",
     "user@host", "host:25", "host/path", "2130706433", "0x7f000001", "127.1", "１２７.0.0.1", None, 5, "\ud800"],
)  # fmt: skip
def test_a_server_is_a_host_name_or_an_address(app: Flask, host: object) -> None:
    assert list(errors_of({**NEW, "smtp_server": host})) == ["smtp_server"]


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        (" SMTP.Example.COM. ", "smtp.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("[::1]", "::1"),
        ("10.0.0.8", "10.0.0.8"),
        ("localhost", "localhost"),
    ],
)
def test_a_server_is_normalised(app: Flask, typed: str, stored: str) -> None:
    assert after({**NEW, "smtp_server": typed}, None).host == stored


TEXT_FIELDS = ["smtp_username", "from_name", "from_email", "reply_to", "helo_hostname", "smtp_password"]


@pytest.mark.parametrize("field", TEXT_FIELDS)
@pytest.mark.parametrize("text", ["a\r\nb", "a\nb", "a\0b", "\ud800", 5, None, ["a"], "x" * 2000])
def test_no_text_field_takes_line_breaks_null_other_types_or_endless_text(app: Flask, field: str, text: object) -> None:
    assert list(errors_of({**NEW, field: text})) == [field]


@pytest.mark.parametrize("address", ["", "a@x, b@y", "<a@x>", "Name <a@x>", "a", "@x", "a@", "a@@x", "a b@x"])
def test_from_is_one_plain_address(app: Flask, address: str) -> None:
    assert list(errors_of({**NEW, "from_email": address})) == ["from_email"]


def test_an_unknown_key_is_refused_and_named(app: Flask) -> None:
    assert errors_of({**NEW, "smtp_sever": "x"}) == {"smtp_sever": ["Unknown field."]}


def test_an_unknown_key_that_could_be_anything_is_not_echoed(app: Flask) -> None:
    assert list(errors_of({**NEW, "<script>": "x"})) == ["form"]


def test_both_encryption_flags_are_one_too_many(app: Flask) -> None:
    assert list(errors_of({**NEW, "use_tls": True, "use_ssl": True})) == ["use_ssl"]


@pytest.mark.parametrize("flag", ["false", 1, 0, "on", None])
def test_a_flag_is_true_or_false(app: Flask, flag: object) -> None:
    assert list(errors_of({**NEW, "use_tls": flag})) == ["use_tls"]


@pytest.mark.parametrize(
    ("raw", "mode"),
    [
        ({}, Security.STARTTLS),
        ({"smtp_port": 465}, Security.TLS),
        ({"smtp_port": 2525}, Security.STARTTLS),
        ({"use_ssl": True}, Security.TLS),
        ({"use_tls": True, "smtp_port": 465}, Security.STARTTLS),
        ({"use_tls": False}, Security.NONE),
        ({"use_tls": False, "smtp_port": 465}, Security.TLS),
        ({"use_tls": False, "use_ssl": False, "smtp_port": 465}, Security.NONE),
        ({"use_tls": False, "use_ssl": True}, Security.TLS),
    ],
)
def test_a_new_configuration_has_the_mode_that_was_meant(app: Flask, raw: dict[str, object], mode: Security) -> None:
    assert after({**NEW, **raw}, None).security is mode


@pytest.mark.parametrize(
    ("raw", "mode"),
    [
        ({"from_name": "X"}, Security.STARTTLS),
        ({"use_ssl": True, "smtp_password": "new"}, Security.TLS),
        ({"use_ssl": False}, Security.STARTTLS),
        ({"smtp_port": 465, "smtp_password": "new"}, Security.STARTTLS),
    ],
)
def test_a_partial_save_leaves_the_flags_it_does_not_name(app: Flask, raw: dict[str, object], mode: Security) -> None:
    assert after(raw).security is mode


def test_a_password_never_goes_unencrypted_to_another_machine(app: Flask) -> None:
    login = {"smtp_username": "u", "smtp_password": "p", "use_tls": False}
    assert list(errors_of({**NEW, **login})) == ["use_tls"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_password_may_go_unencrypted_to_this_machine(app: Flask, host: str) -> None:
    login = {"smtp_server": host, "smtp_username": "u", "smtp_password": "p", "use_tls": False}
    assert after({**NEW, **login}, None).security is Security.NONE


def test_a_relay_without_login_may_be_unencrypted(app: Flask) -> None:
    assert after({**NEW, "use_tls": False}, None).password == Secret("")


@pytest.mark.parametrize("kept", [{}, {"smtp_password": ""}, {"smtp_password": MASK}])
def test_absent_empty_and_mask_keep_the_stored_password(app: Flask, kept: dict[str, object]) -> None:
    assert after(kept).password == Secret("stored-password")


@pytest.mark.parametrize("password", [" with spaces ", "pä$$wörd", "x" * 1024, "$HOME#\"'\\", "•••••••", "\t"])
def test_a_password_is_taken_exactly_as_typed(app: Flask, password: str) -> None:
    assert after({"smtp_password": password}).password == Secret(password)


def test_a_password_over_1024_characters_is_refused(app: Flask) -> None:
    assert list(errors_of({"smtp_password": "x" * 1025}, STORED)) == ["smtp_password"]


@pytest.mark.parametrize(
    "change",
    [
        {"smtp_server": "evil.example"},
        {"smtp_port": 25},
        {"smtp_username": "other"},
        {"use_ssl": True},
        {"use_tls": False},
        {"smtp_server": "evil.example", "smtp_password": MASK},
    ],
)
def test_a_stored_password_stays_with_its_destination(app: Flask, change: dict[str, object]) -> None:
    assert errors_of(change, STORED) == {"smtp_password": [CHANGED_SERVER]}


@pytest.mark.parametrize(
    "same", [{"smtp_server": "SMTP.EXAMPLE.COM."}, {"smtp_port": 587.0}, {"use_tls": True}, {"smtp_username": " user "}]
)
def test_another_spelling_of_the_same_destination_keeps_the_password(app: Flask, same: dict[str, object]) -> None:
    assert after(same).password == STORED.password


def test_user_name_and_password_come_together(app: Flask) -> None:
    assert list(errors_of({**NEW, "smtp_username": "u"})) == ["smtp_password"]
    assert list(errors_of({**NEW, "smtp_password": "p"})) == ["smtp_username"]


def test_removing_the_password_removes_the_login(app: Flask) -> None:
    result = after({"remove_password": True, "smtp_username": "user"})
    assert (result.username, result.password) == ("", Secret(""))


def test_a_password_is_either_removed_or_replaced(app: Flask) -> None:
    assert list(errors_of({"remove_password": True, "smtp_password": "new"}, STORED)) == ["smtp_password"]


def test_removing_allows_another_server(app: Flask) -> None:
    assert after({"remove_password": True, "smtp_server": "relay.example"}).host == "relay.example"


def test_apikey_is_a_user_name_like_any(app: Flask) -> None:
    assert after({"smtp_username": "apikey", "smtp_password": "SG.x"}).username == "apikey"


def test_keys_that_get_returns_may_come_back(app: Flask) -> None:
    assert after({"id": 7, "has_password": True, "verified_at": None, "created_at": "x"}) == STORED


def test_errors_name_every_refused_field_and_echo_no_value(app: Flask) -> None:
    errors = errors_of({"smtp_server": "bad host", "smtp_port": "hunter2", "smtp_password": ["hunter2"]})
    assert set(errors) == {"smtp_server", "smtp_port", "smtp_password"}
    assert "hunter2" not in str(errors)


DESTINATIONS = st.fixed_dictionaries(
    {},
    optional={
        "smtp_server": st.sampled_from(["smtp.example.com", "SMTP.example.com.", "evil.example"]),
        "smtp_port": st.sampled_from([587, 587.0, 465, 25]),
        "smtp_username": st.sampled_from(["user", "User", "other", ""]),
        "use_tls": st.booleans(),
        "use_ssl": st.booleans(),
        "from_email": st.sampled_from(["noreply@example.com", "x@evil.example"]),
        "smtp_password": st.sampled_from(["", MASK, "typed"]),
        "remove_password": st.booleans(),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(DESTINATIONS)
def test_whatever_is_changed_the_stored_password_leaves_only_for_its_own_destination(
    app: Flask, raw: dict[str, object]
) -> None:
    try:
        result = after(raw)
    except InvalidInput:
        return
    assert result.password != STORED.password or result.destination == STORED.destination


BASE_URLS = [
    ("https://app.example.com", "app.example.com"),
    ("https://APP.example.com:8443", "app.example.com"),
    ("https://app.example.com./", "app.example.com"),
    ("https://bücher.example", "xn--bcher-kva.example"),
    ("http://localhost:5000", "xn--mnchen-3ya.example"),
    ("http://vault", "xn--mnchen-3ya.example"),
    ("http://my_app:8000", "xn--mnchen-3ya.example"),
    ("http://my_app.example.com", "xn--mnchen-3ya.example"),
    ("http://app.local", "xn--mnchen-3ya.example"),
    ("http://app.internal", "xn--mnchen-3ya.example"),
    ("http://192.0.2.10", "xn--mnchen-3ya.example"),
    ("http://[2001:db8::25]:8000", "xn--mnchen-3ya.example"),
]


@pytest.mark.parametrize(("base_url", "name"), BASE_URLS)
def test_mail_names_the_public_host_or_the_domain_of_the_from_address(
    environment: dict[str, str], tmp_path: Path, base_url: str, name: str
) -> None:
    sender = replace(STORED, from_email="noreply@münchen.example")
    with create_app({**environment, "BASE_URL": base_url}, instance_path=tmp_path).app_context():
        assert mail_host(sender.from_email, get_settings()) == name
        assert policy_for(sender).ehlo_name == name
        assert message_id_domain(sender) == name


def test_the_ehlo_name_of_the_configuration_wins(app: Flask) -> None:
    assert policy_for(replace(STORED, helo_hostname="mail.example.net")).ehlo_name == "mail.example.net"


@pytest.mark.parametrize("name", ["my_app", "my_app.example.com", "10.0.0.8", "a b", "[::1]"])
def test_an_ehlo_name_is_a_host_name_that_servers_take(app: Flask, name: str) -> None:
    assert list(errors_of({**NEW, "helo_hostname": name})) == ["helo_hostname"]


def test_without_a_server_a_message_id_tells_nothing_of_the_inner_network(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with create_app({**environment, "BASE_URL": "http://vault:8000"}, instance_path=tmp_path).app_context():
        assert message_id_domain(None) == "localhost"
