"""`lucid-launch mcp`: the stdio bridge to the memory server, for MCP clients that only start commands."""

import sys
from pathlib import Path

import click

from launcher.commands.mcp_address import mcp_url
from launcher.commands.mcp_bridge import McpBridge
from launcher.errors import ActionFailed
from launcher.invocation import Invocation


@click.command(short_help="Bridge MCP from stdin and stdout to the memory server.")
@click.option("--url", metavar="URL", help="The door itself, instead of the one of the stack.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file whose first line is the server's token.",
)
@click.pass_obj
def command(invocation: Invocation, url: str | None, token_file: Path | None) -> int:
    """Speak the Model Context Protocol on stdin and stdout, answered by the memory server.

    Meant to be started by a client, not by a person; `lucid-launch connect` shows how.
    """
    bridge = McpBridge(url or mcp_url(invocation), read_token(token_file))
    bridge.run(sys.stdin.buffer, sys.stdout.buffer)
    return 0


def read_token(file: Path | None) -> str | None:
    """The token in the file's first line; None without a file."""
    if file is None:
        return None
    try:
        return file.read_text("utf-8").splitlines()[0].strip()
    except (OSError, UnicodeError, IndexError) as error:
        raise ActionFailed(f"the token cannot be read from {file}: {error}") from error
