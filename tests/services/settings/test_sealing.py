"""What is shown of a stored configuration is true, and the same before and after its key was changed."""

import html
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import String, delete

from database.engine import transaction
from database.smtp_db import SmtpConfig
from services.settings import configs, key_rotation, route, sealing
from services.settings.fields import MASK, parse_change
from services.settings.sealing import Condition, StoredConfig
from services.settings.shown import public_dict
from services.smtp.settings import Security
from tests.conftest import APP_KEY
from tests.rotations import NEW_KEY, Environment, everything, sql, under
from tests.visitors import Visitor, make_alice, visit
from utils.errors import InvalidInput
from utils.secret import Secret

SERVER: Final = {
    "smtp_server": "smtp.example.com",
    "smtp_port": 587,
    "use_tls": True,
    "from_email": "a@example.com",
    "from_name": "Shop",
    "reply_to": "help@example.com",
    "helo_hostname": "mail.example.com",
    "timeout_seconds": 20,
    "auth_method": "LOGIN",
}
LOGIN: Final = {"smtp_username": "user", "smtp_password": "s3cret"}
STORED_HINT: Final = "A password is stored. Leave this empty to keep it."
OUTDATED: Final = "0" * 64  # as bindings once were


class Edit(NamedTuple):
    """Of a row in SQL: what becomes of it, and what is told."""

    sql: str
    condition: Condition
    told: str


ALTERATIONS: Final = {
    "altered sender": Edit("from_name = 'Evil'", Condition.ALTERED, sealing.ALTERED),
    "altered Reply-To": Edit("reply_to = 'x@evil.example'", Condition.ALTERED, sealing.ALTERED),
    "altered server": Edit("smtp_server = 'evil.example'", Condition.ALTERED, sealing.ALTERED),
    "altered token": Edit("smtp_password = 'gAAAAA'", Condition.ALTERED, sealing.ALTERED),
    "token of none": Edit("smtp_password = ''", Condition.ALTERED, sealing.ALTERED),
    "altered binding": Edit("binding_mac = '2:' || substr(binding_mac, 4) || '0'", Condition.ALTERED, sealing.ALTERED),
    "outdated": Edit(f"binding_mac = '{OUTDATED}'", Condition.OUTDATED, sealing.OUTDATED),
    "lost key": Edit("key_id = 'lost'", Condition.KEY_MISSING, sealing.UNREADABLE),
}
any_alteration = pytest.mark.parametrize("edit", ALTERATIONS.values(), ids=ALTERATIONS)
any_login = pytest.mark.parametrize("login", [LOGIN, {}], ids=["login", "relay"])

PASSWORD: Final = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
CONFIG: Final = st.fixed_dictionaries(
    {"password": st.none() | PASSWORD, "is_verified": st.booleans(), "port": st.sampled_from([25, 465, 587])}
)


def make(name: str = "Primary", **fields: object) -> StoredConfig:
    return configs.create(parse_change({"name": name, **SERVER, **fields}), actor="tester")


def verified(stored: StoredConfig) -> StoredConfig:
    configs.mark_tested(stored.settings, None, stored.row.id)
    return configs.get(stored.row.id)


def shown() -> list[dict[str, Any]]:
    """What page, API and command line say of each configuration."""
    return [public_dict(stored) for stored in everything()]


def on_page(visitor: Visitor, stored: StoredConfig) -> str:
    return html.unescape(visitor.get(f"/settings/smtp/{stored.row.id}").text)


# Sealing × rotation × relay.


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(CONFIG, min_size=1, max_size=4))
def test_what_is_shown_is_the_same_before_during_and_after_a_rotation(
    app: Flask, environment: Environment, tmp_path: Path, asked: list[dict[str, Any]]
) -> None:
    with transaction() as session:
        session.execute(delete(SmtpConfig))
    for number, config in enumerate(asked):
        login = {"smtp_username": "user", "smtp_password": config["password"]} if config["password"] else {}
        stored = make(f"Server {number}", smtp_port=config["port"], is_active=number == 0, **login)
        if config["is_verified"]:
            verified(stored)
    before = shown()
    assert [(each["has_password"], each["verified"]) for each in before] == [
        (config["password"] is not None, config["is_verified"]) for config in asked
    ]
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        assert shown() == before
        assert len(key_rotation.rotate().rotated) == len(asked)
        assert shown() == before
    with under(environment, tmp_path, NEW_KEY):
        assert shown() == before
        assert [stored.settings.password.reveal() for stored in everything()] == [
            config["password"] or "" for config in asked
        ]
        assert next(iter(route.steps())).settings


