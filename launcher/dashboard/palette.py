"""The command palette: type a few letters of what you want, press enter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from launcher.dashboard.keys import LOG_KEYS, STACK_KEYS
from launcher.terminal.rows import Row
from launcher.terminal.sanitize import clean

__all__ = ["Entry", "Palette", "entries", "matching"]


@dataclass(frozen=True)
class Entry:
    """One command: what it is called, its key if it has one, and the action of the dashboard that does it."""

    title: str
    shown: str
    action: str


def entries(rows: Sequence[Row]) -> list[Entry]:
    """Every command: those with keys, then those for each service by name."""
    found = [Entry(key.text, key.shown, key.action) for key in STACK_KEYS if key.is_command]
    found += [Entry(f"log: {key.text}", key.shown, key.action) for key in LOG_KEYS if key.is_command]
    for service in dict.fromkeys(row.service for row in rows):
        # The name goes into an action as a literal; a service's name has neither quotes nor backslashes.
        found += [
            Entry(f"{verb} {clean(service)}", "", f"do('order', ({verb!r}, {service!r}))")
            for verb in ("restart", "stop", "start")
        ]
    found += [Entry(f"look at {clean(row.child)} alone", "", f"do('look_at', {row.child!r})") for row in rows]
    return found


def matching(candidates: Sequence[Entry], typed: str) -> list[Entry]:
    """The commands that hold every word that was typed, those that begin with it first."""
    words = typed.lower().split()
    hits = [each for each in candidates if all(word in each.title.lower() for word in words)]
    return sorted(hits, key=lambda each: not each.title.lower().startswith(typed.lower().strip()))


class Palette(ModalScreen[str | None]):
    """Asks for a command; ends with its action, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+p", "dismiss(None)"),
        Binding("down", "move(1)", priority=True),
        Binding("up", "move(-1)", priority=True),
    ]

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__()
        self._entries = entries(rows)
        self._list = OptionList(id="palette-list")
        self._list.can_focus = False

    def compose(self) -> ComposeResult:
        """A line to type into, and what matches."""
        with Vertical(classes="dialogue wide"):
            yield Input(placeholder="a command, such as  restart memory", compact=True)
            yield self._list

    def on_mount(self) -> None:
        """Show everything until something is typed."""
        self._show("")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what matches."""
        self._show(event.value)

    def on_input_submitted(self) -> None:
        """Take the marked command."""
        option = self._list.highlighted_option
        self.dismiss(None if option is None else option.id)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take the command that was clicked."""
        self.dismiss(event.option.id)

    def action_move(self, step: int) -> None:
        """Mark another command."""
        if step > 0:
            self._list.action_cursor_down()
        else:
            self._list.action_cursor_up()

    def _show(self, typed: str) -> None:
        """List what matches, the first one marked."""
        self._list.clear_options()
        hits = matching(self._entries, typed)
        self._list.add_options([Option(_prompt(each), id=each.action) for each in hits])
        self._list.highlighted = 0 if hits else None


def _prompt(entry: Entry) -> Text:
    return Text(f"{entry.shown:<8} ", style="bold cyan").append(entry.title, style="not bold default")
