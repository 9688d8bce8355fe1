"""The log pane: a view on a LogRing that draws only the rows on the screen.

Knows scrolling, following, pausing and selecting. Which lines there are is the ring's matter, how one looks
that
of `log_lines`.
"""

from datetime import UTC, datetime

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from launcher.dashboard.log_layout import LogLayout
from launcher.dashboard.log_lines import LineStyle
from launcher.dashboard.log_ring import LogRing
from launcher.logs.records import LogLine

# Sideways scrolling stops here; what is longer is for wrapping, or for `logs`.
WIDEST_LINE = 2_000


class LogPane(ScrollView, can_focus=True, inherit_bindings=False):
    """Follows the end of the ring until it is scrolled up; then it stands still and counts what is new."""

    class Changed(Message):
        """The title of the pane has something new to say."""

    def __init__(self, ring: LogRing, style: LineStyle) -> None:
        super().__init__(classes="log")
        self._ring = ring
        self._look = style
        self._laid = LogLayout(ring, style)
        self.is_following = True
        self.new_count = 0

    def add(self, lines: list[LogLine]) -> None:
        """Take new lines in; while paused the lines on the screen stay where they are."""
        if not lines:
            return
        widest = max(len(line.child) for line in lines)
        self._look.name_width = max(self._look.name_width, widest)
        added, dropped = self._ring.add(lines)
        gone = self._laid.extend(added, dropped)
        if not self.is_following:
            self.new_count += added
            if gone:
                self.scroll_to(y=max(0, self.scroll_offset.y - gone), animate=False)
        self.redraw()

    def follow(self) -> None:
        """Draw the end of what the ring shows, and stay there."""
        self.is_following = True
        self.new_count = 0
        self.redraw()

    def restyle(self) -> None:
        """Draw anew after a change of the look; while paused the line at the top stays there."""
        at_line = None if self.is_following else self._laid.line_at(self.scroll_offset.y)
        self.redraw()
        if at_line is not None:
            self.scroll_to(y=self._laid.start(at_line), animate=False)

    def redraw(self) -> None:
        """Draw what the ring shows now, the end of it while following."""
        if self._look.time_form == "age":
            self._look.now = datetime.now(UTC)
        self._laid.lay_out(self.size.width)
        width = self.size.width if self._look.is_wrapped else WIDEST_LINE
        self.virtual_size = Size(width, len(self._laid))
        if self.is_following:
            self.scroll_to(y=self.max_scroll_y, animate=False)
        self.refresh()
        self.post_message(self.Changed())

    def scroll_lines(self, count: int) -> None:
        """Move by `count` rows; upwards pauses, reaching the end follows again."""
        target = max(0, min(self.scroll_offset.y + count, self.max_scroll_y))
        if count < 0:
            self.is_following = False
        self.scroll_to(y=target, animate=False)
        if count > 0 and target >= self.max_scroll_y:
            self.follow()
        self.refresh()
        self.post_message(self.Changed())

    def scroll_side(self, steps: int) -> None:
        """Move sideways by half a screen."""
        step = max(10, self.size.width // 2)
        self.scroll_to(x=max(0, self.scroll_offset.x + steps * step), animate=False)

    def on_mouse_scroll_up(self) -> None:
        """The wheel pauses like the keys."""
        self.scroll_lines(-3)

    def on_mouse_scroll_down(self) -> None:
        """The wheel goes back to following like the keys."""
        self.scroll_lines(3)

    def on_resize(self) -> None:
        """Keep the end in view when the size changes."""
        self.redraw()

    def texts_on_screen(self) -> list[str]:
        """The rows that are on the screen now, as plain text."""
        first = self.scroll_offset.y
        rows = range(first, min(first + self.size.height, len(self._laid)))
        return [self._laid.text(row).plain.rstrip() for row in rows]

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """What the mouse has marked, for the screen library."""
        rows = (self._laid.text(row).plain.rstrip() for row in range(len(self._laid)))
        return selection.extract("\n".join(rows)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Draw the mark of the mouse."""
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The row at `y` of the screen."""
        scroll_x, scroll_y = self.scroll_offset
        width, row = self.size.width, scroll_y + y
        self._laid.lay_out(width)  # lines may have come before the pane was told its first size
        if row >= len(self._laid):
            return Strip.blank(width, self.rich_style)
        text = self._laid.text(row)
        marked = None if self.text_selection is None else self.text_selection.get_span(row)
        if marked is not None:
            start, end = marked
            text.stylize("reverse", start, len(text) if end == -1 else end)
        segments = [
            Segment(segment.text, self.rich_style + (segment.style or Style.null()))
            for segment in text.render(self.app.console)
        ]
        strip = Strip(segments).crop_extend(scroll_x, scroll_x + width, self.rich_style)
        return strip.apply_offsets(scroll_x, row)
