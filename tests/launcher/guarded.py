"""A real guardian whose supervisor is the test itself: run as `python tests/launcher/guarded.py FD`."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from launcher.children.handover import Handover, receive_handover
from launcher.children.parent import Parent
from launcher.guarding import Guardian
from launcher.wire import channel_pair


class GuardianOfATest(Guardian):
    """A guardian that starts no supervisor: it has one already, at the other end of a channel."""

    def start_supervisor(self) -> None:
        """Attend to whoever started us."""
        channel = socket.socket(fileno=int(sys.argv[1]))
        channel.set_inheritable(False)
        self.attend(channel, 0)


def start_guardian() -> tuple[subprocess.Popen[bytes], socket.socket, Handover]:
    """Start a guardian; returns its process, the channel to it, and what it handed over first."""
    ours, theirs = channel_pair()
    with theirs:
        argv = [sys.executable, str(Path(__file__)), str(theirs.fileno())]
        environ = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}
        process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], env=environ, start_new_session=True)
    return process, ours, receive_handover(ours)


@asynccontextmanager
async def guarded(on_lost: Callable[[], None] = lambda: None) -> AsyncIterator[Parent]:
    """A parent with a guardian of its own, which ends with all its children afterwards."""
    process, channel, _ = await asyncio.to_thread(start_guardian)
    parent = Parent(channel, on_lost, lambda: None, pid=process.pid)
    try:
        yield parent
    finally:
        process.kill()
        process.wait()
        parent.close()


if __name__ == "__main__":
    GuardianOfATest([], None, {}).run()
