"""The steps of `up` on a terminal: one line per child that is redrawn in place, then the addresses.

Writes lines and two cursor movements; knows nothing of where the snapshots come from.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

import click

from launcher.terminal import cells
from launcher.terminal.phase_times import PhaseTimes
from launcher.terminal.reasons import headline
from launcher.terminal.sanitize import clean
from launcher.terminal.status_table import text_width

BAR_WIDTH = 17
DONE_MARK = "✓"


class StepList:
    """A progress display for a terminal: the children's lines are redrawn with every snapshot."""

    def __init__(
        self, stream: TextIO, width: Callable[[], int], *, color: bool, ascii_only: bool = False
    ) -> None:
        self._stream = stream
        self._width = width
        self._color = color
        self._ascii_only = ascii_only
        self._drawn = 0
        self._times: dict[str, PhaseTimes] = {}

    def snapshot(self, document: Mapping[str, Any]) -> None:
        """Redraw the children's lines."""
        lines = [
            self._line(child)
            for service in document["services"].values()
            if service.get("desired") == "up"
            for child in service.get("children") or []
        ]
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        width = self._width()
        body = "".join(f"\x1b[2K{self._styled(_fit(line, width))}\n" for line in lines)
        self._stream.write(f"{up}\r{body}\x1b[J")
        self._stream.flush()
        self._drawn = len(lines)

    def _line(self, child: Mapping[str, Any]) -> str:
        """One child's line; a ready one tells how long each phase of its start took."""
        times = self._times.setdefault(child["name"], PhaseTimes())
        times.take(child)
        # Beside the mark, the name, and the last column, which must stay free.
        room = self._width() - 5 - max(12, len(clean(str(child["name"])))) - 1
        told = times.text(room) if child["state"] == "ready" else ""
        dot = told.replace("·", "-") if self._ascii_only else told
        return step_line(child, ascii_only=self._ascii_only, ready_text=dot)

    def event(self, event: Mapping[str, Any]) -> None:
        """The next snapshot shows it."""

    def close(self) -> None:
        """Leave the lines where they are."""
        self._drawn = 0

    def _styled(self, text: str) -> str:
        """The line without its styles where colour is off."""
        return text if self._color else click.unstyle(text)


def step_line(child: Mapping[str, Any], *, ascii_only: bool = False, ready_text: str = "") -> str:
    """`  ◐ inference  load-model  ████░░  62%  3s`, styled; `ready_text` tells of a start that was
    watched.
    """
    state = str(child["state"])
    name = clean(str(child["name"]))
    mark = DONE_MARK if state == "ready" and not ascii_only else cells.glyph(state, ascii_only=ascii_only)
    mark = click.style(mark, fg=cells.COLORS.get(state))
    return f"  {mark} {name.ljust(12)} {ready_text or _what(child, state, ascii_only)}".rstrip()


def _what(child: Mapping[str, Any], state: str, ascii_only: bool) -> str:
    """What the child is doing, and for how long."""
    since = "" if child.get("uptime_s") is None else cells.duration(child["uptime_s"])
    if state == "ready":
        return "ready" + (f", up {since}" if since else "")
    if state != "starting":
        return clean(headline(child))
    phase = clean(str(child.get("phase") or "starting")).ljust(12)
    detail = clean(str(child.get("detail") or ""))
    if detail.startswith(str(child.get("phase"))):
        detail = detail.partition(": ")[2]  # a server's STATUS often begins with what phase and bar say
    progress = child.get("progress")
    if progress is None:
        return f"{phase} {since}  {detail}".rstrip()
    bar = cells.bar(progress, BAR_WIDTH, ascii_only=ascii_only)
    return f"{phase} {bar} {cells.percent(progress).strip():>4}  {since}  {detail}"


def _fit(line: str, width: int) -> str:
    """The line, cut to the terminal so that it never wraps (a wrapped line would break the redrawing)."""
    plain = click.unstyle(line)
    return line if text_width(plain) < width else plain[: max(width - 2, 1)] + "…"


def address_lines(
    document: Mapping[str, Any], *, is_ready: bool = True, width: int | None = None
) -> list[str]:
    """Where the services are, and what to try next: nothing that needs them ready before they are.

    What does not fit side by side in `width` cells stands one below the other.
    """
    services = document["services"]
    places = [
        f"{clean(name)} {clean(str(service['url']))}"
        for name, service in services.items()
        if service.get("url")
    ]
    lines = _beside("  ", places, "   ", width)
    consoles = [s for s in services.values() if s.get("server") == "memory" and s.get("port")]
    if consoles:
        lines.append(f"  console http://localhost:{consoles[0]['port']}/")
    if not is_ready:
        return [
            *lines,
            *_beside("  next    ", ["lucid-launch wait", "lucid-launch dashboard"], "   or   ", width),
        ]
    inference = next(
        (name for name, s in services.items() if s.get("server") == "inference" and s.get("url")), None
    )
    if inference is not None:
        example = f'lucid-launch call {clean(inference)} embeddings text="hello"'
        lines += _beside("  try     ", ["lucid-launch selftest", example], "   or   ", width)
    return lines


def _beside(head: str, parts: Sequence[str], between: str, width: int | None) -> list[str]:
    """One line if it fits, else a line for each part."""
    line = head + between.join(parts)
    if not parts or width is None or text_width(line) <= width:
        return [line] if parts else []
    return [f"{head if place == 0 else ' ' * len(head)}{part}" for place, part in enumerate(parts)]
