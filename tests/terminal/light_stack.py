"""A stack whose children cost nothing: one prints what it is told to, one answers HTTP."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from tests.integration.stack import Stack, is_of
from tests.integration.supervised_stack import hostile

# `echo` says what is written into the FIFO `words`: the tests decide what a child prints, and when.
CONFIG = """\
project: light
defaults:
  restart: {{backoff: {{initial: 100ms, max: 1s}}}}
  stop: {{grace: 5s}}
  health: {{min_uptime: 0s}}
services:
  echo:
    command: [sh, -c, "exec cat <>words"]
  web:
    command: {serve}
    port: {port}
    health: {{http: /, period: 300ms}}
    inherit_sockets: true
"""


class LightStack(Stack):
    """The stack in a folder of its own, not started."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, config="services: {}")
        os.mkfifo(root / "words")
        self.config.write_text(CONFIG.format(serve=hostile("--serve"), port=self.memory_port))

    def say(self, *lines: str) -> None:
        """Let the service `echo` print these lines; returns when all are on their way."""
        with open(self.root / "words", "r+b", buffering=0) as words:
            words.write("".join(f"{line}\n" for line in lines).encode())

    def pids(self) -> dict[str, int]:
        """The pid of each child."""
        return {name: each["children"][0]["pid"] for name, each in self.status()["services"].items()}

    def viewer(self, verb: str = "dashboard") -> psutil.Process:
        """The process of the one dashboard that is open."""
        runtime = str(self.root / "run")
        found = [
            process
            for process in psutil.process_iter()
            if is_of(process, runtime) and process.cmdline()[-1:] == [verb]
        ]
        assert len(found) == 1, found
        return found[0]
