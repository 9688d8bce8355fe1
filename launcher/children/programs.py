"""Running a short program to its end: for probes that are programs, and for tools that look at a child.

Decides that such a program gets a session of its own, is reaped in the one place, and leaves nothing behind
when nobody waits for it any more. Does not know what the program is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from launcher.children.parent import Parent
from launcher.logfiles import Account
from launcher.output import OutputReader
from launcher.processes import ExitStatus
from launcher.spawning import SpawnRequest

__all__ = ["Finished", "run_program"]

_MOST_LINES = 2000


@dataclass(frozen=True)
class Finished:
    """How a program ended, the first lines that it printed on either stream, and its last of stderr."""

    status: ExitStatus
    lines: list[str]
    stderr_tail: list[str]


async def run_program(parent: Parent, request: SpawnRequest) -> Finished:
    """Run the program to its end; when cancelled, it and whatever it started are killed first.

    Raises SpawnError when it cannot be started.
    """
    ended: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
    empty = asyncio.Event()
    born = await parent.start(request, on_born=_nothing, on_exit=_settle(ended, empty), on_empty=empty.set)
    kept = _Kept()
    output = OutputReader(born.stdout_fd, born.stderr_fd, kept, lambda: None)
    try:
        status = await ended
    finally:
        if not empty.is_set():
            born.tree.kill()
        await asyncio.shield(empty.wait())
        output.close()
    return Finished(status, kept.lines, list(output.stderr_tail))


class _Kept:
    """Takes log lines and keeps the first of their texts."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, lines: list[bytes], account: Account | None = None) -> None:
        """Keep what a line says, without its stamp and stream."""
        for line in lines[: _MOST_LINES - len(self.lines)]:
            self.lines.append(line.partition(b" | ")[2].decode("utf-8", "backslashreplace").rstrip("\n"))


def _nothing(pid: int) -> None:
    """The pid is of no interest here."""


def _settle(ended: asyncio.Future[ExitStatus], empty: asyncio.Event) -> Callable[[ExitStatus, bool], None]:
    def settle(status: ExitStatus, is_empty: bool) -> None:
        if is_empty:
            empty.set()
        if not ended.done():
            ended.set_result(status)

    return settle
