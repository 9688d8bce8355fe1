"""What the GPUs look like now, kept by one thread, as a driver may take seconds to answer or never do.

Decides that one reading serves all who ask at the same time, and how long an answer is waited for. Who uses a
GPU is `children.gpu_use`; who gets one is `placement`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from launcher.configuration.units import format_size
from launcher.gpus import GpuReport
from launcher.placement import GpuFacts

__all__ = ["GpuWatch"]

_ANSWER_LIMIT_S = 5.0
_RELEASE_POLL_S = 0.25
_RELEASE_LIMIT_S = 10.0


class ClosableReader(Protocol):
    """Where facts about GPUs come from, and how it is given back."""

    def read(self) -> GpuReport:
        """The GPUs as they are now; never raises."""

    def close(self) -> None:
        """Hold nothing any more; the next `read` opens it again."""


class GpuWatch:
    """The latest report, and everything that waits for a newer one; `read` may be called from any thread."""

    def __init__(self, reader: ClosableReader) -> None:
        """Read through `reader`, one reading at a time."""
        self.report: GpuReport | None = None
        self.read_at: float | None = None
        """When `report` came, in seconds of the monotonic clock."""
        self._reader = reader
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="nvml")
        self._reading: asyncio.Future[GpuReport] | None = None

    def read(self) -> GpuReport:
        """Read now, on this very thread."""
        with self._lock:
            report = self._reader.read()
            self.report, self.read_at = report, time.monotonic()
        return report

    async def refresh(self) -> GpuReport:
        """Return the next report that comes; when the driver is silent, the last one with that as problem."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().run_in_executor(self._worker, self.read)
        reading = self._reading
        try:
            async with asyncio.timeout(_ANSWER_LIMIT_S):
                report = await asyncio.shield(reading)
        except TimeoutError:
            # The thread is stuck in the driver; the next call waits for the same answer.
            silent = f"the NVIDIA driver has not answered for {_ANSWER_LIMIT_S:g} s"
            self.report = replace(self.report or GpuReport(()), problem=silent)
            return self.report
        if self._reading is reading:
            self._reading = None
        return report

    async def wait_released(self, ids: Collection[str], pids: Collection[int]) -> str | None:
        """Return once none of `pids` holds memory of these GPUs and no more of it is being freed.

        After ten seconds it is given up: returns a sentence that names what is still held, else None.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _RELEASE_LIMIT_S
        free_before: dict[str, int] | None = None
        while True:
            gpus = [gpu for gpu in (await self.refresh()).gpus if gpu.uuid in ids]
            held = _held_by(gpus, pids)
            free = {gpu.uuid: gpu.free_bytes for gpu in gpus}
            # In a PID namespace the holders cannot be told, so the free memory has to come to rest too.
            is_rising = free_before is None or any(free[uuid] > free_before.get(uuid, 0) for uuid in free)
            if not gpus or not (held or is_rising):
                return None
            if loop.time() >= deadline:
                return held
            free_before = free
            await asyncio.sleep(_RELEASE_POLL_S)

    def close(self) -> None:
        """Let thread and driver go; a thread that is stuck in the driver is not waited for."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        if self._lock.acquire(blocking=False):
            self._reader.close()
            self._lock.release()


def _held_by(gpus: Collection[GpuFacts], pids: Collection[int]) -> str | None:
    for gpu in gpus:
        for holder in gpu.holders:
            if holder.pid in pids:
                size = "an unknown amount" if holder.used_bytes is None else format_size(holder.used_bytes)
                return f"pid {holder.pid} still holds {size} of {gpu.uuid}"
    return None
