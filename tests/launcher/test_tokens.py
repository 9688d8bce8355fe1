"""launcher.tokens: where a token is, and who needs one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.configuration.models import Service
from launcher.tokens import needs_token, read_token


def service(**options: Any) -> Service:
    """A built-in server with these options."""
    return Service.model_validate({"name": "m", "server": "memory", "options": options})


def test_a_token_in_the_options_and_in_a_file(tmp_path: Path) -> None:
    """A file is relative to the service's folder, its newline is none of the token's."""
    (tmp_path / "token").write_text("open-sesame-1\n")
    in_file = service(token_file="token").model_copy(update={"cwd": tmp_path})
    assert read_token(service(token="open-sesame-2")) == "open-sesame-2"
    assert read_token(in_file) == "open-sesame-1"
    assert read_token(service(token_file=str(tmp_path / "token"))) == "open-sesame-1"


def test_the_home_folder_is_meant_as_in_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the server itself reads it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "token").write_text("open-sesame-3")
    assert read_token(service(token_file="~/token")) == "open-sesame-3"


def test_who_needs_none() -> None:
    """No option, or a command, whose settings are none of ours."""
    command = Service.model_validate({"name": "c", "command": ["x"]})
    assert (read_token(service()), needs_token(service()), needs_token(command)) == (None, False, False)
    assert needs_token(service(token_file="gone"))
    with pytest.raises(FileNotFoundError):
        read_token(service(token_file="/nowhere/token"))
