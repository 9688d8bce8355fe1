"""The dashboard's first line: how many are ready, since when, where the console is, what the GPUs do.

Pure; `link` says how it stands with the supervisor.
"""

from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from launcher.dashboard.gpu_lines import gpu_summary
from launcher.terminal import cells
from launcher.terminal.sanitize import clean

__all__ = ["CONNECTING", "console_address", "top_line"]

# The link before the first answer: nothing is wrong yet.
CONNECTING = "connecting"
SHOWN_GPUS = 2
NARROW = 60


def top_line(
    document: Mapping[str, Any] | None,
    link: str | None,
    width: int,
    *,
    with_gpus: bool = True,
    ascii_only: bool = False,
) -> Text:
    """The parts that fit into `width` cells, the most important first.

    `link` is None while connected, else a sentence; without a document there is nothing but that sentence.
    """
    parts = [] if link is None else [_link(link, ascii_only)]
    if document is not None:
        parts = parts + _summary(document, width, ascii_only) + _places(document)
        parts += [gpu_summary(gpu) for gpu in (document.get("gpus") or [])[:SHOWN_GPUS] if with_gpus]
    line = Text(" ", no_wrap=True, overflow="crop")
    for position, part in enumerate(parts):
        if position and cell_len(line.plain) + 3 + cell_len(part.plain) > width:
            break
        line.append("   " if position else "")
        line.append_text(part)
    return line


def console_address(document: Mapping[str, Any] | None) -> str | None:
    """Where the console page is: at the memory server, else at any built-in server; None without one."""
    services = [] if document is None else list(document["services"].values())
    built_in = [service for service in services if service.get("server") and service.get("port") is not None]
    first = next((each for each in built_in if each["server"] == "memory"), next(iter(built_in), None))
    return None if first is None else f"http://localhost:{first['port']}/"


def _link(sentence: str, ascii_only: bool) -> Text:
    """How it stands with the supervisor, in red when it was lost."""
    is_new = sentence == CONNECTING
    mark = cells.glyph("waiting" if is_new else "failed", ascii_only=ascii_only)
    return Text(f"{mark} {sentence}", style="" if is_new else "bold red")


def _summary(document: Mapping[str, Any], width: int, ascii_only: bool) -> list[Text]:
    """`lucid  ● 1/2 ready` and the uptime; `● 2/2` where there is no room."""
    wanted = [service for service in document["services"].values() if service.get("desired") == "up"]
    ready = sum(service.get("state") == "ready" for service in wanted)
    worst = min((str(service.get("state")) for service in wanted), key=cells.severity, default="stopped")
    word = "" if width < NARROW else " ready"
    project = clean(str(document.get("project")))
    name = Text("" if width < NARROW else f"{project}  ", style=f"bold {cells.COLORS.get(worst, '')}")
    glyph = cells.glyph(worst, ascii_only=ascii_only)
    name.append(f"{glyph} {ready}/{len(wanted)}{word}", style=cells.COLORS.get(worst, ""))
    uptime = cells.duration((document.get("supervisor") or {}).get("uptime_s"))
    return [name, Text(f"up {uptime}")]


def _places(document: Mapping[str, Any]) -> list[Text]:
    """The console."""
    address = console_address(document)
    return [] if address is None else [Text(f"console {address.removeprefix('http://').rstrip('/')} (o)")]
