"""Debian's Chromium, and how it is started here."""

from pathlib import Path
from typing import Final

# The same without windows of its own is half as much work for each page; where it is missing, Chromium itself does.
_PLACES: Final = (Path("/usr/lib/chromium/chromium-headless-shell"), Path("/usr/bin/chromium"))
CHROMIUM: Final = next((place for place in _PLACES if place.exists()), _PLACES[-1])
FLAGS: Final = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
