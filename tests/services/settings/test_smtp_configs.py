"""Stored configurations: sealed, bound to their destination, saved whole or not at all."""

import base64
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from flask import Flask
from sqlalchemy import text

from app import create_app
from database.engine import transaction
from database.smtp_db import SmtpConfig
from services.settings import configs, route, sealing
from services.settings.fields import MASK, parse_change
from services.settings.sealing import Condition, StoredConfig
from services.settings.shown import public_dict
from services.settings.table import BOUND
from services.smtp.settings import SmtpSettings
from tests.patience import PATIENCE
from tests.processes import CONTEXT
from utils.env_utils import get_fernet_key
from utils.errors import Conflict, InvalidInput
from utils.secret import Secret

FIRST = {
    "smtp_server": "smtp.example.com",
    "smtp_username": "user",
    "smtp_password": "hunter2 ünd mehr",
    "from_email": "noreply@example.com",
}


def save(**change: object) -> StoredConfig:
    return configs.save(parse_change(change), actor="tester")


def sql(statement: str) -> None:
    with transaction() as session:
        session.execute(text(statement))


def stored() -> StoredConfig:
    found = configs.find_by_name("Primary")
    assert found
    return found


def preview(**change: object) -> SmtpSettings:
    return configs.preview(parse_change(change), stored().row.id)


def mark_tested(message: str | None = None, settings: SmtpSettings | None = None) -> None:
    configs.mark_tested(settings or stored().settings, message, stored().row.id)


@pytest.fixture(autouse=True)
def first(app: Flask) -> StoredConfig:
    return save(**FIRST)


def test_the_first_save_makes_an_active_row_named_primary() -> None:
    row = stored().row
    assert (row.name, row.is_active, row.version, row.updated_by) == ("Primary", True, 1, "tester")


def test_a_saved_password_comes_back_unsealed() -> None:
    assert stored().settings.password == Secret("hunter2 ünd mehr")


def test_the_specified_code_reads_our_row() -> None:
    assert Fernet(get_fernet_key()).decrypt(stored().row.smtp_password.encode()).decode() == "hunter2 ünd mehr"


def test_no_encoding_of_the_password_is_in_the_database_file(app: Flask, tmp_path: Path) -> None:
    save(smtp_password="replaced-s3cret")
    save(smtp_password="another-s3cret")
    content = b"".join(file.read_bytes() for file in tmp_path.glob("test.db*"))
    for secret in ("hunter2", "replaced-s3cret", "another-s3cret"):
        assert secret.encode() not in content
        assert base64.b64encode(secret.encode())[:8] not in content


def test_saving_again_raises_the_version_and_keeps_the_token() -> None:
    before = stored().row
    save(from_name="Shop")
    assert stored().row.version == before.version + 1
    assert stored().row.smtp_password == before.smtp_password


def test_a_stale_version_is_a_conflict_and_changes_nothing() -> None:
    save(from_name="First")
    with pytest.raises(Conflict):
        save(from_name="Second", version=1)
    assert stored().row.from_name == "First"


def test_a_refused_save_writes_nothing() -> None:
    with pytest.raises(InvalidInput):
        save(from_name="Half", smtp_server="evil.example")
    assert (stored().row.from_name, stored().row.version) == ("", 1)


def test_switching_off_leaves_no_active_row() -> None:
    save(is_active=False)
    assert configs.find_active() is None
    assert stored().row.is_active is False


@pytest.mark.parametrize(
    "edit",
    [
        "smtp_server = 'evil.example'",
        "smtp_port = 2525",
        "smtp_username = 'other'",
        "from_email = 'x@evil.example'",
        "use_tls = 0",
        "use_tls = 0, use_ssl = 1",
        "smtp_password = ''",
        "smtp_password = substr(smtp_password, 1, 60)",
        "binding_mac = 'x'",
        "binding_mac = 'ü'",
        "from_name = 'Your bank'",
        "from_name = ' '",
        "reply_to = 'x@evil.example'",
        "reply_to = 'not an address'",
        "helo_hostname = 'evil.example'",
        "auth_method = 'PLAIN'",
        "auth_method = 'plain'",
        "timeout_seconds = 60",
        "timeout_seconds = 'long'",
        "client_certificate = 'x'",
        "client_key = smtp_password",
    ],
)
def test_a_row_that_was_edited_in_sql_is_refused(edit: str) -> None:
    sql(f"UPDATE smtp_config SET {edit}")
    assert stored().condition is Condition.ALTERED
    assert stored().settings.password == Secret("")


