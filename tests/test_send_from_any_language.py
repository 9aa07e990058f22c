"""The examples of docs/api.md in any language, each run by its own program against a live server; README's calls."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from app import create_app
from services.accounts import api_tokens
from tests.live_server import DATABASE, DEVELOPMENT, LiveServer, environment_for
from tests.loopback import free_port
from tests.patience import PATIENCE, wait_until
from tests.recording_server import RecordingServer
from tests.running import ROOT
from tests.visitors import mail_through, make_alice

DOCUMENT: Final = (ROOT / "docs" / "api.md").read_text()
SECTION: Final = DOCUMENT.partition("## Send from any language\n")[2].partition("\n## ")[0]
README_SAYS: Final = (ROOT / "README.md").read_text().partition("## The HTTP API\n")[2].partition("```sh\n")[2]


def example(language: str, place: int = 0) -> str:
    return str(re.findall(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)[place])


@pytest.fixture(scope="module")
def inbox() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture(scope="module")
def variables(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: Path, inbox: RecordingServer
) -> Iterator[dict[str, str]]:
    """What the page asks for: where the server is, and a token of alice."""
    folder, port = tmp_path_factory.mktemp("languages"), free_port()
    (folder / DATABASE).write_bytes(migrated_database.read_bytes())
    base = f"http://127.0.0.1:{port}"
    environment = environment_for(folder, PORT=str(port), BASE_URL=base, **mail_through(inbox))
    (folder / ".env").write_text(f"ADMIN_TOKEN={environment['ADMIN_TOKEN']}\n")
    with create_app(environment, instance_path=folder).app_context():
        token, _ = api_tokens.create(make_alice().id, "shop", scopes=["send", "read"])
    with LiveServer(DEVELOPMENT, environment, folder, port):
        yield {"SEALPOST": base, "TOKEN": token, "FOLDER": str(folder)}


def said_by(program: str, *arguments: str, text: str = "", variables: dict[str, str]) -> str:
    """What a program prints. Skips the test where it is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (make services)")
    done = subprocess.run(
        [program, *arguments],
        input=text,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl(variables: dict[str, str], inbox: RecordingServer) -> None:
    told = json.loads(said_by("bash", "-c", example("sh", 1), variables=variables))
    shown = json.loads(example("json"))
    assert list(told) == list(shown)
    assert {name: told[name] for name in ("success", "state", "via", "why")} == {
        name: shown[name] for name in ("success", "state", "via", "why")
    }


def test_python(variables: dict[str, str], inbox: RecordingServer) -> None:
    said = said_by(sys.executable, "-I", "-", text=example("python"), variables=variables)
    assert re.fullmatch(r"[0-9a-f]{32}\n", said)


def test_node(variables: dict[str, str], inbox: RecordingServer) -> None:
    said = said_by("node", "--input-type=module", "-", text=example("javascript"), variables=variables)
    assert said == "sent\n"


def test_php(variables: dict[str, str], inbox: RecordingServer) -> None:
    first, again = (said_by("php", text=example("php"), variables=variables) for _ in range(2))
    assert re.fullmatch(r"([0-9a-f]{32}\n){2}", first)
    assert again == first


def test_what_they_send_arrives(variables: dict[str, str], inbox: RecordingServer) -> None:
    said_by("bash", "-c", example("sh", 1).replace("Order 17", "The last one"), variables=variables)
    wait_until(lambda: any(b"Subject: The last one" in mail.content for mail in list(inbox.mails)))


def test_the_calls_of_the_readme(variables: dict[str, str], inbox: RecordingServer) -> None:
    block = README_SAYS.partition("```")[0]
    assert "http://127.0.0.1:5000" in block
    block = block.replace("http://127.0.0.1:5000", variables["SEALPOST"])
    said = said_by("bash", "-c", f"cd $FOLDER\n{block}", variables=variables)
    sent, failed, found, added, listed, tested = answers = list(values_in(said))
    assert len(answers) == block.count("curl ")
    assert (sent["state"], failed["data"]) == ("queued", [])
    assert "smtp.gmail.com" in str(found)
    assert listed["data"] == [added["data"]]
    assert tested["message"] in ("Connection successful", "SMTP not configured")  # none is active there


def values_in(text: str) -> Iterator[dict[str, Any]]:
    """The JSON values that stand one behind the other."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        yield value
        text = text[end:]
