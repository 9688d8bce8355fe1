"""Whether another supervisor could take over: the installation as a new process finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher import __version__
from launcher.errors import ActionFailed
from launcher.running import successor
from launcher.running.successor import check_successor
from tests.launcher.guarded import guarded


async def test_the_installed_version_is_told() -> None:
    """A process of its own loads all that a supervisor needs, and says which version that is."""
    async with guarded() as parent:
        assert await check_successor(parent) == __version__


async def test_an_installation_that_does_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last words of the trial are the reason."""
    (tmp_path / "websockets").mkdir()
    (tmp_path / "websockets" / "__init__.py").write_text("raise ImportError('half of it is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with guarded() as parent:
        with pytest.raises(ActionFailed, match=r"could not take over: ImportError: half of it is missing"):
            await check_successor(parent)


async def test_a_trial_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended after its limit, and nothing was changed."""
    monkeypatch.setattr(successor, "_TRIAL", "import signal; signal.pause()")
    monkeypatch.setattr(successor, "_LIMIT_S", 0.3)
    async with guarded() as parent:
        with pytest.raises(ActionFailed, match=r"did not load within 0\.3 s"):
            await check_successor(parent)
        assert not parent.has_children
