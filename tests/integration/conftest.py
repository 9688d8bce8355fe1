"""Fixtures that own a whole stack of real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stack import Stack


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stopped stack on free ports, with the engine that needs no model; stopped again afterwards."""
    made = Stack(tmp_path)
    yield made
    made.close()


@pytest.fixture
def running(stack: Stack) -> Stack:
    """The same, up and ready."""
    stack.run("up", "-d", "--wait")
    return stack
