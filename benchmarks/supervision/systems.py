"""What the comparison asks of a supervisor, whichever it is.

A `System` writes its own configuration for the same services, starts, is measured from outside, and is ended
by pid if it does not end by itself. Everything that it starts carries a mark in its environment, so that what
is left of it can be counted. Knows no row of the comparison.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["CHILD", "MARK", "NotOffered", "Service", "System", "free_port", "python_child"]

CHILD = Path(__file__).with_name("child.py")
MARK = "SUPERVISORS_BENCHMARK"
ENDS_WITHIN_S = 10.0


class NotOffered(Exception):
    """This supervisor does not have the thing that was asked for; the text says what."""


@dataclass(frozen=True)
class Service:
    """One service: what runs, and which port it serves, if any.

    `is_held`: the supervisor should hold the listening socket, if it can. `is_probed`: ask it once a second
    whether it is well, if it can. `hang_s`: find a hang within about this time, if it can.
    """

    name: str
    argv: tuple[str, ...]
    port: int | None = None
    replicas: int = 1
    is_held: bool = False
    is_probed: bool = False
    finds_hangs: bool = False


class System(ABC):
    """One supervisor in a folder of its own."""

    name: str

    def __init__(self, folder: Path, peers: Path) -> None:
        """Not started; `peers` is the folder of those that are installed beside the benchmark."""
        self.folder = folder
        self.peers = peers
        self.environ = os.environ | {MARK: str(folder)}
        self.services: tuple[Service, ...] = ()
        self.value = 0
        """A setting of all services; raising it is the change of configuration."""

    @abstractmethod
    def version(self) -> str:
        """Its version; raises OSError or CalledProcessError where it is not installed."""

    @abstractmethod
    def start(self, services: Sequence[Service]) -> None:
        """Start it with these services; returns when they have been asked for."""

    @abstractmethod
    def owners(self) -> dict[str, int]:
        """The pids of its own processes by role, the one that matters most first."""

    @abstractmethod
    def end(self) -> None:
        """Ask it to stop everything and end."""

    @abstractmethod
    def status_argv(self) -> list[str]:
        """The command that shows the state of all services."""

    def restart(self, service: Service) -> None:
        """Its restart verb."""
        raise NotOffered("no verb")

    def roll(self, service: Service) -> None:
        """Its restart of replicas one after another."""
        raise NotOffered("no rolling restart")

    def change(self, service: Service) -> None:
        """Change a setting of the service in its file, and have the file taken over."""
        raise NotOffered("no reload")

    def log_files(self, service: Service) -> list[Path]:
        """The files with the output of the service, in any order."""
        raise NotOffered("no logs")

    def processes(self) -> list[psutil.Process]:
        """Everything alive that was started by this system, whoever its parent is now."""
        mine = f"{MARK}={self.folder}".encode()
        return [psutil.Process(pid) for pid in psutil.pids() if pid != os.getpid() and _carries(pid, mine)]

    def children(self) -> list[psutil.Process]:
        """Those that run the program of the comparison."""
        return [process for process in self.processes() if _runs_child(process)]

    def close(self) -> None:
        """End it, and then by pid whatever is still there."""
        if self.services:
            with suppress(subprocess.SubprocessError, OSError, psutil.Error):
                self.end()
        psutil.wait_procs(self.processes(), timeout=ENDS_WITHIN_S)
        while left := self.processes():
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=ENDS_WITHIN_S)

    def run(self, argv: Sequence[str], timeout_s: float = 60) -> str:
        """Run a command of this system to its end and return what it printed."""
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=True,
        )
        return done.stdout

    def spawn(self, argv: Sequence[str]) -> int:
        """Start a process that stays, in a session of its own; returns its pid."""
        with open(self.folder / "owner.out", "ab") as out:
            process = subprocess.Popen(
                argv,
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._spawned = [*getattr(self, "_spawned", []), process]
        return process.pid


def python_child(*words: str) -> tuple[str, ...]:
    """The command of a service of the comparison."""
    return (sys.executable, "-IS", str(CHILD), *words)


def free_port() -> int:
    """A loopback port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _carries(pid: int, mark: bytes) -> bool:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return mark in environ and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False


def _runs_child(process: psutil.Process) -> bool:
    try:
        # Not the shells and supervisors that have the program as an argument of theirs.
        words = process.cmdline()
    except psutil.Error:
        return False
    return str(CHILD) in words[1:4] or words[:1] == ["sleep"]
