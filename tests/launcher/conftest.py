"""What several tests of the launcher share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launcher.played_supervisor import Theatre


@pytest.fixture
def theatre(tmp_path: Path) -> Iterator[Theatre]:
    """A guardian's stage; guardian and programs are ended after the test."""
    theatre = Theatre(tmp_path)
    yield theatre
    theatre.close()
