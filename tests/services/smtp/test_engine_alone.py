"""The engine knows no form, no table and no web framework: it could serve another program as it is."""

import subprocess
import sys

from tests.running import ROOT

LOADED = "import sys, services.smtp.client, services.smtp.pool; print(*sys.modules)"
OTHERS = {"flask", "werkzeug", "jinja2", "pydantic", "sqlalchemy", "celery", "utils.env_utils", "database"}


def test_the_engine_loads_neither_flask_nor_pydantic_nor_sqlalchemy_nor_our_environment() -> None:
    command = [sys.executable, "-c", LOADED]
    loaded = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert "services.smtp.client" in loaded
    assert OTHERS.isdisjoint(loaded)
