"""A log line as the text that a person or a program reads: text, JSON Lines, or raw."""

import zlib

import click

from launcher.logs.levels import ERROR, LEVEL_NAMES, WARNING, LevelTracker
from launcher.logs.records import LogLine, as_json, local_time
from launcher.terminal.plain_ascii import in_ascii
from launcher.terminal.sanitize import clean

NAME_COLORS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")
LEVEL_COLORS = {ERROR: "red", WARNING: "yellow"}
TIME_SHAPE = "%Y-%m-%d %H:%M:%S"


def child_color(child: str) -> str:
    """A colour that stays with this name in every run."""
    return NAME_COLORS[zlib.crc32(child.encode()) % len(NAME_COLORS)]


class LineFormat:
    """Turns lines into text in one of the forms `text`, `json`, `raw`.

    `color` adds click's styles; `is_terminal` makes raw text harmless as well (text always is, JSON is by
    nature).
    """

    def __init__(self, form: str, *, color: bool, is_terminal: bool, ascii_only: bool = False) -> None:
        self._form = form
        self._ascii_only = ascii_only
        self._color = color
        self._is_terminal = is_terminal
        self._name_width = 0
        self._levels = LevelTracker()

    def render(self, line: LogLine) -> str | None:
        """The text of one line; None when this form leaves it out (markers are not the child's words)."""
        line = self._levels.leveled(line)
        if self._form == "json":
            return as_json(line, LEVEL_NAMES[line.level])
        if self._form == "raw":
            if not line.is_own_word:
                return None
            return clean(line.text) if self._is_terminal else line.text
        text = self._text(line)
        return in_ascii(text) if self._ascii_only else text

    def _text(self, line: LogLine) -> str:
        """Local time, name, text; a marker stands out as a rule."""
        self._name_width = max(self._name_width, len(line.child))
        at = local_time(line.at, TIME_SHAPE)
        if at != "-":
            at += f".{line.at[20:23]}"
        if line.is_marker:
            text = f"── {line.child}: {clean(line.text)} ──"
            return f"{self._style(at, dim=True)} {self._style(text, bold=True)}"
        name = line.child.ljust(self._name_width)
        separator = "|+" if line.is_continued else "|"
        shown = self._style(name, fg=child_color(line.child))
        return f"{self._style(at, dim=True)} {shown} {separator} {self._said(line)}"

    def _said(self, line: LogLine) -> str:
        """The child's words, coloured when they tell of trouble."""
        color = LEVEL_COLORS.get(line.level)
        return clean(line.text) if color is None else self._style(clean(line.text), fg=color)

    def _style(self, text: str, **style: object) -> str:
        """`text` in a style, or as it is without colour."""
        return click.style(text, **style) if self._color else text  # type: ignore[arg-type] # click's own keywords
