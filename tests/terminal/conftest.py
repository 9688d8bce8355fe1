"""A real stack of light services, and real terminals to look at it; skipped where there is no tmux."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.terminal.light_stack import LightStack
from tests.terminal.tmux import Terminal

OpenTerminal = Callable[..., Terminal]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a terminal, and say why."""
    if shutil.which("tmux") is None:
        for item in items:
            if "open_terminal" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason="tmux is not installed (apt-get install tmux)"))


@pytest.fixture
def light(tmp_path: Path) -> Iterator[LightStack]:
    """The stack, not started; stopped afterwards."""
    stack = LightStack(tmp_path)
    yield stack
    stack.close()


@pytest.fixture
def lit(light: LightStack) -> LightStack:
    """The stack, ready."""
    light.run("up", "-d", "--wait")
    return light


@pytest.fixture
def open_terminal(light: LightStack) -> Iterator[OpenTerminal]:
    """Open a terminal in the stack's folder; `more` changes its environment (None takes a variable out)."""
    terminals: list[Terminal] = []

    def opened(width: int = 130, height: int = 40, **more: str | None) -> Terminal:
        plain = {"NO_COLOR", "TERM", "COLUMNS", "LINES", "TMUX", "LC_ALL", "LC_CTYPE", "LANG"}
        environ = {name: value for name, value in light.environ.items() if name not in plain}
        wanted = {"LANG": "C.UTF-8", "PYTHONPATH": os.getcwd(), **more}
        environ.update({name: value for name, value in wanted.items() if value is not None})
        terminals.append(Terminal(light.root, environ, width, height))
        return terminals[-1]

    yield opened
    for terminal in terminals:
        terminal.close()


@pytest.fixture
def dashboard(lit: LightStack, open_terminal: OpenTerminal) -> OpenTerminal:
    """Open the dashboard on the ready stack in a terminal of a size, and wait for its rows."""

    def opened(width: int = 130, height: int = 40, **more: str | None) -> Terminal:
        terminal = open_terminal(width, height, **more)
        terminal.run("lucid-launch dashboard; echo exit=$?.", shows="2/2")
        return terminal

    return opened
