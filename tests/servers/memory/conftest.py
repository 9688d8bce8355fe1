"""Fixtures shared by the tests of the memory server."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.servers.memory.desk import Desk, open_desk
from tests.servers.memory.doubles import Disk, mounted


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk whose syncs are counted and which can be told to fail."""
    with mounted(Disk()) as ready:
        yield ready


@pytest.fixture
async def desk(tmp_path: Path, disk: Disk) -> AsyncIterator[Desk]:
    """The memory server's commands over an empty store; the debug engine, a clock that stands still."""
    async with open_desk(tmp_path / "data", vfs=disk.name) as opened:
        yield opened
