"""One generation of a child as processes: its leader, whatever it forked, how it is signalled and how it
ended.

Decides what belongs to a generation: the leader's session and group, their descendants, and processes that
left all of these but carry its nonce. The leader stays unreaped until all of them are gone, so its pid, and
with it the group's number, cannot be given to a stranger while we may still signal it. Exits are seen by
pidfd. Does not know states, policies or timers: `on_exit` and `on_empty` are told once each.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from launcher.procfs import ProcessStat, descendants, read_nonce, read_stat, scan_below

__all__ = ["ExitStatus", "Guard", "ProcessTree"]


@dataclass(frozen=True)
class ExitStatus:
    """How a leader ended: by itself with `code`, or by `signal`."""

    code: int | None
    signal: int | None

    @property
    def text(self) -> str:
        """The same as a phrase."""
        if self.signal is None:
            return f"exit code {self.code}"
        try:
            return f"killed by {signal.Signals(self.signal).name}"
        except ValueError:
            return f"killed by signal {self.signal}"


class Guard(Protocol):
    """Who may signal a leader's group: the parent, who keeps its number ours; `pid` is its own."""

    pid: int

    def others(self, pid: int) -> Collection[int]:
        """The children of the parent that are known to be neither the leader `pid` nor orphans of its."""

    def signal(self, pid: int, number: int) -> None:
        """Signal the group of the leader `pid`, unless it was released."""


class ProcessTree:
    """A started leader and everything that came of it, until `on_empty`; use it on the loop's thread only."""

    def __init__(
        self,
        pid: int,
        pidfd: int,
        nonce: str,
        guard: Guard,
        release: Callable[[], None],
        on_exit: Callable[[ExitStatus, bool], None],
        on_empty: Callable[[], None],
    ) -> None:
        """Watch a process that was just started, and own its pidfd; `on_exit` gets the status and whether
        nothing else lives, `release` is called when nothing does.
        """
        self.pid = pid
        facts = read_stat(pid)
        self.started_ticks = 0 if facts is None else facts.started_ticks
        self._pidfd = pidfd
        self._nonce = nonce
        self._guard = guard
        self._release_leader = release
        self._on_exit = on_exit
        self._on_empty = on_empty
        self._is_killing = False
        self._is_released = False
        self._watched: dict[int, int] = {}
        self._loop = asyncio.get_running_loop()

    def members(self) -> list[ProcessStat]:
        """Return the living processes of this generation, the leader included."""
        ours = self._guard.pid
        # The parent adopts every orphan, so whatever is ours is below it, and never below another leader.
        processes = list(scan_below(ours, self._guard.others(self.pid)))
        roots = [
            process.pid
            for process in processes
            if self.pid in (process.pid, process.session, process.group)
            or (process.parent == ours and self._is_stray(process))
        ]
        return [process for process in descendants(processes, roots) if process.is_alive]

    def leader_ended(self, status: ExitStatus) -> None:
        """The guard says that the leader has ended; call it once."""
        alive = self.members()
        if not alive:
            self._release()
        self._on_exit(status, not alive)
        self._watch(alive)

    def terminate(self, signal_number: int) -> None:
        """Ask everything of this generation to end; a stopped process is woken so that it can."""
        if self._is_released:
            return
        self._signal_group(signal_number)
        self._signal_strays(signal_number)
        self._signal_group(signal.SIGCONT)

    def kill(self) -> None:
        """Kill everything of this generation, and whatever it still forks until it is empty."""
        if self._is_released:
            return
        self._is_killing = True
        self._signal_group(signal.SIGKILL)
        self._signal_strays(signal.SIGKILL)

    def _watch(self, members: list[ProcessStat]) -> None:
        """Look again when one of them ends."""
        for member in members:
            if member.pid not in self._watched:
                with suppress(ProcessLookupError):
                    pidfd = os.pidfd_open(member.pid)
                    self._watched[member.pid] = pidfd
                    self._loop.add_reader(pidfd, self._member_ended, member.pid)
        if members and not self._watched:
            self._loop.call_soon(self.look_again)

    def _member_ended(self, pid: int) -> None:
        pidfd = self._watched.pop(pid)
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        self.look_again()

    def look_again(self) -> None:
        """The leader has ended, and something else may have too."""
        if self._is_released:
            return
        alive = self.members()
        if not alive:
            self._release()
            self._on_empty()
            return
        if self._is_killing:
            self._signal_group(signal.SIGKILL)
            self._signal_strays(signal.SIGKILL)
        self._watch(alive)

    def _release(self) -> None:
        """Let the leader be reaped; from here on its number may belong to anybody."""
        self._is_released = True
        os.close(self._pidfd)
        for pidfd in self._watched.values():
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
        self._watched.clear()
        self._release_leader()

    def _signal_group(self, number: int) -> None:
        self._guard.signal(self.pid, number)

    def _signal_strays(self, number: int) -> None:
        """Signal the members outside the group, each by a pidfd taken before it is checked again."""
        for member in self.members():
            if member.group == self.pid:
                continue
            with suppress(ProcessLookupError, PermissionError):
                pidfd = os.pidfd_open(member.pid)
                try:
                    now = read_stat(member.pid)
                    if now is not None and now.started_ticks == member.started_ticks:
                        signal.pidfd_send_signal(pidfd, number)
                finally:
                    os.close(pidfd)

    def _is_stray(self, process: ProcessStat) -> bool:
        return process.session != os.getsid(0) and read_nonce(process.pid) == self._nonce
