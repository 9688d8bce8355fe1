"""The dashboard's two dialogues: what to do on leaving, and the keys."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from launcher.dashboard.keys import help_text

STOP_ALL = "stop-all"
DETACH = "detach"


class LeaveScreen(ModalScreen[str | None]):
    """Asks what Ctrl-C meant; a second Ctrl-C means stop."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", f"dismiss('{STOP_ALL}')"),
        Binding("l,d,q", f"dismiss('{DETACH}')"),
        Binding("escape,c,n", "dismiss(None)"),
    ]

    def compose(self) -> ComposeResult:
        """The question and its three answers."""
        with Vertical(classes="dialogue"):
            yield Static(Text("What about the services?", style="bold"))
            yield Static(Text("s  stop everything\nl  leave it running\nc  cancel, stay here"))
            yield Static(Text("ctrl-c again stops everything", style="dim"))


class HelpScreen(ModalScreen[None]):
    """The keys; any of a few closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter,space", "dismiss(None)")]

    def compose(self) -> ComposeResult:
        """The list of keys, which can be scrolled."""
        with VerticalScroll(classes="dialogue wide"):
            yield Static(help_text())
