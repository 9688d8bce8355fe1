"""The log pane: a view on a LogRing that draws only the lines on the screen.

Knows scrolling, following and pausing. Lines are drawn as text objects, never as markup.
"""

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from launcher.dashboard.log_ring import LogRing
from launcher.logs.records import LogLine, local_time
from launcher.terminal.log_text import child_color
from launcher.terminal.sanitize import clean

# Sideways scrolling stops here; what is longer is for `logs`.
WIDEST_LINE = 2_000
SIDE_STEP = 20


class LogPane(ScrollView, can_focus=True, inherit_bindings=False):
    """Follows the end of the ring until it is scrolled up; then it stands still and counts what is new."""

    class Changed(Message):
        """The title of the pane has something new to say."""

    def __init__(self, ring: LogRing) -> None:
        super().__init__(id="log")
        self._ring = ring
        self._name_width = 0
        self.is_following = True
        self.new_count = 0

    def add(self, lines: list[LogLine]) -> None:
        """Take new lines in; while paused the lines on the screen stay where they are."""
        if not lines:
            return
        self._name_width = max([self._name_width, *(len(line.child) for line in lines)])
        added, dropped = self._ring.add(lines)
        if not self.is_following:
            self.new_count += added
            if dropped:
                self.scroll_to(y=max(0, self.scroll_offset.y - dropped), animate=False)
        self._resize()
        self.post_message(self.Changed())

    def follow(self) -> None:
        """Draw the end of what the ring shows, and stay there."""
        self.is_following = True
        self.new_count = 0
        self._resize()
        self.post_message(self.Changed())

    def scroll_lines(self, count: int) -> None:
        """Move by `count` lines; upwards pauses, reaching the end follows again."""
        target = max(0, min(self.scroll_offset.y + count, self.max_scroll_y))
        if count < 0:
            self.is_following = False
        self.scroll_to(y=target, animate=False)
        if count > 0 and target >= self.max_scroll_y:
            self.follow()
        self.refresh()
        self.post_message(self.Changed())

    def scroll_side(self, steps: int) -> None:
        """Move sideways by half of a small screen."""
        self.scroll_to(x=max(0, self.scroll_offset.x + steps * SIDE_STEP), animate=False)

    def on_mouse_scroll_up(self) -> None:
        """The wheel pauses like the keys."""
        self.scroll_lines(-3)

    def on_mouse_scroll_down(self) -> None:
        """The wheel goes back to following like the keys."""
        self.scroll_lines(3)

    def on_resize(self) -> None:
        """Keep the end in view when the size changes."""
        self._resize()

    def _resize(self) -> None:
        """Tell the scroll bars how much there is."""
        self.virtual_size = Size(WIDEST_LINE, len(self._ring.shown))
        if self.is_following:
            self.scroll_to(y=self.max_scroll_y, animate=False)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The line at row `y` of the screen."""
        scroll_x, scroll_y = self.scroll_offset
        width = self.size.width
        number = scroll_y + y
        if number >= len(self._ring.shown):
            return Strip.blank(width, self.rich_style)
        text = line_text(self._ring.shown[number], self._name_width, narrow=width < 60)
        segments = [
            Segment(segment.text, self.rich_style + (segment.style or Style.null()))
            for segment in text.render(self.app.console)
        ]
        return Strip(segments).crop_extend(scroll_x, scroll_x + width, self.rich_style)


def line_text(line: LogLine, name_width: int, *, narrow: bool) -> Text:
    """`14:02:20.655 inference  text`; a marker as a rule; without the time where there is no room."""
    at = local_time(line.at, "%H:%M:%S")
    stamp = "" if narrow else f"{at}.{line.at[20:23]} " if at != "-" else f"{at:<12} "
    text = Text(stamp, style="dim", no_wrap=True, end="")
    if line.is_marker:
        return text.append(f"── {line.child}: {clean(line.text)} ──", style="bold not dim")
    text.append(f"{line.child.ljust(name_width)} ", style=f"{child_color(line.child)} not dim")
    return text.append(clean(line.text), style="not dim")
