"""The dashboard: the parts of the screen, their heights, and who is told what.

What is shown is made by `view`, where it comes from is `feed` and `log_files`; what the keys do is `actions`.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.events import Resize
from textual.geometry import Size
from textual.reactive import Reactive
from textual.worker import Worker, WorkerCancelled

from launcher.dashboard.actions import ACTIONS, ORDERS
from launcher.dashboard.feed import ControlFeed
from launcher.dashboard.keys import STACK_KEYS, bindings, key_line
from launcher.dashboard.log_files import LOG_INTERVAL_S
from launcher.dashboard.log_supply import LogSupply
from launcher.dashboard.painted import Painted
from launcher.dashboard.screens import DETACH, STOP_ALL
from launcher.dashboard.signals import EXIT_BY_SIGNAL, TerminalSignals
from launcher.dashboard.solo_panel import SoloPanel
from launcher.dashboard.table import Table
from launcher.dashboard.theme import COLORS
from launcher.dashboard.timeline import Timeline
from launcher.dashboard.view import View

__all__ = ["DETACH", "STOP_ALL", "Dashboard"]

SILENCE_S = 5.0
SMALLEST_WIDTH, SMALLEST_HEIGHT = 40, 10
# Below these there is no room for a reason, or for lines about GPUs.
REASON_HEIGHT = 12
GPU_WIDTH, GPU_HEIGHT = 60, 20
# Rows of the log that the solo view leaves, and the table.
LEAST_LOG_HEIGHT = 6
EVENTS_KEPT = 1000
# A supervisor takes an order at once; one that does not must not keep anybody here.
LAST_ORDERS_S = 2.0
_OUR_SCREEN = "\x1b[?1049h\x1b[?25l\x1b[?1004h\x1b[?2004h"
"""The second screen, no cursor, news of the focus and marks around what is pasted: a shell undoes them."""


class Dashboard(App[str]):
    """A client of the control socket and a reader of the log files; ends with DETACH or STOP_ALL."""

    CSS_PATH = Path(__file__).with_name("dashboard.tcss")
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = bindings(STACK_KEYS)
    ansi_theme_dark = Reactive(COLORS, init=False)

    def __init__(
        self,
        config_path: Path,
        retry_s: float = 0.5,
        log_interval_s: float = LOG_INTERVAL_S,
        *,
        ascii_only: bool = False,
    ) -> None:
        # With NO_COLOR the terminal's own two colours; the screen library's answer would be a picture in
        # greys.
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        self.config_path = config_path
        self.view = View(ascii_only=ascii_only, has_color=not self.no_color)
        self.events: deque[dict[str, Any]] = deque(maxlen=EVENTS_KEPT)
        self.feed = ControlFeed(config_path, self, retry_s)
        logs = config_path.parent / "logs"
        self._supply = LogSupply(logs, ascii_only=ascii_only, interval_s=log_interval_s)
        self.log_view = self._supply.view
        self._top = Painted(self.view.top, "top")
        self._gpus = Painted(self.view.gpus, "gpus")
        self._table = Table(self.view, self.arrange)
        self.solo_panel = SoloPanel(self.view, logs, self.arrange)
        self._trouble = Painted(self.view.trouble, "trouble")
        self._keys = Painted(lambda width, height: key_line(width, ascii_only=ascii_only), "keys")
        self._heard_at = time.monotonic()
        self._room: Size | None = None
        self._signals: list[TerminalSignals] = []  # none before it is mounted
        if self.no_color:
            self.theme = "ansi-dark"

    def compose(self) -> ComposeResult:
        """Top line, GPUs, table (or one service alone), reason, log, keys."""
        yield self._top
        yield self._gpus
        yield self._table
        yield self.solo_panel
        yield self._trouble
        yield self.log_view
        yield self._keys

    def on_mount(self) -> None:
        """Start to listen."""
        self.set_class(self.view.ascii_only, "ascii")
        self._signals.append(TerminalSignals(self._end_by_signal, self._come_back))
        self.run_worker(self.listen(), name="control feed")
        self.run_worker(self._supply.run(), name="log files")
        self.set_interval(1.0, self._each_second)

    def on_unmount(self) -> None:
        """Let signals mean what they meant."""
        for each in self._signals:
            each.close()

    async def listen(self) -> None:
        """Be told of the stack until the end."""
        await self.feed.run()

    def _end_by_signal(self, number: int) -> None:
        """Give the terminal back before ending; the stack runs on."""
        self.exit(DETACH, return_code=EXIT_BY_SIGNAL + number)

    def _come_back(self) -> None:
        """Draw all anew after a SIGSTOP: the shell has used the terminal meanwhile."""
        if self._driver is not None:
            self._driver.write(_OUR_SCREEN)
        self.refresh(layout=True)
        self.notify("the terminal is back", timeout=5)

    def on_resize(self, event: Resize) -> None:
        """Rearrange for the new size."""
        # The app's own idea of its size is still the old one here.
        self._room = event.size
        self.arrange()

    def on_snapshot(self, document: dict[str, Any]) -> None:
        """A new picture of the stack."""
        self._heard_at = time.monotonic()
        self.view.take(document)
        self.solo_panel.look_for_exits()
        self.arrange()

    def on_events(self, events: Sequence[dict[str, Any]], *, is_all: bool) -> None:
        """State changes; the timeline shows them when it is open."""
        if is_all:
            self.events.clear()
        self.events.extend(events)
        if isinstance(self.screen, Timeline) and not is_all:
            self.screen.add(events)

    def on_lost(self, sentence: str) -> None:
        """No more pictures for now."""
        self.view.link = sentence
        self.arrange()

    def _each_second(self) -> None:
        """A supervisor that is connected but says nothing is as good as lost; ages of lines grow."""
        if self.view.link is None and time.monotonic() - self._heard_at > SILENCE_S:
            self.on_lost(f"no news from the supervisor for {SILENCE_S:.0f} s")
        if self.log_view.style_of_lines.time_form == "age":
            self.log_view.pane.redraw()

    def action_do(self, name: str, *argument: object) -> None:
        """Do what a key or a command of the palette is for; see `actions`. The library passes one
        argument.
        """
        ACTIONS[name](self, *argument)

    def action_log(self, name: str) -> None:
        """A command of the palette that is about the log."""
        self.log_view.action_log(name)

    def leave(self, choice: str | None) -> None:
        """End with what was chosen in the dialogue, once orders are sent; None is a change of mind."""
        if choice is not None:
            _: Worker[None] = self.run_worker(partial(self._leave, choice), name="leaving")

    async def _leave(self, choice: str) -> None:
        """End when the supervisor has taken what was ordered just now, or does not take it."""
        orders = [worker for worker in self.workers if worker.group == ORDERS and not worker.is_finished]
        if orders:
            # The library calls a wait that was cut short the cancelling of what was waited for.
            with suppress(TimeoutError, WorkerCancelled):
                async with asyncio.timeout(LAST_ORDERS_S):
                    await self.workers.wait_for_complete(orders)
        self.exit(choice)

    def arrange(self) -> None:
        """Give every part the height that it needs at this size, and redraw what changed."""
        width, height = self._room or self.size
        is_tiny = width < SMALLEST_WIDTH or height < SMALLEST_HEIGHT
        is_solo = self.view.solo is not None and not is_tiny
        gpus = self.view.gpu_height() if width >= GPU_WIDTH and height >= GPU_HEIGHT else 0
        self._gpus.display = gpus > 0
        self._gpus.styles.height = max(1, gpus)
        self._table.display, self.solo_panel.display = not is_solo, is_solo
        needed = max(1, len(self.view.rows())) + 1
        self._table.styles.height = min(needed, max(2, height - 3 if is_tiny else height // 2))
        if is_solo:
            room = height - gpus - LEAST_LOG_HEIGHT - 3
            self.solo_panel.styles.height = min(self.solo_panel.needed_height(width), max(1, room))
        self._trouble.display = self.view.has_trouble() and height >= REASON_HEIGHT
        self.log_view.show_pane(not is_tiny)
        for part in (self._top, self._gpus, self._table, self.solo_panel, self._trouble, self._keys):
            part.refresh()
