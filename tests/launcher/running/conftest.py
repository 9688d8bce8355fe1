"""What the tests of a running stack share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.launcher.running.bench import Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Supervisors of one stack, ended after the test."""
    bench = Bench(tmp_path)
    yield bench
    await bench.close()
