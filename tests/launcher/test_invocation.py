"""launcher.invocation: which config file a call is about."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.errors import ConfigMissing
from launcher.invocation import Invocation
from launcher.runtime_dir import OwnerLock, create_runtime_dir
from launcher.terminal.output import Output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder deep in a project, and a runtime folder of its own."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    deep = tmp_path / "project" / "src"
    deep.mkdir(parents=True)
    return deep


def found(folder: Path, file: str | None = None) -> Path:
    """The file of a call that is made in `folder`, with this `-f`."""
    output = Output("never", False, 0, os.environ)
    return Invocation(None if file is None else Path(file), folder, output, os.environ).config_path()


def test_the_nearest_file_counts(folder: Path) -> None:
    """Here, else in the nearest folder above."""
    above = folder.parent / "config.yaml"
    above.write_text("")
    assert found(folder) == above
    (folder / "config.yaml").write_text("")
    assert found(folder) == folder / "config.yaml"


def test_the_named_file_alone_counts(folder: Path) -> None:
    """Relative to the folder of the call; one that is not there is not looked for elsewhere."""
    (folder / "config.yaml").write_text("")
    (folder.parent / "other.yaml").write_text("")
    assert found(folder, "../other.yaml").samefile(folder.parent / "other.yaml")
    with pytest.raises(ConfigMissing, match=r"gone\.yaml"):
        found(folder, "gone.yaml")


def test_a_stack_whose_file_is_gone_can_still_be_named(folder: Path) -> None:
    """As long as it runs, from wherever its file would have been found; a file that is there comes first."""
    gone = folder.parent / "config.yaml"
    with pytest.raises(ConfigMissing):
        found(folder)
    lock = OwnerLock(create_runtime_dir(gone), gone)
    assert found(folder) == gone
    assert found(folder, "../config.yaml").resolve() == gone
    (folder.parent.parent / "config.yaml").write_text("")
    assert found(folder) == folder.parent.parent / "config.yaml"
    (folder.parent.parent / "config.yaml").unlink()
    lock.release()
    with pytest.raises(ConfigMissing):
        found(folder)
