"""What was typed stays: a form that met no session stands in its page again after the sign-in, for the same person."""

import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from sqlalchemy import text

from blueprints import kept
from blueprints.pages import versions
from database.engine import reading, transaction
from services.accounts import accounts, kept_forms, sessions
from services.settings import configs
from services.settings.fields import parse_change
from tests.visitors import PASSWORD, Visitor, make_bob, visit
from utils import clock
from utils.encryption_utils import subkey

URL = "/settings/smtp"
SECRET = "t0p-s3cret-typed"
TYPED = {
    "name": "Typed server", "smtp_server": "typed.example", "smtp_port": "2525", "security": "none",
    "smtp_username": "", "smtp_password": "", "from_email": "typed@example.com", "from_name": "Ünïcode <b>",
    "timeout_seconds": "17", "emails_per_minute": "7", "version": "1",
}  # fmt: skip


def stored() -> int:
    fields = {"name": "Stored", "smtp_server": "stored.example", "from_email": "a@example.com"}
    return configs.create(parse_change(fields)).row.id


def rows() -> int:
    with reading() as session:
        return int(session.execute(text("SELECT count(*) FROM kept_form")).scalar() or 0)


def end_sessions() -> None:
    """As a changed password does, or somebody else who ends all of them."""
    person = accounts.authenticate("alice", PASSWORD)
    assert person
    sessions.end_all(person.id)


def send_late(admin: Visitor, path: str, fields: dict[str, str], **options: object) -> str:
    """Send a form after its session has ended; where that leads."""
    token = admin.csrf_token()
    end_sessions()
    answer = admin.post(path, data={**fields, "csrf_token": token}, **options)
    assert answer.status_code == 303
    return str(answer.headers["Location"])


def value_of(page: str, name: str) -> str:
    found = re.search(rf'<input [^>]*name="{name}"[^>]*?value="([^"]*)"', page, re.DOTALL)
    assert found, name
    return found[1]


@pytest.mark.parametrize("path", [f"{URL}/new", f"{URL}/1", f"{URL}/1/test", f"{URL}/new/test"])
def test_the_form_of_a_server_comes_back_filled_after_the_sign_in(admin: Visitor, path: str) -> None:
    stored()
    page = path.removesuffix("/test")
    assert send_late(admin, path, TYPED) == f"/login?next={page}"
    assert kept.IS_KEPT in admin.get(f"/login?next={page}").text
    assert admin.sign_in(next=page).headers["Location"] == page
    shown = admin.get(page).text
    assert "Not saved yet" in shown
    assert value_of(shown, "smtp_server") == "typed.example"
    assert value_of(shown, "from_name") == "Ünïcode &lt;b&gt;"
    assert value_of(shown, "timeout_seconds") == "17"
    assert re.search(r'value="none"\s+checked|value="none" checked', shown)


@pytest.mark.parametrize("action", ["", "/test", "/deactivate"])
def test_the_filter_of_the_list_behind_it_comes_back_with_the_form(admin: Visitor, action: str) -> None:
    stored()
    page = f"{URL}/1" + action.removesuffix("/test")
    sign_in_page = send_late(admin, f"{URL}/1{action}?back=q%3Dstored%26state%3Dinactive", TYPED)
    (wanted,) = parse_qs(urlsplit(sign_in_page).query)["next"]
    assert wanted == f"{page}?back=q%3Dstored%26state%3Dinactive"
    admin.get(sign_in_page)
    assert admin.sign_in(next=wanted).headers["Location"] == wanted
    assert f'href="{URL}?q=stored&amp;state=inactive"' in admin.get(wanted).text


@pytest.mark.parametrize(
    ("path", "page", "fields", "name"),
    [
        ("/account/tokens", "/account/tokens", {"name": "deploy", "days": "3"}, "name"),
        ("/account/email", "/account", {"email": "new@example.com", "email_password": SECRET}, "email"),
    ],
)
def test_every_form_comes_back(admin: Visitor, path: str, page: str, fields: dict[str, str], name: str) -> None:
    assert send_late(admin, path, fields) == f"/login?next={page}"
    admin.sign_in()
    shown = admin.get(page).text
    assert value_of(shown, name) == fields[name]
    assert SECRET not in shown


