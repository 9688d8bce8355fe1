"""A part of the screen that is one function from a size to text."""

from collections.abc import Callable, Iterable

from rich.text import Text
from textual.widget import Widget


def stacked(lines: Iterable[Text], width: int) -> Text:
    """The lines below each other, each cut to `width` cells: a line that wraps would push others out."""
    cut = [line.copy() for line in lines]
    for line in cut:
        line.truncate(max(width, 1), overflow="ellipsis")
    return Text("\n", no_wrap=True, overflow="crop").join(cut)


class Painted(Widget):
    """Draws what `paint(width, height)` returns; `refresh()` asks it again."""

    def __init__(self, paint: Callable[[int, int], Text], name: str) -> None:
        super().__init__(classes=name)
        self._paint = paint

    def render(self) -> Text:
        """The text for the current size."""
        text = self._paint(self.size.width, self.size.height)
        if self.app.has_class("ascii"):
            # Whatever cut a line marked the cut with an ellipsis.
            text.plain = text.plain.replace("…", "~")
        return text
