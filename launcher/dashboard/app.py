"""The dashboard: keys, layout and timing.

What is shown is made by `view`, where it comes from is `feed`; the log has a view of its own.
"""

import time
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize

from launcher.dashboard.feed import ControlFeed
from launcher.dashboard.log_view import LogView
from launcher.dashboard.painted import Painted
from launcher.dashboard.screens import DETACH, STOP_ALL, HelpScreen, LeaveScreen
from launcher.dashboard.view import View, key_line
from launcher.errors import LauncherError
from launcher.terminal.rows import Row

__all__ = ["DETACH", "STOP_ALL", "Dashboard"]

SILENCE_S = 5.0
SMALLEST_WIDTH, SMALLEST_HEIGHT = 40, 10
REASON_HEIGHT = 12


class Dashboard(App[str]):
    """A client of the control socket and a reader of the log files; ends with DETACH or STOP_ALL."""

    CSS_PATH = "dashboard.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,d,ctrl+q", "leave_running"),
        Binding("ctrl+c", "ask_to_leave", priority=True),
        Binding("up,k", "select(-1)"),
        Binding("down,j", "select(1)"),
        Binding("r", "restart"),
        Binding("s", "stop_or_start"),
        Binding("R", "restart_all"),
        Binding("question_mark", "help"),
    ]

    def __init__(self, config_path: Path, retry_s: float = 0.5) -> None:
        super().__init__()
        self.view = View()
        self._feed = ControlFeed(config_path, self._on_snapshot, self._on_lost, retry_s)
        self._lower = LogView(config_path.parent / "logs", self._selected_child)
        self._top = Painted(self.view.top, "top")
        self._table = Painted(self.view.table, "table")
        self._reason = Painted(self.view.reason, "reason")
        self._keys = Painted(lambda width, height: key_line(width), "keys")
        self._heard_at = time.monotonic()

    def compose(self) -> ComposeResult:
        """Top line, table, reason, log, keys."""
        yield self._top
        yield self._table
        yield self._reason
        yield self._lower
        yield self._keys

    def on_mount(self) -> None:
        """Start to listen."""
        self.run_worker(self._feed.run(), name="control feed")
        self.set_interval(1.0, self._notice_silence)

    def on_resize(self, event: Resize) -> None:
        """Rearrange for the new size."""
        self._arrange(event.size.width, event.size.height)

    def _on_snapshot(self, document: dict[str, Any]) -> None:
        """A new picture of the stack."""
        self._heard_at = time.monotonic()
        self.view.take(document)
        self._arrange(*self.size)

    def _on_lost(self, sentence: str) -> None:
        """No more pictures for now."""
        self.view.link = sentence
        self._arrange(*self.size)

    def _notice_silence(self) -> None:
        """A supervisor that is connected but says nothing is as good as lost."""
        if self.view.link is None and time.monotonic() - self._heard_at > SILENCE_S:
            self._on_lost(f"no news from the supervisor for {SILENCE_S:.0f} s")

    def _arrange(self, width: int, height: int) -> None:
        """Give every part the height that it needs at this size, and redraw what changed."""
        is_tiny = width < SMALLEST_WIDTH or height < SMALLEST_HEIGHT
        needed = max(1, len(self.view.rows())) + 1
        self._table.styles.height = min(needed, max(2, height - 3 if is_tiny else height // 2))
        self._reason.display = self.view.has_reason() and height >= REASON_HEIGHT
        self._lower.show_pane(not is_tiny)
        for part in (self._top, self._table, self._reason, self._keys):
            part.refresh()

    def _selected_child(self) -> str | None:
        """The child whose row is marked."""
        row = self.view.selected_row()
        return None if row is None else row.child

    def action_select(self, step: int) -> None:
        """Mark another row."""
        self.view.move(step)
        self._arrange(*self.size)

    def action_restart(self) -> None:
        """Restart the marked service; a stopped one is started."""
        self._send("restart", self._marked())

    def action_stop_or_start(self) -> None:
        """Stop the marked service, or start it when it is at rest."""
        rows = self._marked()
        at_rest = all(row.state in ("stopped", "failed") for row in rows)
        self._send("start" if at_rest else "stop", rows)

    def action_restart_all(self) -> None:
        """Restart every service that is wanted."""
        self._send("restart", [row for row in self.view.rows() if row.desired == "up"])

    def _marked(self) -> list[Row]:
        """The marked row as a list, empty before the first snapshot."""
        row = self.view.selected_row()
        return [] if row is None else [row]

    def _send(self, kind: str, rows: list[Row]) -> None:
        """Send a command for the services of these rows, once each."""
        services = list(dict.fromkeys(row.service for row in rows))
        if services:
            self.run_worker(self._command(kind, services), name=kind)

    async def _command(self, kind: str, services: list[str]) -> None:
        """Send one command and say what came of it."""
        try:
            await self._feed.command(kind, services)
        except LauncherError as error:
            self.notify(str(error), severity="error", markup=False)
        else:
            self.notify(f"{kind}: {', '.join(services)}", timeout=3, markup=False)

    def action_leave_running(self) -> None:
        """Leave the dashboard; the stack goes on."""
        self.exit(DETACH)

    def action_ask_to_leave(self) -> None:
        """Ask what Ctrl-C meant; asked already, it means stop."""
        if isinstance(self.screen, LeaveScreen):
            self.screen.dismiss(STOP_ALL)
            return
        self.push_screen(LeaveScreen(), self._leave)

    def _leave(self, choice: str | None) -> None:
        """Do what was chosen in the dialogue."""
        if choice is not None:
            self.exit(choice)

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(HelpScreen())
