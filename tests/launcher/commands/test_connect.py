"""`connect`: what is printed, what is written, and what is left alone."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from launcher.commands.mcp_clients import CLIENTS, NAME
from tests.launcher.commands.conftest import Run

STACK = "project: lucid\nservices:\n  memory: {server: memory, port: 5077}\n"
URL = "http://localhost:5077/mcp"


@pytest.fixture
def home(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and a project with a memory server that does not run."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    (project / "config.yaml").write_text(STACK)
    return folder


def parsed(client: str, text: str) -> dict[str, Any]:
    """The client's file as data."""
    document = tomllib.loads(text) if CLIENTS[client].is_toml else json.loads(text)
    servers: dict[str, Any] = document[CLIENTS[client].key]
    return servers


@pytest.mark.parametrize("client", sorted(CLIENTS))
def test_the_snippet_is_valid_and_leads_to_the_server(run: Run, home: Path, client: str) -> None:
    """By address, or for clients that only start commands by the bridge of this very file."""
    outcome = run("connect", client)
    assert outcome.code == 0
    entry = parsed(client, outcome.out)[NAME]
    if client == "claude-desktop":
        assert entry["args"][-3:] == ["-f", str(Path.cwd() / "config.yaml"), "mcp"]
        assert Path(entry["command"]).is_absolute()
    else:
        assert URL in entry.values()
    assert not any(home.iterdir())


@pytest.mark.parametrize("client", sorted(CLIENTS))
def test_writing_keeps_everything_else(run: Run, home: Path, project: Path, client: str) -> None:
    """The other servers and settings of the file stay; a second time nothing changes."""
    path = CLIENTS[client].path(home, project)
    path.parent.mkdir(parents=True, exist_ok=True)
    key = CLIENTS[client].key
    if CLIENTS[client].is_toml:
        path.write_text(f'model = "x"  # mine\n\n[{key}.other]\nurl = "http://o"\n')
    else:
        path.write_text(json.dumps({"theme": "dark", key: {"other": {"url": "http://o"}}}))
    assert run("connect", client, "--write").code == 0
    written = path.read_text()
    assert set(parsed(client, written)) == {"other", NAME}
    assert ("# mine" if CLIENTS[client].is_toml else "theme") in written
    again = run("connect", client, "--write")
    assert (again.code, "already" in again.err) == (0, True)
    assert path.read_text() == written
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(f".{path.name}.")] == []


@pytest.mark.parametrize(
    ("client", "content"),
    [
        ("cursor", '{"mcpServers": {} // a comment\n}'),
        ("cursor", "[]"),
        ("gemini", '{"mcpServers": []}'),
        ("codex", "not = toml ="),
        ("codex", f'[mcp_servers.{NAME}]\nurl = "http://elsewhere"\n'),
    ],
)
def test_a_file_that_is_not_understood_is_left_alone(
    run: Run, home: Path, project: Path, client: str, content: str
) -> None:
    """The error says to put the text in by hand."""
    path = CLIENTS[client].path(home, project)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    outcome = run("connect", client, "--write")
    assert (outcome.code, "by hand" in outcome.err) == (1, True)
    assert path.read_text() == content


def test_a_link_stays_a_link(run: Run, home: Path, tmp_path: Path) -> None:
    """As those who manage their dotfiles expect."""
    (tmp_path / "dotfiles").mkdir()
    (home / ".cursor").mkdir()
    (home / ".cursor/mcp.json").symlink_to(tmp_path / "dotfiles/mcp.json")
    assert run("connect", "cursor", "--write").code == 0
    assert (home / ".cursor/mcp.json").is_symlink()
    assert NAME in (tmp_path / "dotfiles/mcp.json").read_text()


def test_without_a_memory_server_there_is_nothing_to_connect(run: Run, project: Path) -> None:
    """The text says what the file lacks."""
    (project / "config.yaml").write_text("project: lucid\nservices:\n  x: {command: [sleep, '1']}\n")
    outcome = run("connect", "cursor")
    assert (outcome.code, "server: memory" in outcome.err) == (1, True)


def test_an_unknown_client_is_a_usage_error(run: Run, home: Path) -> None:
    """The known ones are listed."""
    outcome = run("connect", "emacs")
    assert (outcome.code, "cursor" in outcome.err) == (2, True)
