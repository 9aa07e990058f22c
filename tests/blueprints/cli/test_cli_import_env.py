"""`flask smtp import-env`, and what every command has in common."""

from pathlib import Path

import click
import pytest
from click.testing import Result
from flask import Flask

from app import create_app
from services.settings import configs
from services.smtp.settings import Security

SECRET = "  p$a#s'\"s wörd "
ENV = {
    "EMAIL_HOST": "mail.hanna.example",
    "EMAIL_PORT": "587",
    "EMAIL_USE_TLS": "True",
    "EMAIL_HOST_USER": "installations@hanna.example",
    "EMAIL_HOST_PASSWORD": SECRET,
    "DEFAULT_FROM_EMAIL": '"Hanna, Ltd" <installations@hanna.example>',
    "EMAIL_TIMEOUT": "7",
}


def run(app: Flask, *words: str) -> Result:
    return app.test_cli_runner().invoke(args=["smtp", *words])


@pytest.fixture
def with_env(environment: dict[str, str], tmp_path: Path) -> Flask:
    return create_app({**environment, **ENV}, instance_path=tmp_path)


def test_env_becomes_a_named_configuration_as_it_stands(with_env: Flask) -> None:
    with with_env.app_context():
        result = run(with_env, "import-env")
        stored = configs.named("Primary Mail Server")
        settings = stored.settings
        assert (settings.host, settings.port, settings.security) == ("mail.hanna.example", 587, Security.STARTTLS)
        assert (settings.password.reveal(), settings.timeout_seconds, settings.from_name) == (SECRET, 7, "Hanna, Ltd")
        assert stored.row.is_active is False
        assert SECRET not in result.output


def test_an_import_says_which_lines_of_env_may_go(with_env: Flask) -> None:
    with with_env.app_context():
        result = run(with_env, "import-env", "--name", "Main", "--activate")
        assert configs.named("Main").row.is_active
        last = result.stdout.splitlines()[-1]
        assert last.startswith("These lines of .env can be deleted now, or kept as the fallback: ")
        assert set(last.partition("fallback: ")[2].split(", ")) == set(ENV)


def test_a_second_import_under_the_same_name_is_refused(with_env: Flask) -> None:
    with with_env.app_context():
        run(with_env, "import-env")
        result = run(with_env, "import-env")
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"EMAIL_HOST": ""}, "EMAIL_HOST is not set"),
        ({"EMAIL_PORT": "abc"}, "EMAIL_PORT: "),
        ({"EMAIL_USE_SSL": "True"}, "EMAIL_USE_SSL: "),
        ({"EMAIL_HOST_PASSWORD": ""}, "EMAIL_HOST_PASSWORD: "),
        (
            {
                "EMAIL_HOST": "127.0.0.1",
                "EMAIL_PORT": "1025",
                "EMAIL_HOST_USER": "",
                "EMAIL_HOST_PASSWORD": "",
                "EMAIL_USE_TLS": "false",
                "LOCAL_INBOX_PORT": "1025",
            },
            "local inbox",
        ),
    ],
)
def test_an_env_that_cannot_be_imported_is_one_line_that_names_the_variable(
    environment: dict[str, str], tmp_path: Path, variables: dict[str, str], words: str
) -> None:
    app = create_app({**environment, **ENV, **variables}, instance_path=tmp_path)
    with app.app_context():
        result = run(app, "import-env")
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert words in result.stderr
        assert configs.search() == []


def commands(app: Flask) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [("audit",)]
    context = click.Context(app.cli)
    for group in ("account", "alerts", "keys", "privacy", "smtp", "suppression", "token"):
        for name, command in vars(app.cli.get_command(context, group))["commands"].items():
            inner = vars(command).get("commands")
            found += [(group, name, each) for each in inner] if inner else [(group, name)]
    return found


def test_every_command_has_json_exit_codes_and_a_first_line_that_fits_the_overview(app: Flask) -> None:
    assert len(commands(app)) == 53
    for words in commands(app):
        text = app.test_cli_runner().invoke(args=[*words, "--help"]).stdout
        assert "--json" in text, words
        assert "Exit codes:\n     0  " in text, words
    for group in ("account", "alerts", "keys", "privacy", "smtp", "suppression", "token"):
        overview = app.test_cli_runner().invoke(args=[group, "--help"]).stdout
        assert "..." not in overview.partition("Commands:")[2]
