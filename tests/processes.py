"""Processes of tests that begin with the application loaded: forked from one that has loaded it, once for all of them.

To load it takes a process longer than most of what tests have one do.
"""

import multiprocessing
from typing import Final

CONTEXT: Final = multiprocessing.get_context("forkserver")
# There is one such process, so all that is to be loaded in it is named here.
CONTEXT.set_forkserver_preload(
    [
        "celery.apps.worker",
        "database.migrating",
        "flask_migrate",
        "tests.faults.at_scale",
        "tests.faults.child",
        "tests.faults.sink",
        "tests.forked_server",
    ]
)
