"""`flask version` and `upgrade-check`: which version this is, and what to know before it takes the place of another."""

import platform

from blueprints.cli.frame import DONE, NOT_WELL, answer, command, leave
from blueprints.cli.smtp_checks import run_all
from services.checks import upgrading
from utils.home import home
from utils.version import VERSION


@command(None, "version", needs_tables=False)
def version(*, as_json: bool) -> None:
    """Say which version of Sealpost this is."""
    facts = {"version": VERSION, "python": platform.python_version(), "home": str(home())}
    answer(as_json, facts, f"Sealpost {VERSION}", f"Python {facts['python']}", f"Settings in {facts['home']}")


@command(
    None,
    "upgrade-check",
    exits={DONE: "nothing stands in the way of this version", NOT_WELL: "something has to be put right first"},
    needs_tables=False,
)
def upgrade_check(*, as_json: bool) -> None:
    """Check what an upgrade to this version needs, without changing anything.

    Run it with the new version, before flask db upgrade. It shows the migrations that will run, variables that this
    version does not know, and keys, certificates and tokens that will end.
    """
    leave(run_all(upgrading.checks(), as_json=as_json, version=VERSION))