def test_a_relay_without_login_never_shows_that_a_password_is_stored(
    app: Flask, environment: Environment, tmp_path: Path
) -> None:
    make_alice(is_admin=True)
    relay, other = verified(make("Relay")), make("Other", **LOGIN)

    def check(running: Flask) -> None:
        visitor = visit(running)
        assert visitor.sign_in().status_code == 303
        assert STORED_HINT not in on_page(visitor, relay)
        assert "Remove the stored password" not in on_page(visitor, relay)
        assert STORED_HINT in on_page(visitor, other)
        row = configs.get(relay.row.id).row
        assert (row.smtp_password, row.client_key) == ("", "")
        told = {each["name"]: each for each in shown()}
        assert (told["Relay"]["smtp_password"], told["Relay"]["has_password"]) == ("", False)
        assert (told["Other"]["smtp_password"], told["Other"]["has_password"]) == (MASK, True)
        assert told["Relay"]["has_client_key"] is False
        listed = json.loads(running.test_cli_runner().invoke(args=["smtp", "list", "--json"]).stdout)
        assert {each["name"]: each["has_password"] for each in listed} == {"Relay": False, "Other": True}

    check(app)
    with under(environment, tmp_path, NEW_KEY, APP_KEY) as between:
        check(between)
        key_rotation.rotate()
        check(between)
    with under(environment, tmp_path, NEW_KEY) as later:
        check(later)
        configs.update(relay.row.id, parse_change({"from_name": "Relay"}))  # sealed again, not only anew
        check(later)


@any_login
def test_a_row_of_a_previous_key_is_sealed_whole_with_the_current_one_when_it_is_saved(
    app: Flask, environment: Environment, tmp_path: Path, login: dict[str, str]
) -> None:
    stored = make(**login)
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        configs.update(stored.row.id, parse_change({"from_name": "New"}))
    for keys in ((NEW_KEY, APP_KEY), (NEW_KEY,) if not login else (NEW_KEY, APP_KEY)):
        with under(environment, tmp_path, *keys):
            again = configs.get(stored.row.id)
            assert (again.condition, again.settings.password.reveal()) == (
                Condition.GOOD,
                login.get("smtp_password", ""),
            )


# What is doubtful.


@any_alteration
@any_login
def test_what_is_not_usable_is_never_verified_though_its_mark_is_there(
    admin: Visitor, bearer: dict[str, str], edit: Edit, login: dict[str, str]
) -> None:
    stored = verified(make(is_active=True, **login))
    assert stored.is_verified
    sql(f"UPDATE smtp_config SET {edit.sql}")
    again = configs.get(stored.row.id)
    if edit.sql.startswith("smtp_password = ''") and not login:
        assert again.is_verified  # nothing has changed
        return
    assert (again.condition, again.is_usable, again.is_verified) == (edit.condition, False, False)
    data = admin.get("/api/settings/smtp", headers=bearer).get_json()["data"]
    # Without its key a relay is only to be looked through and saved: nothing of it is secret.
    needs_reentry = bool(login) or edit.condition is not Condition.KEY_MISSING
    assert (data["verified"], data["verified_at"], data["needs_reentry"]) == (False, None, needs_reentry)
    assert "Verified" not in on_page(admin, again).replace("Not verified", "")


def test_an_invalid_row_is_not_verified_though_its_values_once_passed_a_test(app: Flask) -> None:
    stored = verified(make(**LOGIN))
    with transaction() as session:
        row = session.get(SmtpConfig, stored.row.id)
        assert row
        row.reply_to = "nobody"
        sealing.seal(row, sealing.unsealed(stored.row).settings)
    again = configs.get(stored.row.id)
    assert (again.condition, again.is_verified) == (Condition.INVALID, False)


