"""Which MCP client keeps its servers in which file, in which form.

Pure but for reading nothing: it decides paths and contents; `connect` reads and writes. Sources: the
documentation of each client on MCP servers.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = "lucid-memory"
"""What the server is called in every client."""


@dataclass(frozen=True)
class Door:
    """How a client reaches the memory server: by address, or by a command that bridges."""

    url: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class McpClient:
    """One client: its file (relative to the home or, with `is_in_project`, to the project's folder).

    `key` holds the servers; `entry` is ours among them. `is_toml` files are appended to, not rewritten.
    """

    file: str
    key: str
    entry: Callable[[Door], Mapping[str, Any]]
    is_in_project: bool = False
    is_toml: bool = False

    def path(self, home: Path, project: Path) -> Path:
        """The file of this client."""
        return (project if self.is_in_project else home) / self.file


def _by_url(key: str, **more: str) -> Callable[[Door], Mapping[str, Any]]:
    return lambda door: {**more, key: door.url}


def _by_command(door: Door) -> Mapping[str, Any]:
    return {"command": door.command[0], "args": list(door.command[1:])}


CLIENTS: Mapping[str, McpClient] = {
    "claude-code": McpClient(".mcp.json", "mcpServers", _by_url("url", type="http"), is_in_project=True),
    "claude-desktop": McpClient(".config/Claude/claude_desktop_config.json", "mcpServers", _by_command),
    "cursor": McpClient(".cursor/mcp.json", "mcpServers", _by_url("url")),
    "vscode": McpClient(".vscode/mcp.json", "servers", _by_url("url", type="http"), is_in_project=True),
    "codex": McpClient(".codex/config.toml", "mcp_servers", _by_url("url"), is_toml=True),
    "gemini": McpClient(".gemini/settings.json", "mcpServers", _by_url("httpUrl")),
}


def snippet(client: McpClient, door: Door) -> str:
    """What belongs into the client's file, as text to paste."""
    entry = client.entry(door)
    if client.is_toml:
        lines = [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
        return "\n".join([f"[{client.key}.{NAME}]", *lines, ""])
    return json.dumps({client.key: {NAME: entry}}, indent=2) + "\n"


def merged(client: McpClient, door: Door, existing: str) -> str:
    """The client's file with our server in it; everything else in it stays.

    Raises ValueError when the file is not what its name says, or names another server like ours.
    """
    if client.is_toml:
        return _merged_toml(client, door, existing)
    document = json.loads(existing) if existing.strip() else {}
    servers = document.setdefault(client.key, {}) if isinstance(document, dict) else None
    if not isinstance(servers, dict):
        raise ValueError(f"it is not an object with {client.key}")
    servers[NAME] = client.entry(door)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _merged_toml(client: McpClient, door: Door, existing: str) -> str:
    known = tomllib.loads(existing).get(client.key, {})
    if NAME not in known:
        return existing.rstrip("\n") + ("\n\n" if existing.strip() else "") + snippet(client, door)
    if known[NAME] == client.entry(door):
        return existing
    raise ValueError(f"it has another [{client.key}.{NAME}]; change that one by hand")
