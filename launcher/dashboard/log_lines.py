"""How one log line is drawn: its time in one of four forms, its name, its words on one row or several.

Pure. Lines become text objects, never markup, and everything that a child wrote is made harmless first.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len, chop_cells
from rich.text import Text

from launcher.logs.levels import DEBUG, ERROR, WARNING
from launcher.logs.records import LogLine, local_time
from launcher.terminal import cells
from launcher.terminal.log_text import child_color
from launcher.terminal.sanitize import clean

__all__ = ["TIME_FORMS", "LineStyle"]

TIME_FORMS = ("clock", "date", "age", "none")
NARROW = 60
# A line of 64 KB, wrapped or pretty, must not bury all others.
MOST_ROWS = 100
LEVEL_STYLES = {ERROR: "red", WARNING: "yellow", DEBUG: "dim"}
MATCH_STYLE = "black on yellow"
_STAMP_CHARS = 27
_WIDTHS = {"clock": 12, "date": 23, "age": 6, "none": 0}


@dataclass
class LineStyle:
    """What the viewer chose for the look of lines; `name_width` is the longest name so far, `now` the moment
    (aware) that ages count from.
    """

    time_form: str = "clock"
    is_wrapped: bool = False
    is_pretty: bool = False
    ascii_only: bool = False
    name_width: int = 0
    now: datetime | None = None

    @property
    def is_tall(self) -> bool:
        """Whether a line may take more than one row."""
        return self.is_wrapped or self.is_pretty

    def next_time_form(self) -> str:
        """Turn to the next form of the time and name it."""
        self.time_form = TIME_FORMS[(TIME_FORMS.index(self.time_form) + 1) % len(TIME_FORMS)]
        return self.time_form

    def height(self, line: LogLine, width: int) -> int:
        """How many rows of `width` cells the line takes."""
        return len(self.rows(line, width)) if self.is_tall else 1

    def rows(self, line: LogLine, width: int) -> list[str]:
        """The words of the line, without time and name, cut into rows where that was asked for."""
        words = _pretty(line.text) if self.is_pretty and not line.is_marker else [clean(line.text)]
        if self.ascii_only:
            words = [row.encode("ascii", "backslashreplace").decode() for row in words]
        if not self.is_wrapped:
            return words[:MOST_ROWS]
        room = max(10, width - self._prefix_width(width))
        return [row for each in words for row in _chopped(each, room)][:MOST_ROWS]

    def text(self, line: LogLine, part: int, width: int, pattern: re.Pattern[str] | None = None) -> Text:
        """One row of the line as styled text; matches of `pattern` stand out."""
        rows = self.rows(line, width)
        words = Text(rows[min(part, len(rows) - 1)], no_wrap=True, end="")
        if pattern is not None:
            words.highlight_regex(pattern, MATCH_STYLE)
        prefix = self._prefix(line, width) if part == 0 else Text(" " * self._prefix_width(width), end="")
        if line.is_marker:
            return self._marker(line, prefix, words)
        words.stylize_before(LEVEL_STYLES.get(line.level, ""))
        return prefix.append_text(words)

    def _marker(self, line: LogLine, prefix: Text, words: Text) -> Text:
        """The supervisor's word between two processes, as a rule."""
        rule = "--" if self.ascii_only else "──"
        stamp = prefix[: max(0, len(prefix.plain) - self.name_width - 1)]
        stamp.append(f"{rule} {line.child}: ", style="bold")
        words.stylize_before("bold")
        return stamp.append_text(words).append(f" {rule}", style="bold")

    def _prefix(self, line: LogLine, width: int) -> Text:
        """Time and name."""
        stamp = self._stamp(line.at, width)
        text = Text(no_wrap=True, end="").append(f"{stamp} " if stamp else "", style="dim")
        return text.append(f"{line.child.ljust(self.name_width)} ", style=child_color(line.child))

    def _prefix_width(self, width: int) -> int:
        form = self._form(width)
        return self.name_width + 1 + (_WIDTHS[form] + 1 if form != "none" else 0)

    def _form(self, width: int) -> str:
        """The form of the time; a narrow screen has no room for it unless it was asked for."""
        return "none" if width < NARROW and self.time_form == "clock" else self.time_form

    def _stamp(self, at: str, width: int) -> str:
        """The time of a line in the chosen form, in as many cells as that form always has."""
        form = self._form(width)
        if form == "none":
            return ""
        if len(at) != _STAMP_CHARS:
            return "-".ljust(_WIDTHS[form])
        if form == "age":
            age_s = 0.0 if self.now is None else (self.now - datetime.fromisoformat(at)).total_seconds()
            return cells.duration(max(0.0, age_s)).rjust(_WIDTHS[form])
        shape = "%H:%M:%S" if form == "clock" else "%Y-%m-%d %H:%M:%S"
        return f"{local_time(at, shape)}.{at[20:23]}"


def _pretty(text: str) -> list[str]:
    """A JSON object as indented rows; anything else as the one row that it is."""
    start = text.find("{")
    if start >= 0 and text.rstrip().endswith("}"):
        try:
            value = json.loads(text[start:])
        except ValueError:
            return [clean(text)]
        head = [clean(text[:start].rstrip())] if text[:start].strip() else []
        return head + [clean(row) for row in json.dumps(value, ensure_ascii=False, indent=2).split("\n")]
    return [clean(text)]


def _chopped(text: str, room: int) -> list[str]:
    """The text in pieces of at most `room` cells, at least one."""
    if len(text) <= room and text.isascii():
        return [text]
    return chop_cells(text, room) if cell_len(text) > room else [text]
