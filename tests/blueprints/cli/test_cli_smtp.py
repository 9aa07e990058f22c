"""`flask smtp add`, `edit`, `activate` … : thin, one-line errors, and never a password in an argument or an answer."""

import getpass
import json
import os
import pwd
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from app import create_app
from services import audit
from services.audit import Action
from services.settings import configs
from services.settings.fields import MASK
from services.smtp import sasl
from services.smtp.settings import Security
from utils.errors import NotFound

SECRET = "  p$a#s'\"s wörd "
ENV = {"EMAIL_HOST": "mail.hanna.example", "DEFAULT_FROM_EMAIL": "installations@hanna.example"}


def run(app: Flask, *words: str, stdin: str = "") -> Result:
    return app.test_cli_runner().invoke(args=["smtp", *words], input=stdin)


def add(app: Flask, name: str, *words: str, stdin: str = "") -> Result:
    return run(
        app, "add", name, "--host", f"{name.lower()}.example.com", "--from", "a@example.com", *words, stdin=stdin
    )


def add_with_login(app: Flask, name: str, *words: str) -> None:
    assert add(app, name, "--username", "user", "--password-stdin", *words, stdin=SECRET + "\n").exit_code == 0


def active() -> str | None:
    stored = configs.find_active()
    return stored.row.name if stored else None


def test_a_new_configuration_is_inactive_and_the_next_steps_are_told(app: Flask) -> None:
    result = add(app, "Backup")
    assert active() is None
    assert result.stdout == (
        "Added Backup (backup.example.com:587).\n"
        "It is inactive. Test it:  flask smtp test Backup\n"
        "Then activate it: flask smtp activate Backup\n"
    )


def test_one_that_signs_in_by_token_is_to_be_connected_next(app: Flask) -> None:
    result = add(
        app, "My shop", "--host", "mail.example.com", "--username", "a@example.com", "--auth-method", "XOAUTH2"
    )
    assert result.stdout.splitlines()[1:] == [
        "It is inactive, and not connected.",
        "Connect it: flask smtp connect 'My shop'",
    ]


def test_every_option_is_stored(app: Flask) -> None:
    words = ["--port", "2465", "--security", "tls", "--from-name", "Shop", "--reply-to", "b@example.com"]
    words += ["--ehlo-name", "app.example.com", "--timeout", "30", "--auth-method", "LOGIN", "--no-failover"]
    words += ["--emails-per-minute", "30", "--emails-per-day", "500"]
    add_with_login(app, "Full", *words, "--activate")
    stored = configs.named("Full")
    settings = stored.settings
    assert (settings.port, settings.security, settings.username) == (2465, Security.TLS, "user")
    assert (settings.from_name, settings.reply_to, settings.helo_hostname) == (
        "Shop",
        "b@example.com",
        "app.example.com",
    )
    assert (settings.timeout_seconds, settings.auth_method) == (30, "LOGIN")
    assert (stored.row.failover, stored.row.is_active) == (False, True)
    assert (stored.row.emails_per_minute, stored.row.emails_per_day) == (30, 500)


def test_a_password_from_standard_input_is_taken_as_it_is(app: Flask) -> None:
    add_with_login(app, "Backup")
    assert configs.named("Backup").settings.password.reveal() == SECRET


def test_a_password_from_a_file_is_taken_as_it_is(app: Flask, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(SECRET + "\n")
    assert add(app, "Backup", "--username", "user", "--password-file", str(file)).exit_code == 0
    assert configs.named("Backup").settings.password.reveal() == SECRET


def test_with_a_user_name_the_password_is_asked_for_and_not_shown(app: Flask) -> None:
    result = add(app, "Backup", "--username", "user", stdin="asked-for\n")
    assert "asked-for" not in result.output
    assert configs.named("Backup").settings.password.reveal() == "asked-for"


def test_a_password_is_no_argument(app: Flask) -> None:
    assert add(app, "Backup", "--username", "user", "--password", "secret").exit_code == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--port", "70000"), "Error: --port: Enter a whole number from 1 to 65535.\n"),
        (("--timeout", "0"), "Error: --timeout: Enter a whole number from 1 to 60.\n"),
        (("--host", "https://x"), "Error: --host: Enter only the host name, without https:// or smtp://.\n"),
        (("--from", "nobody"), "Error: --from: The address has no @. Write the address like name@example.com.\n"),
    ],
)
def test_a_refusal_is_one_line_that_names_the_option(app: Flask, words: tuple[str, ...], line: str) -> None:
    result = add(app, "Backup", *words)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", line)


@pytest.mark.parametrize("name", ["two\nlines", "x" * 300, "", "bACKUP"])
def test_a_bad_or_taken_name_is_refused_in_one_line(app: Flask, name: str) -> None:
    add(app, "Backup")
    result = run(app, "add", name, "--host", "b.example.com", "--from", "a@example.com")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("Error: name: ")
    assert len(configs.search()) == 1


def test_two_refused_options_stand_in_one_line(app: Flask) -> None:
    result = add(app, "Backup", "--port", "0", "--timeout", "0")
    assert result.stderr.count("\n") == 1
    assert "--port" in result.stderr
    assert "--timeout" in result.stderr


