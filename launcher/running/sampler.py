"""When resource use is sampled: while somebody watches or a limit is set, and otherwise only when asked.

Decides the rhythm and turns a passed limit into an event. What a child uses is `usage` and `gpu_use`. A child
on a GPU is always sampled, as the driver is the only one to tell that a GPU has gone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import suppress

from launcher.children.gpu_watch import GpuWatch
from launcher.children.runtime import ChildRuntime
from launcher.children.usage import UsageMeter
from launcher.lifecycle_values import LimitExceeded
from launcher.running.stack import Stack

__all__ = ["UsageSampler"]

_PERIOD_S = 2.0
_YOUNG_S = 0.2


class UsageSampler:
    """Keeps `usage` of each child as fresh as it is needed; lives on the loop's thread."""

    def __init__(
        self, stack: Stack, gpus: GpuWatch, tasks: asyncio.TaskGroup, log: Callable[[str], None]
    ) -> None:
        """Sample the children of `stack`; nothing runs before `wake` or `refresh`."""
        self._stack = stack
        self._gpus = gpus
        self._tasks = tasks
        self._log = log
        self._meter = UsageMeter()
        self._handle: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None
        self._problem: str | None = None
        self._loop = asyncio.get_running_loop()

    def wake(self) -> None:
        """Sample regularly for as long as there is a reason to; idempotent."""
        if self._handle is None and self._is_needed():
            self._handle = self._loop.call_later(_PERIOD_S, self._tick)

    def refresh(self) -> None:
        """Sample now unless the last sample is still good; a child that it lacks makes it go bad sooner."""
        children = self._stack.children.values()
        lacks_one = any(child.tree is not None and child.usage is None for child in children)
        sampled_at = self._meter.sampled_at
        age_s = None if sampled_at is None else self._loop.time() - sampled_at
        if age_s is None or age_s >= (_YOUNG_S if lacks_one else _PERIOD_S):
            self._sample()

    def close(self) -> None:
        """Sample no more."""
        if self._handle is not None:
            self._handle.cancel()

    def _is_needed(self) -> bool:
        children = self._stack.children.values()
        return self._stack.publisher.has_subscribers or any(
            child.prepared.gpu.ids or any(vars(child.service.limits).values()) for child in children
        )

    def _tick(self) -> None:
        self._handle = None
        self._sample()
        self.wake()

    def _sample(self) -> None:
        leaders = {name: child.tree.pid for name, child in self._stack.children.items() if child.tree}
        found = self._meter.sample(leaders, self._loop.time())
        for name, child in self._stack.children.items():
            child.usage = found.get(name)
            self._check_limits(child)
        if self._asking is None and any(child.prepared.gpu.ids for child in self._stack.children.values()):
            self._asking = self._tasks.create_task(self._ask_gpus(), name="gpus")

    async def _ask_gpus(self) -> None:
        """The driver may take its time: what it says is taken when it comes."""
        report = await self._gpus.refresh()
        self._asking = None
        if report.problem != self._problem:
            self._problem = report.problem
            self._log(f"GPUs: {report.problem or 'all answer again'}")
        for child in self._stack.children.values():
            if child.usage is not None:
                child.gpu.observe(child.prepared.gpu, child.usage.pids, child.senses.health.stats)
                self._check_limits(child)
        self._stack.publisher.changed()

    def _check_limits(self, child: ChildRuntime) -> None:
        for passed in _passed_limits(child):
            self._stack.post(child.name, passed)


def _passed_limits(child: ChildRuntime) -> Iterator[LimitExceeded]:
    limits, usage, generation = child.service.limits, child.usage, child.life.generation
    if usage is None:
        return
    if limits.memory_bytes is not None and usage.rss_bytes > limits.memory_bytes:
        text = f"uses {usage.rss_bytes:,} bytes of memory; its limit is {limits.memory_bytes:,}"
        yield LimitExceeded(generation, text)
    used = child.gpu.vram_bytes
    if limits.vram_bytes is not None and used is not None and used > limits.vram_bytes:
        text = f"uses {used:,} bytes of GPU memory; its limit is {limits.vram_bytes:,}"
        yield LimitExceeded(generation, text, "vram_limit")
    if limits.open_files is not None:
        most = max((_open_files(pid) for pid in usage.pids), default=0)
        if most >= limits.open_files:
            text = f"has {most:,} open files, all that its limit allows"
            yield LimitExceeded(generation, text, "open_files_limit")


def _open_files(pid: int) -> int:
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0
