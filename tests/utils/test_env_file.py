"""`.env` is understood whole or the start stops: nothing is dropped, and nothing of a value is shown."""

from pathlib import Path

import pytest

from tests.running import as_nobody
from utils.env_reader import ConfigurationError
from utils.env_utils import read_environment


def refusal(tmp_path: Path, text: str | bytes) -> str:
    """Why a `.env` is refused, without the file's own path."""
    file = tmp_path / ".env"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigurationError) as caught:
        read_environment(file)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{file}, ")
    return message.removeprefix(f"{file}, ")


@pytest.mark.parametrize(
    ("text", "line", "name"),
    [
        ('DATABASE_URL="postgresql://u:se"cret@db.test/x"', 1, "DATABASE_URL"),
        ('MAIL_SUPPRESS_SEND="true', 1, "MAIL_SUPPRESS_SEND"),
        ("MAIL_SUPPRESS_SEND='true", 1, "MAIL_SUPPRESS_SEND"),
        ('\n\n# a comment\n\nexport MAIL_SUPPRESS_SEND="true\nPORT=5001\n', 5, "MAIL_SUPPRESS_SEND"),
        ('MAIL_SUPPRESS_SEND="true\nPORT=5001\nAPP_NAME="Shop"\n', 1, "MAIL_SUPPRESS_SEND"),
        ('MAIL_SUPPRESS_SEND="true\nPORT=5001\nAPP_NAME="\n', 1, "MAIL_SUPPRESS_SEND"),
        ("PORT=1\nEMAIL_HOST_PASSWORD='it's-secret'\n", 2, "EMAIL_HOST_PASSWORD"),
        ("EMAIL_HOST_PASSWORD='secret\\'\nAPP_KEY='secret'\n", 1, "EMAIL_HOST_PASSWORD"),
        ('EMAIL_HOST_PASSWORD="secret\\n"', 1, "EMAIL_HOST_PASSWORD"),
        ('EMAIL_HOST_PASSWORD="sec\\tret"', 1, "EMAIL_HOST_PASSWORD"),
        ('APP_KEY="secret" secret', 1, "APP_KEY"),
        ("MAIL_SUPPRESS_SEND", 1, "MAIL_SUPPRESS_SEND"),
        ("MAIL_SUPPRESS_SEND true", 1, "MAIL_SUPPRESS_SEND"),
        ("MAIL_SUPPRESS_SEND: true", 1, "MAIL_SUPPRESS_SEND"),
        ("MAIL_SUPPRESS_SEND:true", 1, "MAIL_SUPPRESS_SEND"),
        ("set MAIL_SUPPRESS_SEND=true", 1, "MAIL_SUPPRESS_SEND"),
        ("mail_suppress_send='true", 1, "mail_suppress_send"),
        ('OTHER="a"b"', 1, "OTHER"),
        ("APP_KEY=sec\0ret", 1, "APP_KEY"),
    ],
)
def test_a_line_that_cannot_be_parsed_is_told_with_its_number_and_its_variable(
    tmp_path: Path, text: str, line: int, name: str
) -> None:
    message = refusal(tmp_path, text)
    assert message.startswith(f"line {line}: ")
    assert name in message
    assert "secret" not in message
    assert "se" not in message.split()
    assert "db.test" not in message


@pytest.mark.parametrize("text", ["MIIEsecret secret", "secret\tsecret", "=secret", "[secret]", "// secret"])
def test_a_line_without_a_name_shows_nothing_of_itself(tmp_path: Path, text: str) -> None:
    message = refusal(tmp_path, f"PORT=5000\n{text}\n")
    assert message.startswith("line 2: this ")
    assert "secret" not in message


def test_a_value_that_swallows_a_variable_of_ours_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, 'OTHER="first\nMAIL_SUPPRESS_SEND=true\nANOTHER="\n')
    assert message.startswith("line 1: the quote after OTHER ends on another line.")


@pytest.mark.parametrize("text", [b"\n\nAPP_NAME=Caf\xe9", "APP_NAME=Café".encode("utf-16")])
def test_a_file_that_is_no_utf_8_is_told(tmp_path: Path, text: bytes) -> None:
    assert "UTF-8" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("# only a comment\n\n   \n", "PORT", None),
        ("\ufeffAPP_NAME=Shop", "APP_NAME", "Shop"),
        ("APP_NAME = 'My shop' # ours", "APP_NAME", "My shop"),
        ("APP_NAME=a\"b'c", "APP_NAME", "a\"b'c"),
        (r"EMAIL_HOST_PASSWORD='it\'s'", "EMAIL_HOST_PASSWORD", "it's"),
        ("EMAIL_HOST_PASSWORD=", "EMAIL_HOST_PASSWORD", ""),
        ('OTHER="a key\nof two lines"\nAPP_NAME=Shop\n', "APP_NAME", "Shop"),
        ("COMPOSE_PROJECT_NAME\nexport PATH_OF_MINE\nAPP_NAME=Shop\r\n", "APP_NAME", "Shop"),
        ("EMAIL_BACKEND=django.core.mail.backends.smtp.EmailBackend\nEMAIL_SUBJECT_PREFIX='[Shop] '\n", "PORT", None),
    ],
)
def test_what_python_dotenv_understands_is_taken_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str, value: str | None
) -> None:
    monkeypatch.delenv(name, raising=False)
    file = tmp_path / ".env"
    file.write_text(text)
    assert read_environment(file).get(name) == value


def test_a_virtual_environment_of_that_name_is_no_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert "APP_NAME_OF_NOBODY" not in read_environment(tmp_path / ".env")


def test_a_file_that_this_user_may_not_read_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("APP_NAME=Shop\n")
    file.chmod(0)
    with as_nobody(tmp_path), pytest.raises(ConfigurationError) as caught:
        read_environment(file)
    assert str(caught.value).startswith(f"{file} cannot be read by the user ")
    assert "\n" not in str(caught.value)
