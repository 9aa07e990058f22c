"""`flask account …`: passwords come from a prompt or from standard input, failures are one line."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from app import create_app
from services import audit
from services.accounts import accounts, api_tokens
from services.audit import Action
from tests.visitors import NEW_PASSWORD, PASSWORD, make_alice, visit


def run(app: Flask, *words: str, stdin: str | bytes = "") -> Result:
    return app.test_cli_runner().invoke(args=["account", *words], input=stdin)


def test_an_account_is_created_with_a_password_from_standard_input(app: Flask) -> None:
    result = run(app, "create", "carol", "carol@example.com", "--password-stdin", stdin=PASSWORD + "\n")
    assert (result.exit_code, result.stdout) == (0, "Created account carol.\n")
    person = accounts.authenticate("carol", PASSWORD)
    assert person is not None
    assert not person.is_admin


def test_an_administrator_is_created_and_ends_the_setup(app: Flask) -> None:
    accounts.issue_setup_code()
    result = run(app, "create", "carol", "carol@example.com", "--admin", "--password-stdin", stdin=PASSWORD)
    assert result.stdout == "Created administrator carol.\n"
    assert visit(app).get("/setup").status_code == 404


def test_a_password_is_asked_for_twice_and_not_shown(app: Flask) -> None:
    result = run(app, "create", "carol", "carol@example.com", stdin=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    assert accounts.authenticate("carol", PASSWORD)


def test_a_password_can_come_from_a_file(app: Flask, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    assert run(app, "create", "carol", "carol@example.com", "--password-file", str(file)).exit_code == 0
    assert accounts.authenticate("carol", PASSWORD)


def test_two_sources_of_a_password_are_refused(app: Flask, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    words = ("create", "carol", "carol@example.com", "--password-stdin", "--password-file", str(file))
    assert run(app, *words, stdin=PASSWORD).exit_code == 2
    assert not accounts.has_accounts()


def test_a_created_account_and_a_reset_are_told_as_json(app: Flask) -> None:
    created = run(app, "create", "carol", "carol@example.com", "--password-stdin", "--json", stdin=PASSWORD)
    assert json.loads(created.stdout)["username"] == "carol"
    reset = run(app, "reset-password", "carol", "--password-stdin", "--json", stdin=NEW_PASSWORD)
    assert json.loads(reset.stdout)["username"] == "carol"


def test_two_different_passwords_create_nobody(app: Flask) -> None:
    result = run(app, "create", "carol", "carol@example.com", stdin=f"{PASSWORD}\n{NEW_PASSWORD}\n")
    assert result.exit_code == 1
    assert not accounts.has_accounts()


def test_a_password_is_no_argument(app: Flask) -> None:
    assert run(app, "create", "carol", "carol@example.com", PASSWORD).exit_code == 2
    assert run(app, "create", "carol", "carol@example.com", f"--password={PASSWORD}").exit_code == 2


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_only_the_line_end_is_taken_off_a_password(app: Flask, ending: str) -> None:
    password = f"  {PASSWORD}  "
    run(app, "create", "carol", "carol@example.com", "--password-stdin", stdin=password + ending)
    assert accounts.authenticate("carol", password)


@pytest.mark.parametrize(
    ("username", "email", "password", "line"),
    [
        ("carol", "carol", PASSWORD, "Error: email: "),
        ("c@rol", "carol@example.com", PASSWORD, "Error: username: "),
        ("carol", "carol@example.com", "short", "Error: password: Use at least 12 characters."),
        ("carol", "carol@example.com", "", "Error: password: "),
        ("alice", "carol@example.com", PASSWORD, "Error: username: That user name is already in use."),
        ("\udcff", "carol@example.com", PASSWORD, "Error: username: "),
    ],
)
def test_a_refusal_is_one_line_that_names_the_field(
    app: Flask, username: str, email: str, password: str, line: str
) -> None:
    make_alice()
    result = run(app, "create", username, email, "--password-stdin", stdin=password)
    assert result.exit_code == 1
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1
    assert len(accounts.everybody()) == 1


def test_a_password_that_is_not_utf_8_is_refused(app: Flask) -> None:
    result = run(app, "create", "carol", "carol@example.com", "--password-stdin", stdin=b"\xff" * 20)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


def test_accounts_are_listed_as_a_table(app: Flask) -> None:
    make_alice(is_admin=True)
    lines = run(app, "list").stdout.splitlines()
    assert lines[0].split() == ["User", "name", "Email", "Role", "Last", "sign-in"]
    assert lines[1].split() == ["alice", "alice@example.com", "administrator", "never"]


def test_accounts_are_listed_as_json_without_anything_secret(app: Flask) -> None:
    alice = make_alice()
    listed = json.loads(run(app, "list", "--json").stdout)
    assert [set(entry) for entry in listed] == [
        {"id", "username", "email", "is_admin", "created_at", "last_sign_in_at", "disabled_at", "has_password"}
    ]
    assert listed[0]["id"] == alice.id


def test_a_reset_password_signs_in_and_ends_sessions(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    visitor.sign_in()
    result = run(app, "reset-password", "alice", "--password-stdin", stdin=NEW_PASSWORD)
    assert result.exit_code == 0
    assert not visitor.is_signed_in()
    assert accounts.authenticate("alice", NEW_PASSWORD)


def test_resetting_the_password_of_nobody_is_an_error(app: Flask) -> None:
    result = run(app, "reset-password", "nobody", "--password-stdin", stdin=NEW_PASSWORD)
    assert (result.exit_code, result.stderr) == (1, "Error: No such account.\n")


def test_a_common_password_is_refused_on_a_reset_too(app: Flask) -> None:
    make_alice()
    result = run(app, "reset-password", "alice", "--password-stdin", stdin="password1234")
    assert result.exit_code == 1
    assert accounts.authenticate("alice", PASSWORD)


def test_a_database_without_tables_is_one_line_that_says_what_to_do(
    environment: dict[str, str], tmp_path: Path
) -> None:
    empty = {"DATABASE_URL": f"sqlite:///{tmp_path / 'empty.db'}"}
    app = create_app(environment | empty, instance_path=tmp_path)
    result = run(app, "list")
    assert result.exit_code == 1
    assert "flask db upgrade" in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_sessions_of_an_account_are_listed_and_ended(app: Flask) -> None:
    make_alice(is_admin=True)
    visitors = [visit(app), visit(app)]
    for visitor in visitors:
        visitor.sign_in(remember="1")
    listed = run(app, "sessions", "alice@example.com").stdout
    assert listed.count("127.0.0.1") == listed.count("kept signed in") == 2
    (first, _second) = json.loads(run(app, "sessions", "alice", "--json").stdout)
    assert set(first) == {"browser", "address", "created_at", "last_seen_at", "is_remembered"}
    assert run(app, "end-sessions", "alice").stdout == "Ended 2 sessions of alice.\n"
    assert not any(visitor.is_signed_in() for visitor in visitors)
    event = audit.events(action=Action.SESSIONS_ENDED)[0]
    assert (event.source, event.subject, event.details) == ("command line", "account alice", "all")


def test_everyone_is_signed_out_at_once(app: Flask) -> None:
    make_alice(is_admin=True)
    visitors = [visit(app), visit(app)]
    for visitor in visitors:
        visitor.sign_in()
    assert run(app, "end-sessions", "--everyone").stdout == "Ended 2 sessions of all accounts.\n"
    assert not any(visitor.is_signed_in() for visitor in visitors)
    assert run(app, "end-sessions").exit_code == run(app, "end-sessions", "alice", "--everyone").exit_code == 2


def test_tokens_are_revoked_with_sessions_if_asked(app: Flask) -> None:
    text, _ = api_tokens.create(make_alice(is_admin=True).id, "deploy")
    assert run(app, "end-sessions", "alice", "--tokens").exit_code == 0
    assert api_tokens.find_good(text) is None


def test_a_reset_ends_the_sessions(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    visitor.sign_in(remember="1")
    assert run(app, "reset-password", "alice", "--password-stdin", stdin=NEW_PASSWORD).exit_code == 0
    assert not visitor.is_signed_in()


@pytest.mark.parametrize("command", ["unlock", "sessions", "end-sessions"])
@pytest.mark.parametrize("name", ["nobody", "", "nobody@example.com"])
def test_an_account_that_is_not_there_is_said_so(app: Flask, command: str, name: str) -> None:
    result = run(app, command, name)
    assert result.exit_code != 0
    assert "No such account." in result.stderr
