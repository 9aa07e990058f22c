"""The form of one server without JavaScript: `/settings/smtp/new` and `/settings/smtp/<id>`."""

import json
import re
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from database.engine import transaction
from services.settings import configs, sealing
from services.settings.rules import CHANGED_SERVER
from tests import certificates
from tests.loopback import free_port
from tests.recording_server import RecordingServer
from tests.server_form import FORM, LIST, NEW, is_ticked, run_test, save, stored, url, version
from tests.visitors import Visitor, make_bob


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "SMTP_CA_FILE": str(certificates.ca_file())}


def test_the_form_of_the_first_server_is_filled_in_as_far_as_can_be_guessed(admin: Visitor) -> None:
    page = admin.get(NEW)
    assert page.status_code == 200
    assert 'value="Primary"' in page.text
    assert is_ticked(page.text, "is_active")


def test_saving_leads_to_the_list_that_says_where_mail_goes(admin: Visitor) -> None:
    answer = save(admin)
    assert (answer.status_code, answer.location) == (303, LIST)
    assert "Mail goes through Primary (smtp.example.com) as noreply@example.com." in admin.get(LIST).text
    assert (stored().row.from_name, stored().row.updated_by) == ("Müller, Söhne", "alice")


def test_the_password_is_in_no_page(admin: Visitor) -> None:
    save(admin)
    assert "typed-s3cret" not in admin.get(url()).text
    assert "typed-s3cret" not in save(admin, smtp_port="abc", smtp_password="typed-s3cret").text


def test_a_blank_password_keeps_the_stored_one(admin: Visitor) -> None:
    save(admin)
    assert save(admin, smtp_password="", from_name="X", version=version()).status_code == 303
    assert stored().settings.password.reveal() == "typed-s3cret"


def test_the_password_can_be_removed(admin: Visitor) -> None:
    save(admin)
    save(admin, smtp_password="", remove_password="1", version=version())
    assert stored().row.smtp_password == ""


def test_a_changed_server_wants_the_password_again_at_its_field(admin: Visitor) -> None:
    save(admin)
    answer = save(admin, smtp_server="other.example", smtp_password="", version=version())
    assert answer.status_code == 422
    assert CHANGED_SERVER in answer.text
    assert 'value="other.example"' in answer.text


@pytest.mark.parametrize("port", ["0", "-5", "65536", "abc", "587.5", "", "９９", "1" * 400])
def test_a_wrong_port_is_told_at_the_port_and_nothing_else_is_lost(admin: Visitor, port: str) -> None:
    answer = save(admin, smtp_port=port)
    assert answer.status_code == 422
    assert "Enter a whole number from 1 to 65535." in answer.text
    assert 'value="smtp.example.com"' in answer.text
    assert configs.find_active() is None


def test_hostile_text_is_shown_as_text(admin: Visitor) -> None:
    answer = save(admin, from_name='"><script>alert(1)</script>', smtp_port="abc")
    assert "<script>alert(1)" not in answer.text


def test_a_save_over_somebody_elses_change_is_a_conflict_that_loses_nothing(admin: Visitor) -> None:
    save(admin)
    save(admin, from_name="Theirs", version="1", smtp_password="")
    answer = save(admin, from_name="Mine", version="1", smtp_password="")
    assert answer.status_code == 409
    assert 'value="Mine"' in answer.text
    assert stored().row.from_name == "Theirs"


def test_a_field_sent_twice_is_refused(admin: Visitor) -> None:
    token = admin.csrf_token()
    answer = admin.post(NEW, data={**FORM, "smtp_server": ["a.example", "b.example"], "csrf_token": token})
    assert answer.status_code == 400


def test_a_preset_fills_the_form_without_saving(admin: Visitor) -> None:
    page = admin.get(f"{NEW}?preset=gmail").text
    assert 'value="smtp.gmail.com"' in page
    assert "app password" in page
    assert configs.find_active() is None


def test_a_region_of_amazon_ses_fills_its_own_host(admin: Visitor) -> None:
    assert 'value="email-smtp.eu-central-1.amazonaws.com"' in admin.get(f"{NEW}?preset=ses:eu-central-1").text


@pytest.mark.parametrize(
    ("server", "region"),
    [("smtp.office365.us", "office365:us"), ("smtppro.zoho.eu", "zoho:eu"), ("smtp.1und1.de", "ionos:1und1")],
)
def test_a_server_that_was_named_is_kept_and_its_region_chosen(admin: Visitor, server: str, region: str) -> None:
    page = admin.get(f"{NEW}?find={server}").text
    assert f'value="{server}"' in page
    assert re.findall(r'<option value="(\w+:\w+)" selected>', page) == [region]


def test_regions_in_which_everybody_has_another_server_are_not_offered(admin: Visitor) -> None:
    page = admin.get(f"{NEW}?preset=microsoft365-relay").text
    assert re.search(r'<form id="region-form"[^>]* hidden', page)
    assert "microsoft365-relay:" not in page


def test_a_test_shows_its_steps_and_stores_nothing(admin: Visitor) -> None:
    with RecordingServer() as server:
        page = run_test(admin, server)
        assert server.mails == []
    assert page.status_code == 200
    assert "Connection successful" in page.text
    assert "Tested the settings on screen. Not saved yet." in page.text
    assert configs.find_active() is None


