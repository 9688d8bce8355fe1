"""A parent whose guardian is played by the test: real processes stand for those that it starts."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from launcher.children.parent import Born, Parent
from launcher.spawning import SpawnRequest, StopRule
from launcher.wire import channel_pair, close_fds, receive, send

NONCE = "0123456789abcdef"
REQUEST = SpawnRequest(("prog", "x"), {"A": "b"}, Path("/"), stop=StopRule(signal.SIGINT, 2.5, 3))


class PlayedGuardian:
    """The other end of a parent's channel, played by the test, and what the parent was told."""

    def __init__(self) -> None:
        ours, self._end = channel_pair()
        self.lost: list[str] = []
        self.asked: list[str] = []
        self.told: list[Any] = []
        self.parent = Parent(
            ours,
            lambda: self.lost.append("lost"),
            lambda: self.asked.append("end"),
            NONCE,
            pid=os.getpid(),
        )
        self._programs: list[subprocess.Popen[bytes]] = []
        self._open: list[int] = []

    async def word(self) -> dict[str, Any]:
        """The next word of the parent; its descriptors are closed."""
        found = await asyncio.to_thread(receive, self._end)
        assert found is not None
        close_fds(found[1])
        return found[0]

    def tell(self, event: str, **fields: Any) -> None:
        """Tell the parent something, which it hears at once."""
        fds = fields.pop("fds", ())
        send(self._end, {"event": event, **fields}, fds)
        self.parent.listen()

    def program(self) -> tuple[int, list[int]]:
        """A real process in the part of a started one: its pid, and pidfd, stdout, stderr and status."""
        self._programs.append(subprocess.Popen(["sleep", "1000"]))
        pid = self._programs[-1].pid
        pipes = [os.pipe() for _ in range(3)]
        self._open += [pipe[1] for pipe in pipes]
        return pid, [os.pidfd_open(pid), *(pipe[0] for pipe in pipes)]

    def bear(self, number: int, failure: bytes = b"") -> int:
        """Answer a word to spawn; `failure` is what came over the status pipe."""
        pid, fds = self.program()
        os.write(self._open[-1], failure)
        os.close(self._open.pop())
        self.tell("spawned", id=number, pid=pid, fds=fds)
        close_fds(fds)
        return pid

    def kill(self) -> None:
        """Let the last program end, so that nothing of it lives."""
        self._programs[-1].kill()
        self._programs[-1].wait()

    def start(self, about: dict[str, Any] | None = None) -> asyncio.Task[Born]:
        """Have the parent start a program."""
        return asyncio.create_task(
            self.parent.start(
                REQUEST,
                on_born=lambda pid: self.told.append(("born", pid)),
                on_exit=lambda status, is_empty: self.told.append(("exit", status, is_empty)),
                on_empty=lambda: self.told.append(("empty",)),
                about=about,
            )
        )

    def close(self) -> None:
        """Let go of everything."""
        self.parent.close()
        self._end.close()
        for program in self._programs:
            program.kill()
            program.wait()
        close_fds(self._open)

    def go(self) -> None:
        """Hang up."""
        self._end.close()
        self.parent.listen()
