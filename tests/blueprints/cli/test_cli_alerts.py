"""`flask alerts`: what a shell sees of channels, tests and what fires."""

import json

from flask import Flask

from services.alerts import channels, watching
from tests.web_hook import WebHook


def run(app: Flask, *words: str) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=["alerts", *words])
    return result.exit_code, result.stdout + result.stderr


def test_channels_are_listed_tested_and_the_state_is_told(app: Flask) -> None:
    assert run(app, "list") == (0, "No channel yet, so no one is told. Add one on the page Alerts.\n")
    code, text = run(app, "status")
    assert (code, "Nothing is checking the rules." in text) == (3, True)
    with WebHook() as hook:
        channels.save({"kind": "webhook", "url": f"{hook.url}/s3cret", "name": "Pager"})
        code, text = run(app, "list")
        assert (code, "Pager" in text, "not tested" in text, "s3cret" in text) == (0, True, True, False)
        assert run(app, "test", "pager") == (0, "Pager accepted the test.\n")
        hook.status = 404
        code, text = run(app, "test", "1")
        assert (code, text) == (
            1,
            "Pager does not work. The server does not know this URL (404). Check the URL for a typo.\n",
        )
    code, text = run(app, "test", "1", "--json")
    assert (code, json.loads(text)["remedy"]) == (1, "Check the port in the URL, and that the server is running.")
    assert run(app, "test", "nobody")[0] == 1
    watching.here().look()
    assert run(app, "status") == (0, "No alert is firing.\n")
