"""The dashboard's two dialogues: what to do on leaving, and the keys."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

STOP_ALL = "stop-all"
DETACH = "detach"

HELP = """\
 up/down, j/k   select a service          /        filter the log (regex; minds case if you do)
 r              restart it                e        only lines that tell of errors
 s              stop or start it          enter    only the selected service's log
 R              restart all               f, end   follow the newest line
                                          pgup/pgdn, mouse   scroll (pauses)
 q, d           leave it running          left/right         scroll sideways
 ctrl-c         asks: stop all, or leave  esc      close, or clear the filter
"""


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
        """The list of keys."""
        with Vertical(classes="dialogue wide"):
            yield Static(Text(HELP.rstrip("\n")))
