"""`flask account invite`, `disable`, `enable`, `promote`, `demote`, `delete`."""

import json
from collections.abc import Iterator

import pytest
from click.testing import Result
from flask import Flask

from services import audit
from services.accounts import accounts, administration, api_tokens
from tests.outbox import drain
from tests.recording_server import RecordingServer
from tests.visitors import PASSWORD, link_in, mail_through, make_alice, make_bob, visit


@pytest.fixture
def mail_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], mail_server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(mail_server)


def run(app: Flask, *words: str, stdin: str = "") -> Result:
    return app.test_cli_runner().invoke(args=["account", *words], input=stdin)


def test_an_invitation_is_mailed_and_its_link_printed_nowhere(
    app: Flask, mail_server: RecordingServer, capfd: pytest.CaptureFixture[str]
) -> None:
    result = run(app, "invite", "carol", "carol@example.com")
    said = "A link for carol is on its way to carol@example.com. It works for 3 days.\n"
    assert (result.exit_code, result.stdout) == (0, said)
    drain()
    token = link_in(mail_server.mails[0])[1]
    assert token not in result.output + "".join(capfd.readouterr())
    assert visit(app).get(f"/reset-password?token={token}", follow_redirects=True).status_code == 200


def test_another_link_is_mailed_without_an_address(app: Flask, mail_server: RecordingServer) -> None:
    administration.invite("carol", "carol@example.com")
    assert run(app, "invite", "carol").exit_code == 0
    drain()
    assert [mail.recipients for mail in mail_server.mails] == [("carol@example.com",)]


def test_an_invited_administrator_is_one(app: Flask) -> None:
    result = run(app, "invite", "carol", "carol@example.com", "--admin", "--json")
    assert (json.loads(result.stdout)["is_admin"], json.loads(result.stdout)["has_password"]) == (True, False)
    assert run(app, "invite", "carol", "--admin").exit_code == 2


@pytest.mark.parametrize("login", ["bob", "BOB@example.com"])
def test_an_account_is_disabled_and_enabled(app: Flask, login: str) -> None:
    make_alice(is_admin=True)
    bob = make_bob(is_admin=True)
    text, _ = api_tokens.create(bob.id, "deploy")
    result = run(app, "disable", login)
    assert (result.exit_code, result.stdout) == (0, "bob is disabled. Sessions and API tokens have ended.\n")
    assert accounts.authenticate("bob", PASSWORD) is None
    assert api_tokens.find_good(text) is None
    assert "disabled" in run(app, "list").stdout
    assert run(app, "enable", login).stdout == "bob can sign in again.\n"
    assert accounts.authenticate("bob", PASSWORD)


def test_an_account_is_made_an_administrator_and_one_no_more(app: Flask) -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    assert run(app, "promote", "bob").exit_code == 0
    assert accounts.get(bob.id).is_admin
    assert run(app, "demote", "bob").exit_code == 0
    assert not accounts.get(bob.id).is_admin


def test_deleting_asks_first_and_says_what_goes(app: Flask) -> None:
    make_alice(is_admin=True)
    bob = make_bob(is_admin=True)
    api_tokens.create(bob.id, "deploy")
    refused = run(app, "delete", "bob", stdin="n\n")
    assert refused.exit_code == 1
    assert "Delete bob (bob@example.com) permanently, and with it 1 API token? [y/N]" in refused.stderr
    assert accounts.find(bob.id)
    assert run(app, "delete", "bob", stdin="y\n").stdout == "Deleted bob.\n"
    assert accounts.find(bob.id) is None


def test_an_account_that_has_nothing_goes_with_nothing(app: Flask) -> None:
    make_alice(is_admin=True)
    make_bob()
    assert "Delete bob (bob@example.com) permanently? [y/N]" in run(app, "delete", "bob", stdin="n\n").stderr


def test_a_script_deletes_without_being_asked(app: Flask) -> None:
    make_alice(is_admin=True)
    make_bob()
    result = run(app, "delete", "bob", "--yes", "--json")
    assert json.loads(result.stdout)["username"] == "bob"


@pytest.mark.parametrize("words", [("disable",), ("demote",), ("delete", "--yes")])
def test_the_last_administrator_stays(app: Flask, words: tuple[str, ...]) -> None:
    make_alice(is_admin=True)
    result = run(app, words[0], "alice", *words[1:])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: alice is the only administrator who can sign in.")
    assert accounts.authenticate("alice", PASSWORD)


@pytest.mark.parametrize("name", ["disable", "enable", "promote", "demote", "delete", "invite"])
@pytest.mark.parametrize("login", ["nobody", "", "@", "nobody@example.com"])
def test_who_is_not_there_is_told_so_in_one_line(app: Flask, name: str, login: str) -> None:
    result = run(app, name, login)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "flask account list" in result.stderr


def test_what_a_command_did_names_the_command_line(app: Flask) -> None:
    make_alice(is_admin=True)
    make_bob()
    run(app, "disable", "bob")
    event = audit.events()[0]
    assert (event.action, event.source, event.subject) == ("account_disabled", "command line", "account bob")
