"""A module that something else imports is given whole or not at all."""

import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from utils import late

MODULE = "a_module_that_takes_its_time"
begun, go_on = threading.Event(), threading.Event()


@pytest.fixture(params=["is_whole = True", "raise ImportError"])
def importing(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Another thread is in the midst of importing MODULE, and goes on once ``go_on`` is set; how it ends."""
    wait = f"from {__name__} import begun, go_on\nbegun.set()\ngo_on.wait()\n"
    (tmp_path / f"{MODULE}.py").write_text(wait + request.param)
    monkeypatch.syspath_prepend(tmp_path)
    begun.clear()
    go_on.clear()

    def import_it() -> None:
        with suppress(ImportError):
            __import__(MODULE)

    thread = threading.Thread(target=import_it)
    thread.start()
    assert begun.wait(PATIENCE)
    yield request.param
    go_on.set()
    thread.join()
    sys.modules.pop(MODULE, None)


def test_a_module_under_way_is_waited_for(importing: str) -> None:
    threading.Timer(0.1, go_on.set).start()
    module = late.loaded(MODULE)
    assert (module and module.is_whole) is (True if importing == "is_whole = True" else None)


def test_a_module_that_nobody_imports_is_not_imported() -> None:
    assert late.loaded("this_module") is None
