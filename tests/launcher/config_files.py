"""Small config files for tests: written, read, and their problems as lines."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from launcher.config import Config, load_config
from launcher.errors import ConfigInvalid


def load(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    """The Config of `text`."""
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, environ or {})


def problems(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Each problem of `text`, as its one line."""
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path, text, environ)
    assert caught.value.exit_code == 2
    return [str(problem) for problem in caught.value.problems]


def service(keys: str) -> str:
    """A file with one service `a` that has `keys`."""
    return "services:\n  a:\n" + "".join(f"    {line}\n" for line in keys.split("\n"))
