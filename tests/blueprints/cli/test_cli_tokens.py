"""`flask token …` and `flask audit`."""

import csv
import io
import json

from click.testing import Result
from flask import Flask

from services import audit
from services.accounts import api_tokens
from services.audit import Action
from tests.visitors import make_alice, make_bob


def run(app: Flask, *words: str) -> Result:
    return app.test_cli_runner().invoke(args=list(words))


def test_a_token_is_alone_on_standard_output_and_works(app: Flask) -> None:
    make_alice(is_admin=True)
    result = run(app, "token", "create", "deploy", "--owner", "ALICE", "--days", "30")
    assert result.stdout.count("\n") == 1
    assert api_tokens.find_good(result.stdout.strip())
    assert "not be shown again" in result.stderr


def test_the_owner_may_be_named_by_address(app: Flask) -> None:
    make_alice(is_admin=True)
    told = json.loads(run(app, "token", "create", "deploy", "--owner", "alice@example.com", "--json").stdout)
    assert (told["owner"], told["expires_at"]) == ("alice", None)
    assert api_tokens.find_good(told["token"])


def test_a_token_of_another_account_says_what_it_is_good_for(app: Flask) -> None:
    make_bob()
    words = "token", "create", "script", "--owner", "bob", "--scope", "send", "--scope", "read"
    told = json.loads(run(app, *words, "--json").stdout)
    assert told["scopes"] == ["send", "read"]
    assert "send, read" in run(app, "token", "list").stdout
    assert json.loads(run(app, "token", "list", "--json").stdout)[0]["scopes"] == ["send", "read"]
    unsaid = run(app, "token", "create", "script", "--owner", "bob")
    assert (unsaid.exit_code, unsaid.stdout) == (2, "")
    assert "bob is not an administrator. Say what the token allows, like: --scope send" in unsaid.stderr
    assert run(app, "token", "create", "script", "--owner", "bob", "--scope", "everything").exit_code == 2


def test_a_token_that_its_owner_may_not_have_is_refused_in_one_line(app: Flask) -> None:
    make_bob()
    for owner in ("bob", "nobody", ""):
        result = run(app, "token", "create", "deploy", "--owner", owner, "--scope", "admin")
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)


def test_an_administrators_token_may_be_good_for_less(app: Flask) -> None:
    make_alice(is_admin=True)
    text = run(app, "token", "create", "script", "--owner", "alice", "--scope", "send").stdout.strip()
    found = api_tokens.find_good(text)
    assert found is not None
    assert found.scopes == ("send",)


def test_a_bad_number_of_days_is_refused(app: Flask) -> None:
    make_alice(is_admin=True)
    assert run(app, "token", "create", "deploy", "--owner", "alice", "--days", "0").exit_code == 1


def test_tokens_are_listed_without_themselves(app: Flask) -> None:
    make_alice(is_admin=True)
    text = run(app, "token", "create", "deploy", "--owner", "alice").stdout.strip()
    for listed in (run(app, "token", "list"), run(app, "token", "list", "--json")):
        assert "deploy" in listed.stdout
        assert text not in listed.stdout


def test_a_revoked_token_is_over_and_cannot_be_revoked_again(app: Flask) -> None:
    make_alice(is_admin=True)
    text = run(app, "token", "create", "deploy", "--owner", "alice").stdout.strip()
    assert run(app, "token", "revoke", "1").stdout == "Revoked the token deploy of alice.\n"
    assert api_tokens.find_good(text) is None
    assert run(app, "token", "revoke", "1").exit_code == 1


def test_the_trail_is_shown_the_newest_first_and_filtered(app: Flask) -> None:
    audit.note(Action.VIEWED, "first thing")
    audit.note(Action.TESTED, "second thing")
    lines = run(app, "audit").stdout.splitlines()
    assert ["second" in lines[1], "first" in lines[2]] == [True, True]
    assert "second" not in run(app, "audit", "--action", "viewed").stdout
    assert "first" not in run(app, "audit", "--text", "SECOND").stdout
    assert len(run(app, "audit", "--limit", "1").stdout.splitlines()) == 2


def test_the_trail_as_json_has_every_field(app: Flask) -> None:
    audit.note(Action.VIEWED, "a thing", ["detail"])
    (event,) = json.loads(run(app, "audit", "--json").stdout)
    assert set(event) == {"at", "actor", "source", "action", "subject", "details"}
    assert event["action"] == "viewed"


def test_no_spreadsheet_takes_the_trail_for_a_formula(app: Flask) -> None:
    audit.note(Action.VIEWED, '=HYPERLINK("http://evil.example")')
    rows = list(csv.reader(io.StringIO(run(app, "audit", "--csv").stdout)))
    assert rows[1][4].startswith("'=")


def test_an_unknown_action_and_two_formats_at_once_are_wrong_usage(app: Flask) -> None:
    assert run(app, "audit", "--action", "eaten").exit_code == 2
    assert run(app, "audit", "--json", "--csv").exit_code == 2
