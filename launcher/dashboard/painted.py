"""A part of the screen that is one function from a size to text."""

from collections.abc import Callable

from rich.text import Text
from textual.widget import Widget


class Painted(Widget):
    """Draws what `paint(width, height)` returns; `refresh()` asks it again."""

    def __init__(self, paint: Callable[[int, int], Text], identity: str) -> None:
        super().__init__(id=identity)
        self._paint = paint

    def render(self) -> Text:
        """The text for the current size."""
        return self._paint(self.size.width, self.size.height)