@pytest.mark.parametrize("column", BOUND)
def test_an_altered_field_is_passed_over_and_the_route_goes_on(
    column: str, environment: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sql(f"UPDATE smtp_config SET {column} = '1'")
    fallback = {"EMAIL_HOST": "fallback.example", "DEFAULT_FROM_EMAIL": "f@example.com"}
    with create_app({**environment, **fallback}, instance_path=tmp_path).app_context():
        step = route.first_usable()
        assert step
        assert step.source == "env"
    assert any(record.name == "security" and sealing.ALTERED in str(record.msg) for record in caplog.records)


def test_every_column_is_bound_or_left_out_for_a_reason() -> None:
    switches = {"is_active", "failover", "emails_per_minute", "emails_per_day", "name", "name_key"}  # need no key
    observed = {"verified_at", "verified_fingerprint", "last_error", "failed_over_at", "failed_over_to"}
    observed |= {"active_until", "failover_told_at", "created_at", "updated_at", "updated_by", "version", "id"}
    observed |= {"inactive_reason", "fell_back", "broken_told_at", "oauth_consent"}
    as_scope_and_mode, the_seal = {"account_id", "use_tls", "use_ssl"}, {"key_id", "binding_mac"}
    decided = {*BOUND, *switches, *observed, *as_scope_and_mode, *the_seal}
    assert {column.name for column in SmtpConfig.__table__.columns} == decided


def test_switches_names_and_limits_can_be_changed_while_the_row_cannot_be_used() -> None:
    sql("UPDATE smtp_config SET reply_to = 'x@evil.example'")
    save(failover=False, emails_per_day=5, is_active=False)
    assert stored().condition is Condition.ALTERED
    assert (stored().row.failover, stored().row.is_active) == (False, False)


@pytest.mark.parametrize("field", ["reply_to", "from_name", "helo_hostname", "auth_method", "timeout_seconds"])
def test_an_altered_field_is_not_blessed_by_a_save_that_does_not_give_it(field: str) -> None:
    values = {"reply_to": "x@evil.example", "from_name": "Your bank", "helo_hostname": "evil.example"}
    values |= {"auth_method": "LOGIN", "timeout_seconds": "59"}
    sql(f"UPDATE smtp_config SET {field} = '{values[field]}'")
    everything_else = {**FIRST, "smtp_port": 587, "use_tls": True}
    with pytest.raises(InvalidInput) as caught:
        save(**everything_else)
    assert list(caught.value.errors) == [field]
    save(**everything_else, **{field: 10 if field == "timeout_seconds" else ""})
    assert stored().condition is Condition.GOOD


def test_a_row_without_password_is_bound_as_well() -> None:
    save(remove_password=True)
    sql("UPDATE smtp_config SET smtp_server = 'evil.example'")
    assert stored().condition is Condition.ALTERED


def test_a_token_from_another_row_is_refused() -> None:
    first_token = stored().row.smtp_password
    save(smtp_password="other", smtp_server="b.example")
    with transaction() as session:
        session.execute(text("UPDATE smtp_config SET smtp_password = :token"), {"token": first_token})
    assert stored().condition is Condition.ALTERED


def test_an_altered_row_is_not_blessed_by_a_partial_save() -> None:
    sql("UPDATE smtp_config SET smtp_server = 'evil.example'")
    with pytest.raises(InvalidInput) as caught:
        save(from_name="X")
    assert list(caught.value.errors) == ["smtp_password"]
    with pytest.raises(InvalidInput) as caught:
        save(smtp_password="new")
    assert "smtp_server" in caught.value.errors


def test_an_altered_row_is_mended_by_giving_everything_anew() -> None:
    sql("UPDATE smtp_config SET smtp_server = 'evil.example'")
    save(**FIRST, smtp_port=587, use_tls=True)
    assert stored().is_usable


def another_key(environment: dict[str, str], tmp_path: Path, **more: str) -> Flask:
    return create_app({**environment, "APP_KEY": "An0ther-K3y-9vXqLw2RbT7yNc5MdJ8hPf", **more}, instance_path=tmp_path)


def test_under_another_key_the_row_stays_byte_for_byte_and_says_what_to_do(
    environment: dict[str, str], tmp_path: Path
) -> None:
    before = stored().row
    with another_key(environment, tmp_path).app_context():
        locked = stored()
        assert locked.condition is Condition.KEY_MISSING
        assert public_dict(locked)["needs_reentry"] is True
        with pytest.raises(InvalidInput) as caught:
            save(from_name="X")
        assert caught.value.errors == {"smtp_password": [sealing.UNREADABLE]}
    assert stored().row.smtp_password == before.smtp_password
    assert stored().is_usable


def test_under_another_key_the_password_can_be_entered_again(environment: dict[str, str], tmp_path: Path) -> None:
    with another_key(environment, tmp_path).app_context():
        save(**FIRST, smtp_port=587, use_tls=True)
        assert stored().is_usable


def test_a_previous_key_still_opens_what_it_sealed(environment: dict[str, str], tmp_path: Path) -> None:
    app = another_key(environment, tmp_path, APP_KEY_PREVIOUS=environment["APP_KEY"])
    with app.app_context():
        assert stored().settings.password == Secret("hunter2 ünd mehr")
        save(from_name="Kept")
        assert stored().is_usable


def test_the_public_view_shows_the_mask_whatever_the_password() -> None:
    shown = public_dict(stored())
    assert (shown["smtp_password"], shown["has_password"]) == (MASK, True)
    save(remove_password=True)
    shown = public_dict(stored())
    assert (shown["smtp_password"], shown["has_password"]) == ("", False)


def proof_of(settings: SmtpSettings) -> str:
    return sealing.issue_proof(settings)


def test_a_test_of_the_saved_values_verifies_without_touching_version_or_time() -> None:
    before = stored().row
    mark_tested()
    assert stored().is_verified
    assert (stored().row.version, stored().row.updated_at) == (before.version, before.updated_at)


def test_a_test_of_other_values_verifies_nothing() -> None:
    mark_tested(settings=preview(smtp_password="other"))
    assert not stored().is_verified


def test_a_failed_test_of_the_saved_values_is_noted() -> None:
    mark_tested("Authentication failed")
    assert stored().row.last_error == "Authentication failed"


@pytest.mark.parametrize(
    "change",
    [{"smtp_password": "new"}, {"from_email": "b@example.com"}, {"helo_hostname": "x.example"}],
)
def test_any_change_of_tested_values_takes_the_mark_away(change: dict[str, object]) -> None:
    mark_tested()
    save(**change)
    assert not stored().is_verified


def test_a_change_of_what_no_test_exercises_leaves_the_mark() -> None:
    mark_tested()
    save(from_name="Shop")
    assert stored().is_verified


def test_values_that_were_tested_on_screen_are_verified_when_saved() -> None:
    change = parse_change({"smtp_password": "new"})
    proof = proof_of(preview(smtp_password="new"))
    configs.save(change, actor="tester", proof=proof)
    assert stored().is_verified


@pytest.mark.parametrize("proof", ["", "x", "1.2", "9" * 400 + ".x", "²³.x", "ü.ü"])
def test_a_made_up_proof_verifies_nothing(proof: str) -> None:
    configs.save(parse_change({"smtp_password": "new"}), actor="tester", proof=proof)
    assert not stored().is_verified


def test_a_proof_of_other_values_verifies_nothing() -> None:
    proof = proof_of(preview(smtp_password="one"))
    configs.save(parse_change({"smtp_password": "two"}), actor="tester", proof=proof)
    assert not stored().is_verified


def _race(environment: dict[str, str], folder: str, name: str, go: object, results: object) -> None:
    app = create_app(environment, instance_path=Path(folder))
    with app.app_context():
        go.wait()  # type: ignore[attr-defined]
        try:
            configs.save(parse_change({"from_name": name, "version": 1}), actor=name)
            results.put("saved")  # type: ignore[attr-defined]
        except Conflict:
            results.put("conflict")  # type: ignore[attr-defined]


def test_of_two_processes_that_save_the_same_version_one_wins(environment: dict[str, str], tmp_path: Path) -> None:
    go, results = CONTEXT.Barrier(2), CONTEXT.Queue()
    racers = [
        CONTEXT.Process(target=_race, args=(environment, str(tmp_path), name, go, results)) for name in ("one", "two")
    ]
    for racer in racers:
        racer.start()
    outcomes = sorted(results.get(timeout=PATIENCE) for _ in racers)
    for racer in racers:
        racer.join()
    assert outcomes == ["conflict", "saved"]
