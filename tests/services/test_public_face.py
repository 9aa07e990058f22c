"""What ``from services.email_service import *`` gives: all that callers need, and nothing of the inside."""

import inspect
import subprocess
import sys
from pathlib import Path

from flask import Flask

from services import email_service
from services.message import draft, recording
from tests.patience import PATIENCE

ROOT = Path(__file__).parent.parent.parent
# Types that callers make or get, which are defined where they belong.
PASSED_ON = {"Attachment": draft.Attachment, "RecordedMail": recording.RecordedMail}
SPECIFIED = {
    *("get_smtp_config", "send_email", "queue_email", "test_smtp_connection", "send_password_reset_email"),
    *("send_order_notification", "send_template", "message_id", "record_messages", "Attachment"),
}


def public_definitions() -> set[str]:
    """The functions and classes that the module defines itself and does not keep to itself."""
    return {
        name
        for name, value in vars(email_service).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == email_service.__name__
    }


def test_a_star_import_gives_the_whole_public_face() -> None:
    given: dict[str, object] = {}
    exec("from services.email_service import *", given)
    del given["__builtins__"]
    assert set(given) == public_definitions() | set(PASSED_ON) | {"record_messages", "reset_url"}
    assert set(given) >= SPECIFIED
    assert all(given[name] is value for name, value in PASSED_ON.items())


def test_the_list_names_each_once_and_in_order() -> None:
    assert email_service.__all__ == sorted(set(email_service.__all__))


def test_what_is_public_says_what_it_does() -> None:
    assert all(inspect.getdoc(getattr(email_service, name)) for name in email_service.__all__)


def test_the_examples_of_what_an_email_can_contain_run(app: Flask) -> None:
    section = (ROOT / "docs" / "sending.md").read_text().partition("## What an email can contain")[2]
    code = section.partition("```python\n")[2].partition("```")[0]
    with recording.record_messages() as recorded:
        exec(code, {})
    assert len(recorded) == code.count("send_email(") + code.count("queue_email(")
    assert recorded[-2].headers["In-Reply-To"] == recorded[-3].message_id


def test_pytest_takes_nothing_of_it_for_a_test(tmp_path: Path) -> None:
    host = tmp_path / "test_host.py"
    host.write_text("from services.email_service import *\n\ndef test_own(): pass\n")
    options = ["-q", "--collect-only", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", *options, str(host)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert "test_own" in shown.stdout
    assert "test_smtp_connection" not in shown.stdout
    assert shown.returncode == 0
