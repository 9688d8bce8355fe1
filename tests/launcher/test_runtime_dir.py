"""launcher.runtime_dir: one private folder per config file, one owner at a time."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.errors import AlreadyOwned, SupervisorFailed
from launcher.runtime_dir import OwnerLock, create_runtime_dir, read_owner_pid, runtime_dir, runtime_paths


@pytest.fixture
def config(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config path whose runtime files live under a folder of its own, short enough for a socket address."""
    folder = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder / "config.yaml"


def test_folder_is_named_by_the_resolved_path(config: Path) -> None:
    """Two spellings of one path share a folder and two files do not."""
    config.touch()
    link = config.parent / "link.yaml"
    link.symlink_to(config)
    assert runtime_dir(link) == runtime_dir(config)
    assert runtime_dir(config.parent / "other.yaml") != runtime_dir(config)


def test_folder_is_private(config: Path) -> None:
    """Every folder made is 0700 and a wider mode is narrowed."""
    folder = create_runtime_dir(config).folder
    folder.chmod(0o755)
    again = create_runtime_dir(config).folder
    assert again == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_linked_folder_is_refused(config: Path) -> None:
    """A link planted in the place of our folder is refused with a sentence."""
    elsewhere = config.parent / "elsewhere"
    elsewhere.mkdir()
    (config.parent / "lucid-launch").symlink_to(elsewhere)
    with pytest.raises(SupervisorFailed, match="cannot use the runtime folder"):
        create_runtime_dir(config)


def test_a_file_in_the_place_of_the_folder(config: Path) -> None:
    """Nothing runs there, which is no reason to fail; what wants to run there is told what to remove."""
    (config.parent / "lucid-launch").touch()
    assert read_owner_pid(runtime_paths(config)) is None
    with pytest.raises(SupervisorFailed, match="File exists"):
        create_runtime_dir(config)


def test_long_session_folder_falls_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime directory too long for a socket address is not used."""
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    path = runtime_paths(tmp_path / "config.yaml").control_socket
    assert len(os.fsencode(path)) < 104
    assert deep not in path.parents


def test_second_owner_is_refused_and_told_who(config: Path) -> None:
    """The lock names its holder, and is free again after release."""
    paths = create_runtime_dir(config)
    assert read_owner_pid(paths) is None
    lock = OwnerLock(paths, config)
    assert read_owner_pid(paths) == os.getpid()
    with pytest.raises(AlreadyOwned) as caught:
        OwnerLock(paths, config)
    assert caught.value.owner_pid == os.getpid()
    lock.release()
    assert read_owner_pid(paths) is None
    OwnerLock(paths, config).release()


def test_dead_owner_is_remembered(config: Path) -> None:
    """Only an owner that died with the lock is a dead predecessor; one that released it is not."""
    paths = create_runtime_dir(config)
    script = "import os, sys; from pathlib import Path; from launcher.runtime_dir import *;"
    script += "p = Path(sys.argv[1]); OwnerLock(runtime_paths(p), p); os.kill(os.getpid(), 9)"
    with subprocess.Popen([sys.executable, "-c", script, str(config)]) as process:
        process.wait()
    lock = OwnerLock(paths, config)
    assert lock.dead_predecessor == process.pid
    lock.release()
    again = OwnerLock(paths, config)
    assert again.dead_predecessor is None
    again.release()


def test_import_is_light() -> None:
    """Light verbs import it: no asyncio, pydantic, yaml or websockets comes along."""
    script = "import sys, launcher.runtime_dir; print(*sys.modules)"
    names = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert {"asyncio", "pydantic", "yaml", "websockets"}.isdisjoint(names.split())
