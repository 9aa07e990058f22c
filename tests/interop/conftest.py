"""What the tests with others' programs share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.gateway_side import GatewaySide, gateway_side


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Iterator[GatewaySide]:
    """A running gateway, for all tests of a file."""
    with gateway_side(tmp_path_factory.mktemp("gateway"), migrated_database) as side:
        yield side
