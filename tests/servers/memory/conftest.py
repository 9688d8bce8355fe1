"""Fixtures shared by the tests of the memory server."""

from collections.abc import Iterator

import pytest

from tests.servers.memory.doubles import Disk, mounted


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk whose syncs are counted and which can be told to fail."""
    with mounted(Disk()) as ready:
        yield ready
