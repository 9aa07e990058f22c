"""`flask version`: which version this is, and of what else it is made."""

import platform

from blueprints.cli.frame import answer, command
from utils.home import home
from utils.version import VERSION


@command(None, "version", needs_tables=False)
def version(*, as_json: bool) -> None:
    """Say which version of Sealpost this is."""
    facts = {"version": VERSION, "python": platform.python_version(), "home": str(home())}
    answer(as_json, facts, f"Sealpost {VERSION}", f"Python {facts['python']}", f"Settings in {facts['home']}")
