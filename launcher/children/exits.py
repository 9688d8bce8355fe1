"""How the generations of one child end: what is recorded, when nothing is left, and what a signal meant.

Decides when a SIGKILL was the kernel's for want of memory, and that a generation is not over while its GPU
memory is not free. Does not decide what follows from an end: that is the lifecycle's.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher.lifecycle_values import Exited, GroupEmptied, SpawnFailed
from launcher.logs.line_format import stamp
from launcher.processes import ExitStatus
from launcher.restart_policy import Outcome

if TYPE_CHECKING:
    from launcher.children.runtime import ChildRuntime

__all__ = ["Exits", "LastExit"]


@dataclass
class LastExit:
    """How the last generation ended; the tail may still grow by lines that were in the pipe."""

    outcome: Outcome
    status: ExitStatus
    at: str
    after_s: float | None
    stderr_tail: Sequence[str]
    diagnosis: str | None


class Exits:
    """The ends of one child's generations; tells the lifecycle of each."""

    def __init__(self, child: ChildRuntime) -> None:
        """Nothing of `child` has ended yet."""
        self.total = 0
        self.last: LastExit | None = None
        self._child = child

    def not_started(self, generation: int, text: str) -> None:
        """No process came to be; `text` says why."""
        self._record(Outcome("spawn_failed"), ExitStatus(None, None), None, [text])
        self._child.log.mark(f"generation {generation} did not start: {text}")
        self._child.post(SpawnFailed(generation, text))

    def lost(self, why: str) -> None:
        """Its processes are gone, and nobody has seen how they ended."""
        child = self._child
        self._record(Outcome("killed"), ExitStatus(None, signal.SIGKILL), None, ())
        child.spawned_at = None
        child.log.mark(f"generation {child.life.generation} {why}")

    def missed(self, generation: int, status: ExitStatus) -> None:
        """A generation ended, and the next was started already; only how it ended is known."""
        by_itself = status.signal is None
        self._record(Outcome("exited", status.code) if by_itself else Outcome("killed"), status, None, ())
        self._child.log.mark(f"generation {generation} ended: {status.text}")

    def exited(self, generation: int, status: ExitStatus, is_empty: bool) -> None:
        """The leader has ended; `is_empty`: and nothing else of the generation lives."""
        child, charge = self._child, self._child.life.charge
        outcome = self._judge(status) if charge is None else charge
        loop_time = asyncio.get_running_loop().time()
        after_s = None if child.spawned_at is None else loop_time - child.spawned_at
        self._record(outcome, status, after_s, () if child.output is None else child.output.stderr_tail)
        if is_empty:
            self._close_generation()
        child.log.mark(f"generation {generation} ended: {status.text} after {after_s or 0.0:.1f} s")
        is_over = is_empty and not child.prepared.gpu.ids
        child.post(Exited(generation, outcome, status.text, is_over))
        if is_empty and not is_over:
            self._await_vram(generation)

    def emptied(self, generation: int) -> None:
        """Now nothing of the generation lives, whose leader has ended before."""
        self._close_generation()
        if self._child.prepared.gpu.ids:
            self._await_vram(generation)
        else:
            self._child.post(GroupEmptied(generation))

    def _judge(self, status: ExitStatus) -> Outcome:
        if status.signal is None:
            return Outcome("exited", status.code)
        is_oom = status.signal == signal.SIGKILL and self._child.around.oom.has_risen()
        return Outcome("oom" if is_oom else "killed")

    def _record(
        self, outcome: Outcome, status: ExitStatus, after_s: float | None, tail: Sequence[str]
    ) -> None:
        self.total += 1
        at = stamp(time.time())
        self.last = LastExit(outcome, status, at, after_s, tail, self._child.diagnosis)

    def _close_generation(self) -> None:
        """What its pipes still hold is all there will be."""
        child = self._child
        child.tree = child.spawned_at = child.usage = None
        child.drain()
        if child.notify is not None:
            child.notify.session = None
        child.around.journal()

    def _await_vram(self, generation: int) -> None:
        """A child is not over while its memory is not free: a sibling beside it might not fit."""
        child = self._child

        async def wait() -> None:
            held = await child.gpu.wait_released(child.prepared.gpu)
            if held is not None:
                child.log.mark(f"nothing of generation {generation} lives, but {held}")
            child.post(GroupEmptied(generation))

        child.around.tasks.create_task(wait(), name=f"vram of {child.name}")
