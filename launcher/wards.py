"""The guardian's wards: every program that it started, its pipes and its exit status until told to let go.

Decides that a leader stays unreaped until it is released, so that its pid, and with it the number of its
group, cannot be given to a stranger while somebody may still signal it; that orphans who became ours are
reaped at once; and how everything is stopped when there is nobody left to ask. Standard library only.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

from launcher.fork_exec import Order, fork_exec

TYPE_CHECKING = False
"""As `typing` says it, which the guardian has no use for: half a MiB for as long as a stack runs."""
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Ward", "Wards"]

_SWEEP_LIMIT_S = 5.0


class Ward:
    """One program: pid and pidfd, what the supervisor said of it, and the read ends of its three pipes."""

    __slots__ = ("about", "ended", "fds", "pid", "pidfd", "stop")

    def __init__(self, pid: int, about: Any, stop: dict[str, Any], fds: Sequence[int]) -> None:
        """`fds` are stdout, stderr and the status of the start; `stop` is its signal, grace_s and rank."""
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.about = about
        self.stop = stop
        self.fds = list(fds)
        self.ended: dict[str, int | None] | None = None
        """Exit code and signal, once it has ended."""


class Wards:
    """All wards by pid; use it on the one thread of the guardian."""

    def __init__(self) -> None:
        """Nothing runs."""
        self._table: dict[int, Ward] = {}
        self._devnull = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def __iter__(self) -> Iterator[Ward]:
        return iter(list(self._table.values()))

    def spawn(self, order: Order, about: Any, stop: dict[str, Any], sockets: Sequence[int]) -> Ward:
        """Start a program, its output into pipes of its own, `sockets` from fd 3 on; raises OSError."""
        pipes: list[int] = []
        try:
            for _ in range(3):
                pipes.extend(os.pipe2(os.O_CLOEXEC))
            order["listen_fds"] = len(sockets)
            pid = fork_exec(order, [self._devnull, pipes[1], pipes[3], *sockets], pipes[5])
            ward = self._table[pid] = _watch(pid, about, stop, pipes[::2])
        except OSError:
            _close(pipes[::2])
            raise
        finally:
            _close(pipes[1::2])
        return ward

    def signal(self, pid: int, number: int) -> None:
        """Signal the group of a ward; one that is unknown is left alone, as its number is anybody's."""
        if pid in self._table:
            # EPERM: all who are left in the group have changed their user.
            with suppress(PermissionError):
                try:
                    os.killpg(pid, number)
                except ProcessLookupError:
                    # It was forked just now and leads no group yet; not reaped, so the number is its own.
                    os.kill(pid, number)

    def release(self, pid: int) -> None:
        """Reap a ward that has ended and forget it."""
        ward = self._table.get(pid)
        if ward is not None and ward.ended is not None:
            del self._table[pid]
            os.waitpid(pid, 0)
            _close([ward.pidfd, *ward.fds])

    def take_ended(self, others: Collection[int | None]) -> list[Ward]:
        """Return the wards that have ended since the last call, and reap the orphans that have.

        `others` are children that are neither: whoever started them reaps them.
        """
        ended = [ward for ward in self._table.values() if ward.ended is None and _look(ward)]
        with suppress(ChildProcessError):
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if found.si_pid in self._table or found.si_pid in others:
                    # It hides the orphans behind it, whose turn comes once it is reaped.
                    break
                os.waitpid(found.si_pid, 0)
        return ended

    def stop_all(self) -> None:
        """Stop every ward with its own signal and grace, those that others need last; then kill."""
        for rank in sorted({ward.stop["rank"] for ward in self._table.values()}, reverse=True):
            wards = [ward for ward in self._table.values() if ward.stop["rank"] == rank]
            for ward in wards:
                self.signal(ward.pid, ward.stop["signal"])
                self.signal(ward.pid, signal.SIGCONT)
            _wait([ward.pidfd for ward in wards], max(ward.stop["grace_s"] for ward in wards))
            for ward in wards:
                self.signal(ward.pid, signal.SIGKILL)

    def sweep(self, spared: Collection[int]) -> list[int]:
        """Kill and reap every child of this process but `spared`, whoever left it to us; returns those that
        did not end within 5 s.
        """
        deadline = time.monotonic() + _SWEEP_LIMIT_S
        left = _living_children(spared)
        while left and time.monotonic() < deadline:
            pidfds = []
            for pid in left:
                # One that may not be signalled may still end by itself.
                with suppress(ProcessLookupError, PermissionError):
                    pidfds.append(os.pidfd_open(pid))
                    os.kill(pid, signal.SIGKILL)
            _wait(pidfds, deadline - time.monotonic())
            _close(pidfds)
            self._reap_all(left)
            left = _living_children(spared)
        return left

    def _reap_all(self, pids: Sequence[int]) -> None:
        for pid in pids:
            ward = self._table.get(pid)
            if ward is None:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            elif ward.ended is not None or _look(ward):
                self.release(pid)


def _watch(pid: int, about: Any, stop: dict[str, Any], fds: Sequence[int]) -> Ward:
    """Make a ward of a program that was just started; one that cannot be watched must not run."""
    try:
        return Ward(pid, about, stop, fds)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _look(ward: Ward) -> bool:
    """Note how a ward ended, if it has; it stays unreaped."""
    result = os.waitid(os.P_PID, ward.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if result is None:
        return False
    exited = result.si_code == os.CLD_EXITED
    ward.ended = {
        "code": result.si_status if exited else None,
        "signal": None if exited else result.si_status,
    }
    return True


def _living_children(spared: Collection[int]) -> list[int]:
    """The children of this process, unreaped ones included; a child of ours cannot lose its number."""
    ours = str(os.getpid()).encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in spared:
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                # The name of the program may hold anything, so the fields are counted from its end.
                if file.read().rpartition(b")")[2].split()[1] == ours:
                    found.append(int(name))
    return found


def _wait(pidfds: Sequence[int], timeout_s: float) -> None:
    """Wait until all have ended, at most so long."""
    poller = select.poll()
    waiting = set(pidfds)
    for pidfd in waiting:
        poller.register(pidfd, select.POLLIN)
    deadline = time.monotonic() + timeout_s
    while waiting and (left_s := deadline - time.monotonic()) > 0:
        for pidfd, _ in poller.poll(left_s * 1000):
            poller.unregister(pidfd)
            waiting.discard(pidfd)


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
