"""The stack and the GPUs that the errors are provoked with."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stack import Stack
from tests.launcher.commands.error_catalogue.catalogue import SLEEPER
from tests.launcher.nvml_double import write_module, write_state

ROOT = Path(__file__).parents[4]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of one program that does nothing, stopped; the tests give it the file that they need."""
    made = Stack(tmp_path, config=SLEEPER)
    yield made
    made.config.write_text(SLEEPER)
    made.close()


@pytest.fixture
def cards(stack: Stack, tmp_path: Path) -> Path:
    """One GPU as a stand-in for the driver tells it: 80 GiB, of which 8 are free."""
    state = tmp_path / "nvml.json"
    write_state(state, {0: (80, 8)})
    write_module(tmp_path / "nvml", state)
    paths = [str(tmp_path / "nvml"), str(ROOT)]
    stack.environ = stack.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return state
