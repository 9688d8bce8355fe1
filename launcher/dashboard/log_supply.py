"""Brings log files and log view together: lines as they come, and older ones that a filter asks for."""

from pathlib import Path

from launcher.dashboard.log_files import LOG_INTERVAL_S, LogFiles
from launcher.dashboard.log_view import LogView
from launcher.logs.history import Found
from launcher.logs.records import local_time

__all__ = ["LogSupply"]


class LogSupply:
    """The view on all logs of a folder, and what keeps it supplied while `run` runs."""

    def __init__(self, folder: Path, *, ascii_only: bool, interval_s: float = LOG_INTERVAL_S) -> None:
        self.view = LogView("logs", folder / "saved", ascii_only=ascii_only, search=self._search)
        self._files = LogFiles(folder, self.view.pane.add, self._on_found, interval_s)

    async def run(self) -> None:
        """Show the past and what comes, until cancelled."""
        await self._files.run()

    def _search(self) -> None:
        """Look for older lines that the filters let through."""
        ring = self.view.ring
        if ring.is_filtered:
            self._files.search(ring.wants, ring.epoch)

    def _on_found(self, found: Found, epoch: object) -> None:
        """Show what was found, unless the filters have changed since it was asked for."""
        if epoch != self.view.ring.epoch:
            return
        self.view.ring.show_found(found.lines)
        if found.back_to is not None:
            self.view.say(f"searched back to {local_time(found.back_to, '%m-%d %H:%M:%S')}")
        self.view.pane.redraw()
