"""The probe that runs a program: exit 0 is well. The program gets its own session and ends with its time
limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from launcher.children.parent import Parent
from launcher.logfiles import OutputReader
from launcher.probes import Answer, Failing, Well
from launcher.processes import ExitStatus
from launcher.spawning import SpawnError, SpawnRequest

__all__ = ["ExecProbe"]


class _NoFile:
    """Takes lines and keeps none: only the last words of a failed probe are wanted."""

    def write(self, lines: list[bytes]) -> None:
        """Keep nothing."""


class ExecProbe:
    """Runs one program for each check and judges its exit code."""

    def __init__(self, parent: Parent, request: SpawnRequest) -> None:
        """Run `request` through the one parent, so that its end is reaped in the one place."""
        self._parent = parent
        self._request = request

    async def check(self) -> Answer:
        """Run the program to its end; when cancelled, it and whatever it started are killed first."""
        program = self._request.argv[0]
        ended: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        empty = asyncio.Event()
        try:
            born = await self._parent.start(
                self._request, on_born=_nothing, on_exit=_settle(ended, empty), on_empty=empty.set
            )
        except SpawnError as error:
            return Failing(f"cannot be probed: {error}")
        output = OutputReader(born.stdout_fd, born.stderr_fd, _NoFile(), lambda: None)
        try:
            status = await ended
        finally:
            if not empty.is_set():
                born.tree.kill()
            await asyncio.shield(empty.wait())
            output.close()
        if status.code == 0:
            return Well()
        words = f": {output.stderr_tail[-1]}" if output.stderr_tail else ""
        return Failing(f"fails its probe {program} ({status.text}){words}")

    async def close(self) -> None:
        """Nothing is held between checks."""


def _nothing(pid: int) -> None:
    """The pid is of no interest here."""


def _settle(ended: asyncio.Future[ExitStatus], empty: asyncio.Event) -> Callable[[ExitStatus, bool], None]:
    def settle(status: ExitStatus, is_empty: bool) -> None:
        if is_empty:
            empty.set()
        if not ended.done():
            ended.set_result(status)

    return settle
