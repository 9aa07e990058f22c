"""Imported first of all: while the rest is imported, nobody looks for garbage. It was a seventh of a start.

All that is imported stays, so each look was in vain, and longer than the one before.
"""

import gc
from typing import Final

_WAS_LOOKED_FOR: Final = gc.isenabled()
gc.disable()


def look_again() -> None:
    """Look for it from now on, but never again among what is there by now."""
    gc.freeze()
    if _WAS_LOOKED_FOR:
        gc.enable()