def test_activating_one_deactivates_the_other(app: Flask) -> None:
    add(app, "Primary", "--activate")
    add(app, "Backup")
    result = run(app, "activate", "backup", "--yes")
    assert result.stdout == "Mail goes through Backup (backup.example.com:587).\n"
    assert active() == "Backup"


def test_a_configuration_can_be_named_by_its_id_but_a_name_comes_first(app: Flask) -> None:
    add(app, "Primary")
    run(app, "add", "1", "--host", "one.example.com", "--from", "a@example.com")
    run(app, "activate", "2", "--yes")
    assert active() == "1"
    run(app, "activate", "1", "--yes")
    assert active() == "1"
    assert run(app, "show", "99999999999999999999").stderr == "Error: No such configuration.\n"


def test_deactivating_says_where_mail_goes_now(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, **ENV}, instance_path=tmp_path)
    with app.app_context():
        add(app, "Primary", "--activate")
        result = run(app, "deactivate", "Primary")
        assert result.stdout == "Primary is inactive. Mail goes through .env (mail.hanna.example:587).\n"
        assert active() is None


def test_deleting_says_what_will_send_and_asks(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, **ENV}, instance_path=tmp_path)
    with app.app_context():
        add(app, "Primary", "--activate")
        refused = run(app, "delete", "Primary", stdin="n\n")
        assert refused.exit_code == 1
        assert "mail.hanna.example" in refused.stderr
        assert active() == "Primary"
        assert run(app, "delete", "Primary", stdin="y\n").exit_code == 0
        with pytest.raises(NotFound):
            configs.named("Primary")


def test_deleting_asks_nothing_if_told_so(app: Flask) -> None:
    add(app, "Primary")
    result = run(app, "delete", "Primary", "--yes", "--json")
    assert json.loads(result.stdout) == {"deleted": {"id": 1, "name": "Primary"}}
    assert configs.search() == []


def test_an_edit_changes_what_is_given_and_nothing_else(app: Flask) -> None:
    add_with_login(app, "Primary")
    assert run(app, "edit", "primary", "--from-name", "Shop", "--rename", "Main").exit_code == 0
    settings = configs.named("Main").settings
    assert (settings.from_name, settings.password.reveal(), settings.host) == ("Shop", SECRET, "primary.example.com")


def test_an_edit_of_the_server_wants_the_password_again(app: Flask) -> None:
    add_with_login(app, "Primary")
    refused = run(app, "edit", "Primary", "--host", "evil.example.com")
    assert refused.stderr == "Error: password: You changed the server. Enter the password again.\n"
    assert run(app, "edit", "Primary", "--host", "b.example.com", "--ask-password", stdin="new\n").exit_code == 0
    assert configs.named("Primary").settings.password.reveal() == "new"


@pytest.mark.parametrize("method", sasl.KNOWN)
def test_the_way_of_signing_in_can_be_chosen_and_left_to_the_program_again(app: Flask, method: str) -> None:
    add_with_login(app, "Primary", "--auth-method", method)
    assert configs.named("Primary").settings.auth_method == method
    assert run(app, "edit", "Primary", "--auth-method", "automatic").exit_code == 0
    assert configs.named("Primary").settings.auth_method == ""


def test_an_edit_can_remove_the_password(app: Flask) -> None:
    add_with_login(app, "Primary")
    run(app, "edit", "Primary", "--remove-password")
    settings = configs.named("Primary").settings
    assert (settings.username, settings.password.reveal()) == ("", "")


def test_an_edit_of_another_version_is_refused(app: Flask) -> None:
    add(app, "Primary")
    run(app, "edit", "Primary", "--from-name", "First")
    result = run(app, "edit", "Primary", "--from-name", "Second", "--version", "1")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert configs.named("Primary").row.from_name == "First"


def test_an_edit_without_an_option_is_wrong_usage(app: Flask) -> None:
    add(app, "Primary")
    assert run(app, "edit", "Primary").exit_code == 2


def test_the_list_shows_the_active_one_first(app: Flask) -> None:
    assert run(app, "list").stdout.startswith("No mail server yet. Add one: flask smtp add")
    add(app, "Alpha")
    add(app, "Beta", "--activate")
    lines = run(app, "list").stdout.splitlines()
    assert [line.split()[1:3] for line in lines[1:]] == [["Beta", "Active,"], ["Alpha", "Inactive"]]
    assert [shown["name"] for shown in json.loads(run(app, "list", "--search", "alp", "--json").stdout)] == ["Alpha"]


def test_showing_one_shows_the_mask_and_stands_in_the_audit_trail(app: Flask) -> None:
    add_with_login(app, "Primary")
    result = run(app, "show", "Primary")
    assert f"smtp_password:     {MASK}\n" in result.stdout
    assert json.loads(run(app, "show", "Primary", "--json").stdout)["smtp_password"] == MASK
    assert len(audit.events(action=Action.VIEWED)) == 2


def test_whoever_runs_the_command_stands_in_the_trail_by_the_systems_own_list(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert getpass.getuser() == "somebody-else"
    add(app, "Primary")
    (event,) = audit.events()
    assert (event.actor, event.source) == (pwd.getpwuid(os.getuid()).pw_name, "command line")
    assert configs.named("Primary").row.updated_by == event.actor
