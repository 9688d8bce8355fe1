"""`lucid-launch connect CLIENT`: print, or write, what an MCP client needs to use the memory server."""

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import click

from launcher.commands.mcp_address import mcp_url
from launcher.commands.mcp_clients import CLIENTS, Door, McpClient, merged, snippet
from launcher.errors import ActionFailed
from launcher.invocation import Invocation


@click.command(short_help="Connect an MCP client to the memory server.")
@click.argument("client", type=click.Choice(sorted(CLIENTS)), metavar="CLIENT")
@click.option("--write", is_flag=True, help="Write it into the client's own file; the rest of it stays.")
@click.pass_obj
def command(invocation: Invocation, client: str, write: bool) -> int:
    """Show what CLIENT needs to use the memory server over MCP; with --write, put it in place.

    CLIENT is one of claude-code, claude-desktop, codex, cursor, gemini, vscode.
    """
    chosen = CLIENTS[client]
    config = invocation.config_path()
    door = Door(mcp_url(invocation), bridge_command(config))
    path = chosen.path(Path.home(), config.parent)
    if not write:
        invocation.output.note(f"Put this into {path}, or let  lucid-launch connect {client} --write  do it:")
        invocation.output.data(snippet(chosen, door).rstrip("\n"))
    elif put_in_place(chosen, door, path):
        invocation.output.note(f"{path} now has the memory server; restart {client} to use it.")
    else:
        invocation.output.note(f"{path} has it already.")
    invocation.output.note(
        "The server answers where the package  mcp  is installed; with  mcp: true  in its options "
        "(config.yaml) it says at the start how to get it."
    )
    return 0


def bridge_command(config: Path) -> tuple[str, ...]:
    """The command that a client starts: by absolute paths, since a desktop program has its own PATH."""
    program = shutil.which("lucid-launch")
    start = (program,) if program else (sys.executable, "-m", "launcher")
    return (*start, "-f", str(config), "mcp")


def put_in_place(client: McpClient, door: Door, path: Path) -> bool:
    """Add the server to the client's file, whole or not at all; False when it is there already.

    Raises ActionFailed when the file cannot be read, understood or written; it is left as it was.
    """
    try:
        existing = path.read_text("utf-8") if path.exists() else ""
        wanted = merged(client, door, existing)
        if wanted == existing:
            return False
        target = path.resolve()  # a link, as dotfile managers make them, stays one
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, wanted)
    except ValueError as error:
        raise ActionFailed(
            f"{path} cannot be changed safely: {error}", hint="put the printed text in by hand"
        ) from error
    except OSError as error:
        raise ActionFailed(f"{path} cannot be written: {error.strerror}") from error
    return True


def _replace(path: Path, text: str) -> None:
    fd, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        if path.exists():
            shutil.copymode(path, draft)
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise
