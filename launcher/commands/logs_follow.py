"""`lucid-launch logs -f`: the recent past, then everything that comes until the stack ends.

Reads the same files; the control socket only tells when there will be no more.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from launcher.commands.logs import Request, write
from launcher.control_client import ControlClient, connect
from launcher.invocation import Invocation
from launcher.logs.follower import Follower
from launcher.logs.levels import LevelTracker
from launcher.logs.reader import read_all, read_last
from launcher.terminal.log_text import LineFormat

FOLLOW_INTERVAL_S = 0.2
FOLLOW_HISTORY_LINES = 100


def follow_logs(invocation: Invocation, config_path: Path, request: Request, style: LineFormat) -> None:
    """Print what there is, then what comes; raises NotRunning when nothing can come."""
    asyncio.run(_follow(invocation, config_path, request, style))


async def _follow(invocation: Invocation, config_path: Path, request: Request, style: LineFormat) -> None:
    """The past, then everything that comes until the stack ends."""
    wants, tracker = request.wanted.wants, LevelTracker()
    follower = Follower(request.folder, request.names)
    try:
        ends = follower.ends()
        if request.count is None and request.wanted.since:
            write(read_all(request.folder, request.names, request.wanted, ends), style)
        else:
            count = FOLLOW_HISTORY_LINES if request.count is None else request.count
            write(read_last(request.folder, request.names, request.wanted, count, ends), style)
        async with connect(config_path) as control:
            await control.request("subscribe", events=True)
            await _until_end(
                control, lambda: write(filter(wants, map(tracker.leveled, follower.poll())), style)
            )
        invocation.output.note("the stack ended")
    finally:
        follower.close()


async def _until_end(control: ControlClient, each_interval: Callable[[], None]) -> None:
    """Call `each_interval` again and again until the supervisor says goodbye, and once after that."""
    ended = asyncio.create_task(_drain(control))
    try:
        while not ended.done():
            # Files cannot be waited for; the end of the stack can, so that is what the pause waits on.
            await asyncio.wait([ended], timeout=FOLLOW_INTERVAL_S)
            each_interval()
        each_interval()
        ended.result()
    finally:
        ended.cancel()


async def _drain(control: ControlClient) -> None:
    """Return when the supervisor says goodbye."""
    async for _ in control.frames():
        pass
