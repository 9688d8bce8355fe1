"""The upper half of the solo view: draws one child from the last snapshot, and reads how its processes
ended.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from rich.text import Text

from launcher.dashboard.painted import Painted, stacked
from launcher.dashboard.solo import MOST_EXITS, Solo, example_lines, solo_lines
from launcher.dashboard.view import View
from launcher.logs.history import ExitMark, read_exits
from launcher.terminal.gpu_cells import gpu_label

__all__ = ["SoloPanel"]

_ENDLESS = 1_000


class SoloPanel(Painted):
    """Shows the child that `view.solo` names; its exits are read from the log once per generation.

    `on_change` is told when there is more to show than before.
    """

    def __init__(self, view: View, log_folder: Path, on_change: Callable[[], None]) -> None:
        super().__init__(self._draw, "solo")
        self._view = view
        self._log_folder = log_folder
        self._on_change = on_change
        self._exits: list[ExitMark] = []
        self._read_for: tuple[object, ...] = ()

    def look_for_exits(self) -> None:
        """Read the exits when another child is shown, or a new generation of it."""
        solo = self._solo()
        if solo is None:
            self._read_for = ()
            return
        child = str(solo.child["name"])
        wanted = (child, solo.child.get("generation"), solo.child.get("exits_total"))
        if wanted != self._read_for:
            self._read_for = wanted
            self.run_worker(self._read(child), name="exits", exclusive=True)

    def needed_height(self, width: int) -> int:
        """How many lines there are to show."""
        solo = self._solo()
        return 1 if solo is None else len(solo_lines(solo, width, _ENDLESS))

    def examples(self) -> list[str]:
        """The lines to copy."""
        solo = self._solo()
        return [] if solo is None else example_lines(solo.service_name, solo.service)

    async def _read(self, child: str) -> None:
        """Read in a thread: a long log takes a moment."""
        self._exits = await asyncio.to_thread(read_exits, self._log_folder, child, MOST_EXITS)
        self._on_change()

    def _draw(self, width: int, height: int) -> Text:
        solo = self._solo()
        lines = [] if solo is None else solo_lines(solo, width, height)
        return stacked(lines, width)

    def _solo(self) -> Solo | None:
        """What is known of the child; None when there is none of that name."""
        document = self._view.document or {}
        gpus = {str(gpu.get("uuid")): gpu_label(gpu) for gpu in document.get("gpus") or []}
        for name, service in document.get("services", {}).items():
            for child in service.get("children") or []:
                if child["name"] == self._view.solo:
                    return Solo(
                        name, service, child, self._view.history, self._exits, gpus, self._view.ascii_only
                    )
        return None