def test_pasted_headers_come_back(admin: Visitor) -> None:
    send_late(
        admin, f"{URL}/headers", {"headers": "Received: from a\nSubject: typed"}, content_type="multipart/form-data"
    )
    admin.sign_in()
    assert "Subject: typed" in admin.get(f"{URL}/headers").text


def test_a_password_is_never_kept_and_its_field_says_so(app: Flask, admin: Visitor) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nt0p\n-----END PRIVATE KEY-----"
    secrets = {"smtp_username": "u", "smtp_password": SECRET, "client_key": SECRET, "client_certificate": key}
    send_late(admin, f"{URL}/new", {**TYPED, **secrets})
    with reading() as session:
        (content,) = session.execute(text("SELECT content FROM kept_form")).scalars()
    assert SECRET not in content
    admin.sign_in()
    shown = admin.get(f"{URL}/new").text
    assert SECRET not in shown
    assert "t0p" not in shown
    assert shown.count("Enter it again. Sealpost never keeps it.") == 3


def test_what_is_kept_is_sealed(admin: Visitor) -> None:
    send_late(admin, f"{URL}/new", TYPED)
    with reading() as session:
        (row,) = session.execute(text("SELECT * FROM kept_form")).mappings()
    assert not any("typed" in str(value) for value in row.values())
    assert row["content"].startswith("gAAAA")  # a Fernet token
    assert subkey("kept-form-v1").hex() not in row["content"]


def test_a_stranger_has_nothing_kept(app: Flask) -> None:
    stranger = visit(app)
    token = stranger.csrf_token()
    answer = stranger.post(f"{URL}/new", data={**TYPED, "csrf_token": token})
    assert answer.headers["Location"] == "/login"
    stranger.set_cookie("sealpost_session", "x" * 43)
    stranger.set_cookie("sealpost_kept", "y" * 43)
    stranger.post(f"{URL}/new", data=TYPED)
    assert rows() == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:5000"},
        {"Origin": "http://localhost:5001"},
    ],
)
def test_what_another_site_sends_is_not_kept(admin: Visitor, headers: dict[str, str]) -> None:
    assert send_late(admin, f"{URL}/new", TYPED, headers=headers) == "/login"
    assert rows() == 0


def test_somebody_else_who_signs_in_does_not_see_it(admin: Visitor) -> None:
    make_bob(is_admin=True)
    send_late(admin, f"{URL}/new", TYPED)
    admin.sign_in("bob")
    assert "typed.example" not in admin.get(f"{URL}/new").text
    admin.post_form("/logout")
    admin.sign_in("alice")
    assert "typed.example" in admin.get(f"{URL}/new").text


def test_another_browser_of_the_same_person_does_not_see_it(app: Flask, admin: Visitor) -> None:
    send_late(admin, f"{URL}/new", TYPED)
    other = visit(app)
    other.sign_in()
    assert "typed.example" not in other.get(f"{URL}/new").text


def test_another_page_does_not_show_it(admin: Visitor) -> None:
    stored()
    send_late(admin, f"{URL}/new", TYPED)
    admin.sign_in()
    assert "typed.example" not in admin.get(f"{URL}/1").text
    assert "Not saved yet" not in admin.get("/account/tokens").text


