"""An application of somebody else's, beside which Sealpost is a guest in the same process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

import app as sealpost


@pytest.fixture
def guest(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """Sealpost as ``sealpost_context`` makes it, with its `.env` in a folder of its own."""
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in environment.items()))
    monkeypatch.setenv("SEALPOST_HOME", str(tmp_path))
    sealpost._guest.cache_clear()
    yield sealpost.guest()
    sealpost._guest.cache_clear()
