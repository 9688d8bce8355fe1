"""Performs the deeds of a schedule on a world: signals to processes, words to the supervisor.

Decides nothing: which deed, on whom and when was drawn before (`operations`).
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import psutil

from tests.integration.chaos.operations import Ask, Hit
from tests.integration.chaos.watchers import Watcher
from tests.integration.chaos.world import World

__all__ = ["Deeds", "pause"]

FROZEN_S = 0.3
GONE_WITHIN_S = 5.0
_SIGNALS = {
    "kill": signal.SIGKILL,
    "freeze": signal.SIGSTOP,
    "flood": signal.SIGUSR1,
    "daemonise": signal.SIGUSR2,
}


class Deeds:
    """What is done to one world; `problems` are those that a deed itself brings to light."""

    def __init__(self, world: World, watchers: Iterable[Watcher]) -> None:
        """The watchers are excused while the whole stack is dead."""
        self._world = world
        self._watchers = list(watchers)
        self.problems: list[str] = []

    def do(self, deed: Hit | Ask) -> None:
        """Perform one deed."""
        if isinstance(deed, Ask):
            self._ask(deed)
        elif deed.victim == "both":
            self._kill_both()
        elif deed.victim in ("supervisor", "guardian"):
            self._hit_owner(deed)
        else:
            self._hit_child(deed)

    def _hit_child(self, deed: Hit) -> None:
        if deed.victim == "grandchild":
            for process in self._world.descendants()[:1]:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(_SIGNALS[deed.kind])
            return
        for name, pid in sorted(self._world.leaders().items()):
            if name.partition(".")[0] == deed.target:
                send(pid, _SIGNALS[deed.kind])

    def _hit_owner(self, deed: Hit) -> None:
        owner = self._world.owner()
        pid = owner["pid" if deed.victim == "supervisor" else "guardian_pid"]
        send(pid, _SIGNALS[deed.kind])
        if deed.kind == "freeze":
            pause(FROZEN_S)
            send(pid, signal.SIGCONT)

    def _kill_both(self) -> None:
        """Nothing may be left of the stack soon after, and `up` brings it back."""
        with self._excused():
            owner = self._world.status()["supervisor"]
            everything = self._world.stack.processes()
            self._world.cut |= self._world.births_alive()
            send(owner["guardian_pid"], signal.SIGKILL)
            send(owner["pid"], signal.SIGKILL)
            left = self._world.stack.wait_gone(everything, GONE_WITHIN_S)
            self.problems += [f"left {GONE_WITHIN_S:g} s after both were killed: {p}" for p in left]
            self._world.up()

    def _ask(self, deed: Ask) -> None:
        world, target = self._world, deed.target
        match deed.verb:
            case "start" | "restart":
                self._accepted(world.ask(deed.verb, services=[target]))
                world.stopped.discard(target)
                if target == "dependent":
                    world.stopped.discard("web")
            case "stop":
                self._accepted(world.ask("stop", services=[target]))
                world.stopped.add(target)
            case "scale":
                self._accepted(world.ask("scale", service="web", replicas=deed.number))
                world.stopped.discard("web")
            case "reload":
                world.values[target] = deed.number
                world.config.write_text(world.config_text())
                self._accepted(world.ask("up"))
                world.stopped.clear()
            case "bad_file":
                self._ask_for_nonsense()
            case "reload_self":
                self._accepted(world.ask("reload_self"))

    def _ask_for_nonsense(self) -> None:
        world = self._world
        world.config.write_text("project: chaos\nservices: {web: {commnd: [x]}}\n")
        try:
            reply = world.ask("up")
        finally:
            world.config.write_text(world.config_text())
        if reply.get("code") != "E_CONFIG":
            self.problems.append(f"a file that makes no sense was answered with {reply}")

    def _accepted(self, reply: dict[str, object]) -> None:
        if reply.get("status") != "success":
            self.problems.append(f"not accepted: {reply}")

    @contextmanager
    def _excused(self) -> Iterator[None]:
        for watcher in self._watchers:
            watcher.excused.set()
        try:
            yield
        finally:
            for watcher in self._watchers:
                watcher.excused.clear()


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process; one that has ended meanwhile is left in peace."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


def pause(seconds: float) -> None:
    """Let the stack go on by itself: a part of the schedule, not a wait for anything."""
    select.select([], [], [], seconds)
