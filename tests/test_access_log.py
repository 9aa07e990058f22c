"""What gunicorn writes of a request where an access log is asked for: neither its query nor where it came from."""

import runpy
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

from gunicorn.config import Config
from gunicorn.glogging import Logger

ROOT = Path(__file__).parent.parent


def test_no_query_and_no_referrer_stands_in_the_access_log() -> None:
    form = runpy.run_path(str(ROOT / "gunicorn.conf.py"))["access_log_format"]
    logger = Logger(Config())
    request = SimpleNamespace(headers=[("REFERER", "https://id.example.com/?code=c4nary")])
    response = SimpleNamespace(status="303 See Other", sent=0, response_length=0, headers=[])
    environ = {
        "REQUEST_METHOD": "GET",
        "RAW_URI": "/oauth/callback?code=c4nary&state=c4nary",
        "PATH_INFO": "/oauth/callback",
        "QUERY_STRING": "code=c4nary&state=c4nary",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_REFERER": "https://id.example.com/?code=c4nary",
        "REMOTE_ADDR": "192.0.2.1",
    }
    atoms = logger.atoms(response, request, environ, timedelta(seconds=1))
    line = form % logger.atoms_wrapper_class(atoms)
    assert '"GET /oauth/callback HTTP/1.1" 303' in line
    assert "c4nary" not in line
