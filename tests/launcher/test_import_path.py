"""launcher.import_path: which folder our own programs find their modules in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import launcher
from launcher.import_path import SAFE_PATH, is_ours_alone, own_environ

ROOT = str(Path(launcher.__file__).parents[1])


def test_the_current_folder_is_left_out_and_that_can_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else of the environment changes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", ROOT])
    environ = own_environ({"A": "1"})
    assert (environ.pop("A"), environ.pop(SAFE_PATH)) == ("1", "1")
    assert is_ours_alone(environ)
    assert is_ours_alone(own_environ(own_environ({})))


def test_what_the_user_has_set_stays_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It then holds for the commands too."""
    monkeypatch.chdir(tmp_path)
    assert own_environ({SAFE_PATH: "yes"}) == {SAFE_PATH: "yes"}


def test_a_package_that_is_only_here_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone in which nothing is installed, as its folder is the one that Python was started in."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", ["", ROOT, "/no/such/folder"])
    monkeypatch.setattr(
        sys, "meta_path", [finder for finder in sys.meta_path if "ditable" not in str(finder)]
    )
    assert own_environ({}) == {}


def test_a_folder_that_is_gone_holds_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left out."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert SAFE_PATH in own_environ({})
