"""Row: from `kill -9` of a child to the first act of its successor.

Ten services whose first act is a line in a FIFO; each is killed only after it has lived for more than a
second, as runit and s6 hold back what lived shorter. The time ends where the line arrives: a shell's start is
in it for everybody. Who is slower than the gap between two kills has several to bring back at once, and one
that polls is woken by the next.
"""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path
from typing import Any

from benchmarks.supervision.figures import percentiles_ms
from benchmarks.supervision.systems import Service, System

__all__ = ["measure"]

SERVICES = 10
LIVES_AT_LEAST_S = 1.3
GAP_S = 0.2
WAITS_AT_MOST_S = 20.0


class _Births:
    """The FIFO, and who was born when."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # Both ends, so that no writer ever waits for a reader.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.alive: dict[str, tuple[int, float]] = {}
        self.killed: dict[str, float] = {}
        self.took_s: list[float] = []

    def listen(self, for_s: float) -> None:
        """Take births for so long."""
        until = time.monotonic() + for_s
        while (left_s := until - time.monotonic()) > 0:
            if select.select([self._fd], [], [], left_s)[0]:
                now = time.monotonic()
                for line in os.read(self._fd, 65536).decode().splitlines():
                    name, pid = line.split()
                    if name in self.killed:
                        self.took_s.append(now - self.killed.pop(name))
                    self.alive[name] = (int(pid), now)

    def kill_oldest(self) -> None:
        """Kill whoever has lived the longest, if long enough."""
        if not self.alive:
            return
        name = min(self.alive, key=lambda each: self.alive[each][1])
        pid, born = self.alive[name]
        if time.monotonic() - born >= LIVES_AT_LEAST_S:
            del self.alive[name]
            self.killed[name] = time.monotonic()
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the FIFO."""
        os.close(self._fd)


def measure(system: System, kills: int) -> dict[str, Any]:
    """Kill so many children, one at a time."""
    births = _Births(system.folder / "births")
    names = [f"p{number}" for number in range(SERVICES)]
    # A file: each configuration has its own idea of what a dollar sign means.
    script = system.folder / "birth.sh"
    script.write_text(f'echo "$1" $$ > {system.folder}/births\nexec sleep 1000000\n')
    try:
        system.start([Service(name, ("/bin/sh", str(script), name)) for name in names])
        births.listen(3.0)
        last = time.monotonic()
        done = 0
        while len(births.took_s) < kills and time.monotonic() - last < WAITS_AT_MOST_S:
            births.kill_oldest()
            births.listen(GAP_S)
            if len(births.took_s) > done:
                done, last = len(births.took_s), time.monotonic()
        until = time.monotonic() + WAITS_AT_MOST_S
        while births.killed and time.monotonic() < until:
            births.listen(GAP_S)
        return percentiles_ms(births.took_s) | {"never_came_back": len(births.killed)}
    finally:
        births.close()