def test_after_half_an_hour_it_is_gone(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    send_late(admin, f"{URL}/new", TYPED)
    later = clock.now() + timedelta(minutes=31)
    monkeypatch.setattr(clock, "now", lambda: later)
    admin.sign_in()
    assert "typed.example" not in admin.get(f"{URL}/new").text
    kept_forms.tidy()
    assert rows() == 0


def test_it_stays_until_it_is_saved_and_is_forgotten_then(admin: Visitor) -> None:
    send_late(admin, f"{URL}/new", TYPED)
    admin.sign_in()
    for _ in range(2):
        assert "typed.example" in admin.get(f"{URL}/new").text
    assert admin.post_form(f"{URL}/new", {**TYPED, "version": ""}).status_code == 303
    assert rows() == 0
    assert "typed.example" not in admin.get(f"{URL}/new").text


def test_a_save_that_is_refused_forgets_it_since_the_answer_holds_it(admin: Visitor) -> None:
    send_late(admin, f"{URL}/new", TYPED)
    admin.sign_in()
    refused = admin.post_form(f"{URL}/new", {**TYPED, "version": "", "smtp_port": "0"})
    assert refused.status_code == 422
    assert "typed.example" in refused.text
    assert rows() == 0


def test_it_can_be_thrown_away(admin: Visitor) -> None:
    send_late(admin, f"{URL}/new", TYPED)
    admin.sign_in()
    answer = admin.post_form("/kept/discard", {"page": f"{URL}/new"})
    assert answer.headers["Location"] == f"{URL}/new"
    assert rows() == 0
    assert "typed.example" not in admin.get(f"{URL}/new").text


@pytest.mark.parametrize("page", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_throwing_it_away_leads_to_no_other_site(admin: Visitor, page: str) -> None:
    assert admin.post_form("/kept/discard", {"page": page}).headers["Location"] == "/"


@pytest.mark.parametrize("path", ["/logout", f"{URL}/1/activate", f"{URL}/1/delete"])
def test_a_button_without_anything_typed_is_not_kept(admin: Visitor, path: str) -> None:
    stored()
    send_late(admin, path, {"version": "1"})
    assert rows() == 0


def test_only_the_newest_five_of_an_account_are_kept(app: Flask, admin: Visitor) -> None:
    token = admin.csrf_token()
    end_sessions()
    for page in (*range(1, 8), "new"):
        admin.post(f"{URL}/{page}", data={**TYPED, "name": f"Number {page}", "csrf_token": token})
    assert rows() == kept_forms.MOST
    admin.sign_in()
    assert "Number new" in admin.get(f"{URL}/new").text


def test_after_signing_out_in_another_tab_it_is_kept_too(admin: Visitor) -> None:
    token = admin.csrf_token()
    admin.post_form("/logout")
    answer = admin.post(f"{URL}/new", data={**TYPED, "csrf_token": token})
    assert answer.headers["Location"] == f"/login?next={URL}/new"
    admin.sign_in()
    assert "typed.example" in admin.get(f"{URL}/new").text


def test_a_row_that_was_given_to_another_account_opens_for_nobody(app: Flask, admin: Visitor) -> None:
    bob = make_bob(is_admin=True)
    send_late(admin, f"{URL}/new", TYPED)
    with transaction() as session:
        session.execute(text("UPDATE kept_form SET account_id = :bob"), {"bob": bob.id})
    for login in ("alice", "bob"):
        admin.sign_in(login)
        assert "typed.example" not in admin.get(f"{URL}/new").text


def test_the_form_of_a_server_that_was_deleted_meanwhile_is_offered_as_a_new_one(admin: Visitor) -> None:
    config_id = stored()
    configs.delete(config_id)
    answer = admin.post_form(f"{URL}/{config_id}", TYPED)
    assert answer.status_code == 404
    assert "Save as new" in answer.text
    assert value_of(answer.text, "smtp_server") == "typed.example"
    assert value_of(answer.text, "version") == ""
    assert f'action="{URL}/new"' in answer.text
    assert admin.post_form(f"{URL}/new", {**TYPED, "version": ""}).status_code == 303


def test_a_test_of_a_server_that_was_deleted_meanwhile_loses_nothing_either(admin: Visitor) -> None:
    config_id = stored()
    configs.delete(config_id)
    answer = admin.post_form(f"{URL}/{config_id}/test", TYPED)
    assert (answer.status_code, "Save as new" in answer.text) == (404, True)


def test_signed_out_and_deleted_meanwhile(admin: Visitor) -> None:
    config_id = stored()
    send_late(admin, f"{URL}/{config_id}", TYPED)
    configs.delete(config_id)
    admin.sign_in()
    shown = admin.get(f"{URL}/{config_id}")
    assert (shown.status_code, "Save as new" in shown.text) == (404, True)
    assert value_of(shown.text, "smtp_server") == "typed.example"
    assert value_of(shown.text, "version") == ""


def test_an_address_that_never_was_a_server_is_still_nothing(admin: Visitor) -> None:
    assert "Save as new" not in admin.get(f"{URL}/77").text


def test_a_conflict_shows_both_versions_by_field_with_who_and_when(admin: Visitor) -> None:
    config_id = stored()
    configs.update(config_id, parse_change({"from_name": "Theirs", "smtp_port": 465}), actor="carol")
    answer = admin.post_form(f"{URL}/{config_id}", {**TYPED, "smtp_password": SECRET, "smtp_username": "u"})
    assert answer.status_code == 409
    table = answer.text.partition('<table class="versions-table">')[2].partition("</table>")[0]
    assert "Saved by carol" in table
    assert '<time datetime="' in table
    rows_ = re.findall(r"<th scope=\"row\">.*?>([^<]+)</a></th>\s*<td[^>]*>([^<]*)</td>\s*<td[^>]*>([^<]*)</td>", table)
    assert ("From name", "Theirs", "Ünïcode &lt;b&gt;") in rows_
    assert ("Port", "465", "2525") in rows_
    assert ("Password", "–", "Typed again; enter it once more") in rows_
    assert SECRET not in answer.text
    assert value_of(answer.text, "smtp_server") == "typed.example"
    assert value_of(answer.text, "version") == "2"
    assert admin.post_form(f"{URL}/{config_id}", {**TYPED, "version": "2"}).status_code == 303


def test_a_conflict_over_the_same_values_says_so(admin: Visitor) -> None:
    config_id = stored()
    admin.post_form(f"{URL}/{config_id}", TYPED)
    assert "saved the same as you typed" in admin.post_form(f"{URL}/{config_id}", TYPED).text


def test_a_filled_in_password_is_ignored_where_the_stored_one_is_to_be_kept(admin: Visitor) -> None:
    fields = {"name": "With", "smtp_server": "with.example", "from_email": "a@example.com"}
    made = configs.create(parse_change({**fields, "smtp_username": "u", "smtp_password": "old"}))
    shown = admin.get(f"{URL}/{made.row.id}").text
    assert "Saving replaces the stored password." in shown
    assert "Keep the stored one" in shown
    sent = {
        **TYPED,
        **fields,
        "smtp_port": "587",
        "security": "starttls",
        "smtp_username": "u",
        "smtp_password": "autofilled",
    }
    admin.post_form(f"{URL}/{made.row.id}", {**sent, "keep_smtp_password": "1"})
    assert configs.get(made.row.id).settings.password.reveal() == "old"
    assert configs.get(made.row.id).row.version == 2


def test_the_labels_of_both_versions_are_the_forms_own(app: Flask) -> None:
    source = (Path(app.root_path) / "templates/settings/_fields.html").read_text()
    said = dict(re.findall(r'ui\.(?:field|text_area|checkbox|radio_choice)\("(\w+)", "([^"]+)"', source))
    assert {name: said.get(name) for name in versions.LABELS} == versions.LABELS


def test_a_page_asks_who_is_signed_in(client: Visitor, admin: Visitor) -> None:
    assert client.get("/session").get_json()["account"] is None
    told = admin.get("/session")
    assert told.get_json()["account"] == "alice"
    assert told.headers["Cache-Control"] == "no-store"
    answer = admin.post(
        "/account/tokens",
        data={"name": "x", "days": "1", "scope_admin": "1", "csrf_token": told.get_json()["csrf_token"]},
    )
    assert answer.status_code == 201


def test_the_forms_of_two_tabs_come_back_each_on_its_page(admin: Visitor) -> None:
    config_id, token = stored(), admin.csrf_token()
    end_sessions()
    pages = [f"{URL}/new", f"{URL}/{config_id}"]
    for page in pages:
        admin.post(page, data={**TYPED, "from_name": f"Typed at {page}", "csrf_token": token})
    admin.sign_in()
    assert [value_of(admin.get(page).text, "from_name") for page in pages] == [f"Typed at {page}" for page in pages]
    admin.post_form("/kept/discard", {"page": pages[0]})
    assert ["Typed at" in admin.get(page).text for page in pages] == [False, True]
