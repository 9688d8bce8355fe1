"""The dashboard's first line: how many are ready, since when, where the console is, what the GPUs do.

Pure; `link` says how it stands with the supervisor.
"""

from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from launcher.terminal import cells
from launcher.terminal.sanitize import clean

SHOWN_GPUS = 2


def top_line(document: Mapping[str, Any] | None, link: str | None, width: int) -> Text:
    """The parts that fit into `width` cells, the most important first.

    `link` is None while connected, else a sentence; without a document there is nothing but that sentence.
    """
    parts = [Text(f"✖ {link}", style="bold red")] if link is not None else []
    if document is not None:
        parts = parts + _summary(document, width) + _places(document)
    line = Text(" ", no_wrap=True, overflow="crop")
    for position, part in enumerate(parts):
        if position and cell_len(line.plain) + 3 + cell_len(part.plain) > width:
            break
        line.append("   " if position else "")
        line.append_text(part)
    return line


def _summary(document: Mapping[str, Any], width: int) -> list[Text]:
    """`lucid  ● 1/2 ready` and the uptime; `● 2/2` where there is no room."""
    wanted = [service for service in document["services"].values() if service.get("desired") == "up"]
    ready = sum(service.get("state") == "ready" for service in wanted)
    worst = min((str(service.get("state")) for service in wanted), key=cells.severity, default="stopped")
    word = "" if width < 60 else " ready"
    name = Text("" if width < 60 else f"{clean(str(document.get('project')))}  ", style="bold")
    name.append(f"{cells.glyph(worst)} {ready}/{len(wanted)}{word}", style=cells.COLORS.get(worst, ""))
    uptime = cells.duration((document.get("supervisor") or {}).get("uptime_s"))
    return [name, Text(f"up {uptime}")]


def _places(document: Mapping[str, Any]) -> list[Text]:
    """The console and the GPUs."""
    services = document["services"].values()
    consoles = [s for s in services if s.get("server") == "memory" and s.get("port") is not None]
    parts = [Text(f"console localhost:{service['port']}") for service in consoles[:1]]
    return parts + [_gpu(gpu) for gpu in (document.get("gpus") or [])[:SHOWN_GPUS]]


def _gpu(gpu: Mapping[str, Any]) -> Text:
    """`GPU0 H200 31% 18.2G/139.0G`; what is unknown is left out."""
    words = [f"GPU{gpu.get('index', '?')}", clean(str(gpu.get("name") or ""))]
    if gpu.get("utilization") is not None:
        words.append(f"{gpu['utilization']:.0f}%")
    used, total = gpu.get("used_bytes"), gpu.get("total_bytes")
    if used is None and total is not None and gpu.get("free_bytes") is not None:
        used = total - gpu["free_bytes"]
    if total is not None:
        words.append(f"{cells.size(used)}/{cells.size(total)}")
    return Text(" ".join(word for word in words if word))
