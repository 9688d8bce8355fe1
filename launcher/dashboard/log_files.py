"""Keeps a log pane supplied from the log files: the past, what comes, and what a filter finds further back.

One reader does all three in turn, so that a line is never shown twice or missed between them. The disk is
read
in a thread; knows nothing of the screen.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from launcher.logs.follower import Follower
from launcher.logs.history import Found, search_history
from launcher.logs.reader import read_last
from launcher.logs.records import LogFilter, LogLine

__all__ = ["LOG_INTERVAL_S", "LogFiles"]

BACKFILL_LINES = 2_000
MOST_FOUND = 5_000
LOG_INTERVAL_S = 0.4
# More than this per service and interval cannot be read by a person; it is skipped and counted.
LOG_LIMIT_BYTES = 128 * 1024

Wants = Callable[[LogLine], bool]


class LogFiles:
    """Reads a log folder at a pace that a person can follow.

    `on_lines` gets what comes, `on_found` what a search found together with the token that it was asked with.
    """

    def __init__(
        self,
        folder: Path,
        on_lines: Callable[[list[LogLine]], None],
        on_found: Callable[[Found, object], None],
        interval_s: float = LOG_INTERVAL_S,
    ) -> None:
        self._folder = folder
        self._on_lines = on_lines
        self._on_found = on_found
        self._interval_s = interval_s
        self._asked: tuple[Wants, object] | None = None
        self._has_asked = asyncio.Event()

    def search(self, wants: Wants, token: object) -> None:
        """Look through the files for lines that `wants` lets through; a search that waits is replaced."""
        self._asked = (wants, token)
        self._has_asked.set()

    async def run(self) -> None:
        """Hand out the past, then what comes and what was searched for, until cancelled."""
        follower = Follower(self._folder, ())
        try:
            ends = follower.ends()
            past = await asyncio.to_thread(read_last, self._folder, (), LogFilter(), BACKFILL_LINES, ends)
            self._on_lines(past)
            while True:
                await self._pause()
                self._on_lines(await asyncio.to_thread(follower.poll, LOG_LIMIT_BYTES, keep_up=True))
                await self._answer(follower)
        finally:
            follower.close()

    async def _pause(self) -> None:
        """Wait for a search, at most until it is time to look at the files again: they cannot be waited
        for.
        """
        try:
            async with asyncio.timeout(self._interval_s):
                await self._has_asked.wait()
        except TimeoutError:
            return

    async def _answer(self, follower: Follower) -> None:
        """Do the search that was asked for, if one was."""
        if self._asked is None:
            return
        wants, token = self._asked
        self._asked = None
        self._has_asked.clear()
        found = await asyncio.to_thread(search_history, self._folder, (), wants, MOST_FOUND, follower.ends())
        self._on_found(found, token)
