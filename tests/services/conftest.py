"""What tests of services share: a mail server that takes everything and remembers it."""

from collections.abc import Iterator

import pytest

from tests.recording_server import RecordingServer


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running