@any_alteration
def test_each_row_that_cannot_be_used_is_told_its_own_reason_everywhere(
    app: Flask, admin: Visitor, bearer: dict[str, str], edit: Edit
) -> None:
    stored = make(is_active=True, **LOGIN)
    sql(f"UPDATE smtp_config SET {edit.sql}")
    again = configs.get(stored.row.id)
    assert (again.problem, again.errors) == (edit.told, {"smtp_password": [edit.told]})
    test = admin.post("/api/settings/smtp/test", headers=bearer)
    checked = app.test_cli_runner().invoke(args=["smtp", "test", "Primary"]).output
    page = on_page(admin, again)
    for text in (test.get_data(as_text=True), checked, page, " ".join(step.reason for step in route.steps())):
        assert edit.told in text
        for other in {sealing.ALTERED, sealing.OUTDATED, sealing.UNREADABLE} - {edit.told}:
            assert other not in text
    assert STORED_HINT not in page


@any_alteration
def test_a_save_that_leaves_the_password_of_a_doubtful_row_is_refused_with_that_rows_reason(
    app: Flask, edit: Edit
) -> None:
    stored = make(**LOGIN)
    sql(f"UPDATE smtp_config SET {edit.sql}")
    with pytest.raises(InvalidInput) as refused:
        configs.update(stored.row.id, parse_change({"from_name": "Shop"}))
    sentences = {sentence for found in refused.value.errors.values() for sentence in found}
    assert sentences == {edit.told}
    assert ("smtp_password" in refused.value.errors) is ("smtp_password = ''" not in edit.sql)


@any_alteration
@pytest.mark.parametrize(
    "mend", [{"remove_password": True, "smtp_username": ""}, LOGIN], ids=["without a password", "with another one"]
)
def test_a_doubtful_row_is_good_again_once_every_field_is_given(
    app: Flask, edit: Edit, mend: dict[str, object]
) -> None:
    stored = make(**LOGIN)
    sql(f"UPDATE smtp_config SET {edit.sql}")
    mended = configs.update(stored.row.id, parse_change({**SERVER, **mend}))
    assert (mended.condition, mended.problem) == (Condition.GOOD, "")
    assert mended.settings.password.reveal() == mend.get("smtp_password", "")
    assert (mended.row.smtp_password == "") is ("smtp_password" not in mend)
    assert mended.settings.from_name == "Shop"


@any_alteration
@pytest.mark.parametrize("absent", sorted(SERVER))
def test_no_field_of_a_doubtful_row_is_blessed_by_leaving_it_out(app: Flask, edit: Edit, absent: str) -> None:
    stored = make(**LOGIN)
    sql(f"UPDATE smtp_config SET {edit.sql}")
    change = {name: value for name, value in {**SERVER, **LOGIN}.items() if name != absent}
    with pytest.raises(InvalidInput) as refused:
        configs.update(stored.row.id, parse_change(change))
    assert refused.value.errors == {absent: [edit.told]}


@pytest.mark.parametrize("change", [{"use_tls": True}, {"use_ssl": True}, {"use_tls": False, "use_ssl": False}])
def test_either_choice_of_encryption_is_one_for_a_doubtful_row(app: Flask, change: dict[str, bool]) -> None:
    stored = make()
    sql("UPDATE smtp_config SET key_id = 'lost'")
    rest = {name: value for name, value in SERVER.items() if name != "use_tls"}
    assert configs.update(stored.row.id, parse_change({**rest, **change})).condition is Condition.GOOD


def test_what_says_nothing_in_a_doubtful_row_may_be_left_out(app: Flask) -> None:
    silent: dict[str, object] = {
        "from_name": "",
        "reply_to": "",
        "helo_hostname": "",
        "timeout_seconds": 10,
        "auth_method": "",
    }
    stored = configs.create(parse_change({"name": "Primary", **SERVER, **silent}))
    sql("UPDATE smtp_config SET key_id = 'lost'")
    rest = {name: value for name, value in SERVER.items() if name not in silent}
    assert configs.update(stored.row.id, parse_change({**rest, "smtp_username": ""})).condition is Condition.GOOD


