"""A client certificate on a stored configuration: sealed, bound, kept for its server, rotated and removed."""

import ssl
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from flask import Flask
from sqlalchemy import text

from app import create_app
from database.engine import transaction
from database.smtp_db import SmtpConfig
from services import audit
from services.checks import validation
from services.settings import configs, key_rotation, sealing, state
from services.settings.fields import MASK, parse_change
from services.settings.rules import CHANGED_SERVER_FOR_KEY, NEEDS_ENCRYPTION
from services.settings.sealing import Condition, StoredConfig
from services.settings.shown import public_dict
from services.smtp.client_certificate import OTHER_KEY
from services.smtp.settings import SmtpSettings
from tests.certificates import ClientPair, client_pair
from tests.conftest import APP_KEY
from tests.rotations import NEW_KEY, under
from utils.encryption_utils import current_key_id
from utils.errors import InvalidInput
from utils.secret import Secret

SERVER = {"smtp_server": "smtp.example.com", "from_email": "a@example.com"}
LOGIN = {"smtp_username": "user", "smtp_password": "pw"}


@cache
def pair() -> ClientPair:
    return client_pair()


@cache
def other() -> ClientPair:
    return client_pair("other.example")


def given(made: ClientPair) -> dict[str, object]:
    return {"client_certificate": made.certificate, "client_key": made.key}


def save(**change: object) -> StoredConfig:
    return configs.save(parse_change(change), actor="tester")


def stored() -> StoredConfig:
    found = configs.find_by_name("Primary")
    assert found
    return found


def errors(**change: object) -> dict[str, list[str]]:
    with pytest.raises(InvalidInput) as caught:
        save(**change)
    return caught.value.errors


def sql(statement: str) -> None:
    with transaction() as session:
        session.execute(text(statement))


@pytest.fixture(autouse=True)
def first(app: Flask) -> StoredConfig:
    return save(**SERVER, **LOGIN, **given(pair()))


def identity() -> tuple[str, str]:
    settings = stored().settings
    return settings.client_certificate, settings.client_key.reveal()


def test_the_certificate_and_its_key_come_back_for_sending() -> None:
    assert identity() == (pair().certificate, pair().key)


def test_the_key_is_sealed_and_stands_in_no_file_of_the_database(tmp_path: Path) -> None:
    save(**given(other()))
    content = b"".join(file.read_bytes() for file in tmp_path.glob("test.db*"))
    for made in (pair(), other()):
        assert made.key.encode()[60:100] not in content
    assert stored().row.client_key.startswith("gAAAA")


def test_a_certificate_without_a_login_is_kept() -> None:
    save(**SERVER, remove_password=True, **given(pair()))
    assert (stored().settings.username, identity()[1]) == ("", pair().key)


@pytest.mark.parametrize("key", [{}, {"client_key": ""}, {"client_key": MASK}])
@pytest.mark.parametrize("certificate", [False, True])
def test_what_is_not_given_stays(key: dict[str, object], certificate: bool) -> None:
    token = stored().row.client_key
    save(from_name="Shop", **key, **({"client_certificate": pair().certificate} if certificate else {}))
    assert identity() == (pair().certificate, pair().key)
    assert stored().row.client_key == token


def test_what_get_answers_may_come_back() -> None:
    before = stored()
    save(**public_dict(before))
    assert stored().settings == before.settings


@pytest.mark.parametrize(
    "change",
    [
        {"smtp_server": "other.example.com"},
        {"smtp_port": 2525},
        {"use_ssl": True},
        {"smtp_username": "somebody"},
    ],
)
def test_the_stored_key_goes_only_to_the_server_it_was_entered_for(change: dict[str, object]) -> None:
    assert errors(**change, smtp_password="pw") == {"client_key": [CHANGED_SERVER_FOR_KEY]}
    assert set(errors(**change)) == {"smtp_password", "client_key"}
    with pytest.raises(InvalidInput):
        configs.preview(parse_change({**change, "smtp_password": "pw"}), stored().row.id)
    save(**change, smtp_password="pw", client_key=pair().key)
    assert identity()[1] == pair().key


@pytest.mark.parametrize("change", [{"smtp_server": "SMTP.example.com"}, {"smtp_port": 587}, {"use_tls": True}])
def test_another_spelling_of_the_same_server_keeps_the_key(change: dict[str, object]) -> None:
    save(**change)
    assert identity()[1] == pair().key


