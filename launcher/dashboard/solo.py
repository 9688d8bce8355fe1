"""One service alone: who it is, its figures over the last two minutes, how its last processes ended, lines
to copy.

Pure: a snapshot, the history and the exits in, text out. Fewer rows leave out whole sections, never half of
one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from launcher.dashboard.history import History, child_figures
from launcher.logs.history import ExitMark
from launcher.logs.records import local_time
from launcher.terminal import cells
from launcher.terminal.rows import own_address
from launcher.terminal.sanitize import clean

__all__ = ["Solo", "example_lines", "solo_lines"]

MOST_EXITS = 5
TWO_COLUMNS = 100
_FIGURES = (
    ("req/s", "per_second", cells.number),
    ("p50 ms", "p50", cells.milliseconds),
    ("p99 ms", "p99", cells.milliseconds),
    ("queue", "queue", cells.number),
    ("cpu %", "cpu", cells.number),
    ("rss", "rss", cells.size),
    ("vram", "vram", cells.size),
)

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Solo:
    """What is known of the child that is looked at; `gpus` are the names of GPUs by their identifier."""

    service_name: str
    service: Document
    child: Document
    history: History
    exits: Sequence[ExitMark]
    gpus: Mapping[str, str] = field(default_factory=dict)
    ascii_only: bool = False


def solo_lines(solo: Solo, width: int, height: int) -> list[Text]:
    """At most `height` lines of `width` cells, the most important sections first."""
    sections = [[_headline(solo)], _figures(solo, width), _exits(solo), _examples(solo)]
    lines: list[Text] = []
    for section in sections:
        if section and len(lines) + len(section) <= max(height, 1):
            lines += section
    return lines


def example_lines(service_name: str, service: Document) -> list[str]:
    """Commands that can be copied and run, for this kind of service."""
    name, port = clean(service_name), service.get("port")
    logs = f"lucid-launch logs {name} -f"
    if service.get("server") == "memory":
        return [f'lucid-launch call {name} retrieve query="where can I print?" count=3', logs]
    if service.get("server") == "inference":
        url = f"http://localhost:{port}/v1/embeddings"
        body = '{"input": "hello", "model": "all-MiniLM-L6-v2"}'
        curl = f"curl -s {url} -H 'Content-Type: application/json' -d '{body}'"
        return [f'lucid-launch call {name} embeddings text="hello"', curl, logs]
    return [*([f"curl -i http://localhost:{port}/"] if port is not None else []), logs]


def _headline(solo: Solo) -> Text:
    """Name, state, process, address, device."""
    child = solo.child
    state = str(child.get("state", "unknown"))
    glyph = cells.glyph(state, ascii_only=solo.ascii_only)
    line = Text(f" {clean(str(child['name']))}  ", style="bold", no_wrap=True, overflow="ellipsis")
    line.append(f"{glyph} {clean(cells.state_words(child))}", style=f"not bold {cells.COLORS.get(state, '')}")
    stats = (child.get("health") or {}).get("stats") or {}
    gpu = child.get("gpu") or {}
    facts = [
        ("pid", child.get("pid")),
        ("generation", child.get("generation")),
        ("up", None if child.get("uptime_s") is None else cells.duration(child["uptime_s"])),
        ("restarts", child.get("restarts")),
        ("", child.get("url") or solo.service.get("url")),
        ("alone at", own_address(child)),
        ("on", stats.get("device") or gpu.get("device")),
        ("", ", ".join(solo.gpus.get(str(each), str(each)) for each in gpu.get("ids") or []) or None),
        ("model", stats.get("model")),
    ]
    for word, fact in facts:
        if fact is not None:
            line.append(f"  {word}{' ' if word else ''}{clean(str(fact))}", style="not bold default")
    return line


def _figures(solo: Solo, width: int) -> list[Text]:
    """Each figure with its last two minutes, side by side where there is room."""
    now = child_figures(solo.child)
    columns = 2 if width >= TWO_COLUMNS else 1
    room = max(8, width // columns - 18)
    parts = []
    for label, figure, write in _FIGURES:
        samples = solo.history.of(str(solo.child["name"]), figure)
        part = Text(f" {label:<7}", style="dim").append(f"{write(now[figure]):>7} ", style="bold not dim")
        spark = cells.sparkline(samples, room, ascii_only=solo.ascii_only)
        parts.append(part.append(f"{spark:<{room}} ", style="cyan not dim"))
    rows = -(-len(parts) // columns)
    return [Text(" ", no_wrap=True, overflow="crop").join(parts[row::rows]) for row in range(rows)]


def _exits(solo: Solo) -> list[Text]:
    """How the last processes ended, newest first."""
    if not solo.exits:
        return []
    lines = [_title("last exits", solo.ascii_only)]
    for mark in solo.exits[:MOST_EXITS]:
        at = local_time(mark.at, "%m-%d %H:%M:%S")
        line = Text(f" {at}  ", style="dim", no_wrap=True, overflow="ellipsis")
        line.append(f"generation {mark.generation}  {clean(mark.how)}", style="not dim")
        line.append(f"   diagnosis {clean(mark.diagnosis)}" if mark.diagnosis else "", style="yellow not dim")
        lines.append(line)
    return lines


def _examples(solo: Solo) -> list[Text]:
    """Lines to copy, each with its key."""
    lines = [_title("try", solo.ascii_only)]
    for number, example in enumerate(example_lines(solo.service_name, solo.service), 1):
        line = Text(" ", no_wrap=True, overflow="ellipsis")
        lines.append(line.append(str(number), style="bold reverse").append(f" {example}"))
    return lines


def _title(word: str, ascii_only: bool) -> Text:
    rule = "-" if ascii_only else "─"
    return Text(f"{rule} {word} ", style="dim", no_wrap=True, overflow="crop")