def test_the_form_of_an_invalid_row_does_not_ask_for_the_password_which_is_kept(app: Flask, admin: Visitor) -> None:
    stored = make(is_active=True, **LOGIN)
    with transaction() as session:
        row = session.get(SmtpConfig, stored.row.id)
        assert row
        row.reply_to = "nobody"
        sealing.seal(row, stored.settings)
    page = on_page(admin, configs.get(stored.row.id))
    assert STORED_HINT in page
    assert "can no longer be used" not in page


def test_a_token_that_no_key_opens_is_told_as_altered_and_not_as_a_lost_key(app: Flask) -> None:
    stored = make(**LOGIN)
    with transaction() as session:
        row = session.get(SmtpConfig, stored.row.id)
        assert row
        row.smtp_password = "gAAAAA"
        sealing.seal(row, stored.settings)
    again = configs.get(stored.row.id)
    assert (again.condition, again.problem, again.settings.password.reveal()) == (
        Condition.ALTERED,
        sealing.ALTERED,
        "",
    )


def test_a_row_that_has_no_key_yet_is_sealed_whole_with_the_current_one(app: Flask) -> None:
    stored = make(**LOGIN)
    with transaction() as session:
        row = session.get(SmtpConfig, stored.row.id)
        assert row
        row.key_id = ""
        sealing.seal(row, stored.settings)
    assert configs.get(stored.row.id).settings.password.reveal() == LOGIN["smtp_password"]


def test_a_binding_fits_its_column(app: Flask) -> None:
    kind = SmtpConfig.__table__.c.binding_mac.type
    assert isinstance(kind, String)
    assert len(make().row.binding_mac) == kind.length


# What was tested.


@any_login
def test_a_test_is_of_the_stored_server_only_where_each_tested_value_is_the_stored_one(
    app: Flask, login: dict[str, str]
) -> None:
    stored = make(**login)
    assert sealing.are_stored(stored.settings, stored)
    for other in (
        {"host": "evil.example"},
        {"port": 465},
        {"username": "other"},
        {"password": Secret("other")},
        {"from_email": "b@example.com"},
        {"helo_hostname": "other.example"},
        {"auth_method": "PLAIN"},
        {"timeout_seconds": 9},
        {"security": Security.TLS},
        {"client_certificate": "certificate"},
        {"client_key": Secret("key")},
    ):
        assert not sealing.are_stored(replace(stored.settings, **other), stored)
    assert sealing.are_stored(replace(stored.settings, from_name="Other", reply_to="b@example.com"), stored)


@any_alteration
def test_no_test_is_of_a_server_that_is_not_usable(app: Flask, edit: Edit) -> None:
    make(**LOGIN)
    sql(f"UPDATE smtp_config SET {edit.sql}")
    again = configs.find_by_name("Primary")
    assert again
    assert not sealing.are_stored(again.settings, again)


# The proof of a test.


@pytest.mark.parametrize(("age", "counts"), [(0, True), (3599, True), (3600, True), (3601, False), (86_400, False)])
def test_a_proof_of_a_test_holds_for_an_hour(
    app: Flask, monkeypatch: pytest.MonkeyPatch, age: int, counts: bool
) -> None:
    change = parse_change({"name": "Primary", **SERVER, **LOGIN})
    settings_tested = configs.preview(change)
    now = time.time()
    proof = sealing.issue_proof(settings_tested)
    monkeypatch.setattr(time, "time", lambda: float(int(now) + age))
    assert configs.create(change, proof=proof).is_verified is counts


@pytest.mark.parametrize("proof", ["", "1800000000", "1800000000.", "soon.00", ".", "1800000000.00"])
def test_what_is_no_proof_verifies_nothing(app: Flask, proof: str) -> None:
    assert configs.create(parse_change({"name": "Primary", **SERVER}), proof=proof).is_verified is False