def test_values_tested_on_screen_are_verified_by_saving_them(admin: Visitor) -> None:
    with RecordingServer() as server:
        page = run_test(admin, server, to="ann@elsewhere.example")
        assert b"RCPT TO:<ann@elsewhere.example>" in server.data
        proof = re.search(r'name="proof" value="([^"]+)"', page.text)
        assert proof
        place = {"smtp_server": server.host, "smtp_port": str(server.port), "security": "none"}
        save(admin, **place, smtp_username="", smtp_password="", proof=proof[1])
    assert stored().is_verified
    assert "Verified <time" in admin.get(url()).text


def test_a_server_that_was_asked_about_its_own_domain_only_is_not_verified_for_others(admin: Visitor) -> None:
    with RecordingServer() as server:
        page = run_test(admin, server)
        assert "Connection successful, to your own domain only" in page.text
        assert "Enter an address at another domain for the test email" in page.text
        proof = re.search(r'name="proof" value="([^"]+)"', page.text)
        assert proof
        place = {"smtp_server": server.host, "smtp_port": str(server.port), "security": "none"}
        save(admin, **place, smtp_username="", smtp_password="", proof=proof[1])
    assert not stored().is_verified
    assert "Verified for your own domain only" in admin.get(url()).text
    assert "Verified for your own domain only" in admin.get("/settings/smtp").text


def test_the_test_message_is_sent_and_says_so(admin: Visitor) -> None:
    with RecordingServer() as server:
        page = run_test(admin, server, send="1", to="me@example.com")
        (mail,) = server.wait_for_mail()
    assert mail.recipients == ("me@example.com",)
    assert "Accepted does not mean delivered" in page.text


def test_the_test_message_goes_to_the_administrator_unless_told_otherwise(admin: Visitor) -> None:
    with RecordingServer() as server:
        run_test(admin, server, send="1", to="")
        (mail,) = server.wait_for_mail()
    assert mail.recipients == ("alice@example.com",)


def test_two_recipients_of_a_test_message_are_refused(admin: Visitor) -> None:
    with RecordingServer() as server:
        assert run_test(admin, server, send="1", to="a@example.com, b@example.com").status_code == 422
        assert server.mails == []


def test_a_failed_test_says_what_to_do_and_links_the_field(admin: Visitor) -> None:
    with RecordingServer(users={"user": "right"}) as server:
        page = run_test(admin, server, smtp_username="user", smtp_password="wrong-s3cret").text
    assert "Authentication failed" in page
    assert "app password" in page
    assert 'href="#smtp_password"' in page
    assert "wrong-s3cret" not in page


def test_a_script_hears_the_steps_as_lines(admin: Visitor) -> None:
    with RecordingServer() as server:
        place = {"smtp_server": server.host, "smtp_port": str(server.port), "security": "none"}
        answer = admin.post_form(
            f"{NEW}/test",
            {**FORM, **place, "smtp_username": "", "smtp_password": ""},
            headers={"Accept": "application/x-ndjson"},
        )
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[0].items() >= {"type": "step", "name": "settings", "label": "Settings"}.items()
    assert lines[-1].items() >= {"type": "result", "ok": True, "level": "warning"}.items()
    assert lines[-1]["title"] == "Connection successful, to your own domain only"


def test_a_script_gets_refused_fields_as_json_under_the_forms_names(admin: Visitor) -> None:
    answer = admin.post_form(f"{url()}/test", {**FORM, "security": "none"}, headers={"Accept": "application/x-ndjson"})
    assert answer.status_code == 422
    assert list(answer.get_json()["errors"]) == ["security"]


def test_after_a_failed_test_of_the_saved_values_the_page_says_so(admin: Visitor) -> None:
    place = {"smtp_server": "127.0.0.1", "smtp_port": str(free_port()), "security": "none"}
    fields = {**FORM, **place, "smtp_username": "", "smtp_password": ""}
    admin.post_form(NEW, fields)
    admin.post_form(f"{url()}/test", {**fields, "version": version()})
    assert "Could not connect to server" in admin.get(url()).text


def test_a_row_that_was_edited_in_sql_is_told_and_does_not_break_the_page(admin: Visitor) -> None:
    save(admin)
    with transaction() as session:
        session.execute(text("UPDATE smtp_config SET smtp_server = 'evil.example'"))
    page = admin.get(url())
    assert page.status_code == 200
    assert sealing.ALTERED in page.text


def test_a_row_under_a_lost_key_is_told_and_does_not_break_the_page(admin: Visitor) -> None:
    save(admin)
    with transaction() as session:
        session.execute(text("UPDATE smtp_config SET key_id = '00000000'"))
    page = admin.get(url())
    assert page.status_code == 200
    assert sealing.UNREADABLE in page.text


@pytest.mark.parametrize("fields", [{}, {"send": "1"}])
def test_without_a_token_of_the_session_nothing_is_tested(admin: Visitor, fields: dict[str, Any]) -> None:
    assert admin.post(f"{NEW}/test", data={**FORM, **fields}).status_code == 400


def test_accounts_that_are_no_administrators_are_turned_away(app: Flask, client: Visitor) -> None:
    make_bob()
    client.sign_in("bob")
    for answer in (client.get(NEW), client.post_form(NEW, FORM), client.post_form(f"{NEW}/test", FORM)):
        assert answer.status_code == 403


def test_who_is_signed_out_is_led_to_sign_in(client: Visitor) -> None:
    answer = client.get(LIST)
    assert answer.status_code == 303
    assert answer.location.startswith("/login")
