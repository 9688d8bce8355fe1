"""What signals and the guardian ask of a supervisor: the end in order, the end at once, the file read again.

Decides that a second SIGTERM or SIGINT kills, and that a file which cannot be taken over is only told of.
Does not know how anything is ended or read.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from launcher.errors import LauncherError
from launcher.running.reload import Reconciler
from launcher.running.stack import Stack

__all__ = ["Signals"]


class Signals:
    """Handles the signals of one process from `listen` on; lives on the loop's thread."""

    def __init__(
        self, stack: Stack, reconciler: Reconciler, tasks: asyncio.TaskGroup, log: Callable[[str], None]
    ) -> None:
        """End `stack`, or bring it in line with the file by `reconciler`, and say so through `log`."""
        self._stack = stack
        self._reconciler = reconciler
        self._tasks = tasks
        self._log = log
        self._reloads: set[asyncio.Task[None]] = set()

    def listen(self) -> None:
        """Handle SIGTERM, SIGINT and SIGHUP from now on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_end, number)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    async def close(self) -> None:
        """Read no file any more."""
        for reload in self._reloads:
            reload.cancel()
        await asyncio.gather(*self._reloads, return_exceptions=True)

    def end_once(self) -> None:
        """The guardian was asked to end; idempotent."""
        if not self._stack.is_ending:
            self._log("the guardian was asked to end: everything is stopped in order")
            self._stack.end()

    def end_within(self, timeout_s: float | None) -> None:
        """A client asks for the end, which is forced after `timeout_s`."""
        self._log("asked to go down")
        self._stack.end()
        if timeout_s is not None:
            asyncio.get_running_loop().call_later(timeout_s, self._stack.kill)

    def _asked_to_end(self, number: signal.Signals) -> None:
        if self._stack.is_ending:
            self._log(f"{number.name} again: everything is killed")
            self._stack.kill()
            return
        self._log(f"{number.name}: everything is stopped in order")
        self._stack.end()

    def _hang_up(self) -> None:
        reload = self._tasks.create_task(self._reload(), name="reload")
        self._reloads.add(reload)
        reload.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        try:
            actions, notes = await self._reconciler.up([])
        except LauncherError as error:
            self._log(f"the file was not taken over: {error}")
            return
        done = [f"{action.kind} {action.service}" for action in actions if action.kind != "keep"]
        self._log(f"the file was read again: {', '.join(done) or 'nothing changed'}")
        for note in notes:
            self._log(note)