def test_a_renewed_certificate_for_the_same_key_needs_no_key() -> None:
    with_same_key = client_pair(key=_loaded(pair()))
    save(client_certificate=with_same_key.certificate)
    assert identity() == (with_same_key.certificate, pair().key)


def _loaded(made: ClientPair) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(made.key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


@pytest.mark.parametrize("field", ["client_certificate", "client_key"])
def test_a_key_that_does_not_belong_to_the_certificate_is_refused_at_the_key(field: str) -> None:
    assert errors(**{field: given(other())[field]}) == {"client_key": [OTHER_KEY]}
    assert identity() == (pair().certificate, pair().key)


@pytest.mark.parametrize(
    ("field", "absent"), [("client_certificate", "client_key"), ("client_key", "client_certificate")]
)
def test_one_without_the_other_is_refused_at_the_other(field: str, absent: str) -> None:
    save(remove_client_certificate=True)
    assert list(errors(**{field: given(pair())[field]})) == [absent]


def test_it_needs_encryption() -> None:
    assert errors(**SERVER, remove_password=True, use_tls=False, **given(pair())) == {
        "client_certificate": [NEEDS_ENCRYPTION]
    }
    assert errors(use_tls=False, remove_password=True) == {"client_certificate": [NEEDS_ENCRYPTION]}


def test_removing_it_forgets_both() -> None:
    save(remove_client_certificate=True)
    assert identity() == ("", "")
    assert (stored().row.client_certificate, stored().row.client_key) == ("", "")
    assert stored().settings.password == Secret("pw")


def test_removing_it_and_giving_another_at_once_is_refused() -> None:
    assert list(errors(remove_client_certificate=True, **given(other()))) == ["client_certificate"]


def test_one_that_has_expired_is_refused_when_it_is_entered() -> None:
    old = client_pair(days=-1)
    assert "expired" in errors(**given(old))["client_certificate"][0]


def test_one_that_expired_since_does_not_stop_another_change_and_is_told() -> None:
    old = client_pair(days=-1)
    row = stored().row
    with transaction() as session:
        held = session.get(SmtpConfig, row.id)
        assert held
        held.client_certificate = old.certificate
        settings = SmtpSettings(**{**vars(stored().settings), **given(old), "client_key": Secret(old.key)})
        sealing.seal(held, settings, kept=["smtp_password"])
    save(from_name="Shop")
    assert stored().is_usable
    assert "expired" in state.facts(stored()).advice
    findings = [finding for check in validation.checks() for finding in check.findings()]
    assert any("client certificate has expired" in finding.text for finding in findings)


def test_one_that_ends_soon_is_told_by_the_page_and_by_validate() -> None:
    save(**given(client_pair(days=5)))
    assert "expires on" in state.facts(stored()).advice
    assert "expires on" in state.describe(has_configs=True).detail
    findings = list(validation.checks()[0].findings())
    assert any("expires on" in finding.text for finding in findings)


@pytest.mark.parametrize("column", ["client_certificate", "client_key"])
@pytest.mark.parametrize("value", ["''", "'x'", "smtp_password"])
def test_it_is_bound_to_its_row(column: str, value: str) -> None:
    sql(f"UPDATE smtp_config SET {column} = {value}")
    assert stored().condition is Condition.ALTERED
    assert stored().settings.client_key == Secret("")


def test_a_key_from_another_row_is_refused() -> None:
    configs.create(parse_change({**SERVER, "name": "Second", **given(pair())}))
    sql("UPDATE smtp_config SET client_key = (SELECT client_key FROM smtp_config WHERE name = 'Primary')")
    second = configs.find_by_name("Second")
    assert second
    assert second.condition is Condition.ALTERED


def test_a_row_that_was_altered_needs_both_again_or_their_removal() -> None:
    sql("UPDATE smtp_config SET from_name = 'Your bank'")
    anew = {**SERVER, **LOGIN, "smtp_port": 587, "use_tls": True, "from_name": ""}
    assert set(errors(**anew)) == {"client_certificate", "client_key"}
    assert set(errors(**anew, client_certificate=pair().certificate)) == {"client_key"}
    save(**anew, **given(pair()))
    assert stored().is_usable
    sql("UPDATE smtp_config SET from_name = 'Your bank'")
    save(**anew, remove_client_certificate=True)
    assert (stored().is_usable, identity()) == (True, ("", ""))


def test_after_a_rotation_the_new_key_alone_opens_it(environment: dict[str, str], tmp_path: Path) -> None:
    configs.mark_tested(stored().settings, None, stored().row.id)
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        assert len(key_rotation.rotate().rotated) == 1
    with under(environment, tmp_path, NEW_KEY):
        assert identity() == (pair().certificate, pair().key)
        assert stored().is_verified


@pytest.mark.parametrize("change", [{"smtp_password": "new"}, {"client": "new"}])
def test_a_new_secret_takes_the_other_along_to_the_current_key(
    change: dict[str, object], environment: dict[str, str], tmp_path: Path
) -> None:
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        save(**(given(other()) if "client" in change else change))
        assert stored().row.key_id == current_key_id()
    with under(environment, tmp_path, NEW_KEY):
        assert stored().is_usable
        assert stored().settings.password == Secret(str(change.get("smtp_password", "pw")))
        assert identity()[1] == (other() if "client" in change else pair()).key


def test_a_change_of_neither_leaves_the_row_under_its_previous_key(environment: dict[str, str], tmp_path: Path) -> None:
    before = stored().row
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        save(from_name="Shop")
        assert (stored().row.key_id, stored().row.client_key) == (before.key_id, before.client_key)
        assert stored().is_usable


def test_a_lost_key_opens_neither_and_deletes_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    before = stored().row.client_key
    with create_app({**environment, "APP_KEY": NEW_KEY}, instance_path=tmp_path).app_context():
        assert stored().condition is Condition.KEY_MISSING
        assert (stored().row.client_key, stored().settings.client_key) == (before, Secret(""))


@pytest.mark.parametrize("change", [{"remove_client_certificate": True}, {"client": "other"}])
def test_another_certificate_takes_the_mark_of_a_test_away(change: dict[str, object]) -> None:
    configs.mark_tested(stored().settings, None, stored().row.id)
    assert stored().is_verified
    save(**(given(other()) if "client" in change else change))
    assert not stored().is_verified


def test_what_is_shown_holds_the_certificate_and_never_the_key() -> None:
    shown = public_dict(stored())
    assert shown["client_certificate"] == pair().certificate
    assert (shown["client_key"], shown["has_client_key"]) == (MASK, True)
    assert shown["client_certificate_facts"]["subject"] == "CN=client.example"
    assert pair().key[60:100] not in repr(shown)


def test_without_one_nothing_is_shown() -> None:
    save(remove_client_certificate=True)
    shown = public_dict(stored())
    assert [shown[name] for name in ("client_certificate", "client_key", "has_client_key")] == ["", "", False]
    assert shown["client_certificate_facts"] is None


def test_the_trail_says_that_it_changed_and_not_what() -> None:
    save(**given(other()))
    assert audit.events()[0].details == "client_certificate, client_key"


def test_settings_that_are_printed_do_not_show_the_key() -> None:
    assert pair().key[60:100] not in repr(stored().settings)
    assert pair().key[60:100] not in repr(stored().settings.identity)
    assert ssl.PEM_cert_to_DER_cert(stored().settings.client_certificate)


@pytest.mark.parametrize("lost", ["client_certificate", "client_key"])
def test_of_a_doubtful_row_half_an_identity_is_neither_kept_nor_forgotten_unasked(lost: str) -> None:
    sql(f"UPDATE smtp_config SET {lost} = ''")
    assert stored().condition is Condition.ALTERED
    both = {"smtp_port": 587, "use_tls": True, **SERVER, **LOGIN}
    refused = [sealing.ALTERED]
    assert errors(**both) == {"client_certificate": refused, "client_key": refused}
    assert errors(**both, client_certificate=pair().certificate) == {"client_key": refused}
    assert errors(**both, client_key=pair().key) == {"client_certificate": refused}
    mended = save(**both, **given(pair()))
    assert (mended.condition, identity()) == (Condition.GOOD, (pair().certificate, pair().key))


@pytest.mark.parametrize("lost", ["client_certificate", "client_key"])
def test_of_a_doubtful_row_half_an_identity_can_be_removed(lost: str) -> None:
    sql(f"UPDATE smtp_config SET {lost} = ''")
    both = {"smtp_port": 587, "use_tls": True, **SERVER, **LOGIN}
    assert save(**both, remove_client_certificate=True).condition is Condition.GOOD
    assert identity() == ("", "")
