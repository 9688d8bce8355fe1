"""One child and its GPUs: whether they still exist, what it uses of them, whether it computes there at all.

Decides that a child may move when its GPU has gone and its file says `auto`, how much memory counts as its
own, and when the device that it tells of is not the one it was given. Does not know states.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from launcher.children.gpu_watch import GpuWatch
from launcher.configuration.choices import AutoGpu, NamedGpus
from launcher.gpus import GpuReport
from launcher.placement import Assignment, GpuFacts, GpuRequest, plan_placement
from launcher.planning.prepared import PreparedChild, visible_gpus

if TYPE_CHECKING:
    from launcher.configuration.models import Service

__all__ = ["ChildGpu", "GpuGone", "find_mismatch", "own_vram_bytes", "seat_again"]

_GIB = 1024**3


class GpuGone(Exception):
    """A GPU that the file names does not answer any more; the text says which and why."""


class ChildGpu:
    """One child's use of its GPUs, through all its generations; lives on the loop's thread."""

    def __init__(self, watch: GpuWatch) -> None:
        """Ask `watch`; nothing is asked for a child without a GPU."""
        self.vram_bytes: int | None = None
        self._watch = watch
        self._pids: set[int] = set()

    async def take_seat(self, prepared: PreparedChild, environ: Mapping[str, str]) -> Assignment:
        """Return where the next generation computes; raises GpuGone."""
        self.vram_bytes = None
        self._pids.clear()
        if not prepared.gpu.ids:
            return prepared.gpu
        service = prepared.service
        request = GpuRequest(
            prepared.name, service.name, service.gpu, service.vram_bytes, prepared.replica, service.replicas
        )
        return seat_again(request, prepared.gpu, await self._watch.refresh(), visible_gpus(environ))

    def observe(self, seat: Assignment, pids: Collection[int], stats: Mapping[str, Any] | None) -> None:
        """Take what the last report says of the child's processes `pids`."""
        self._pids.update(pids)
        report = self._watch.report
        gpus = () if report is None else report.gpus
        self.vram_bytes = own_vram_bytes(gpus, seat, self._pids, stats)

    async def wait_released(self, seat: Assignment) -> str | None:
        """Return once the memory of the generation that ended is free; a sentence when it does not get so."""
        self.vram_bytes = None
        return await self._watch.wait_released(seat.ids, self._pids)


def seat_again(
    request: GpuRequest, seat: Assignment, report: GpuReport, visible: Sequence[str] | None
) -> Assignment:
    """Return the child's assignment as of now: `seat` while all its GPUs are there, else another one.

    Raises GpuGone when the file names the GPU, as then nothing else will do.
    """
    there = {gpu.uuid for gpu in report.gpus}
    lost = [uuid for uuid in seat.ids if uuid not in there]
    if not lost:
        return seat
    why = f"{lost[0]} is gone ({report.problem or 'the driver lists it no more'})"
    if not isinstance(request.gpu, AutoGpu):
        raise GpuGone(why)
    plan = plan_placement([request], report.gpus, visible=visible, problem=report.problem)
    found = plan.assignments[request.child]
    where = ", ".join(found.ids) or "the CPU, which is many times slower"
    note = f"{request.child} runs on {where} now: {why}"
    return Assignment(found.ids, found.device, found.cuda_visible_devices, note, found.cpus)


def find_mismatch(service: Service, seat: Assignment, device: str) -> str | None:
    """Return what is wrong when a child that was given a GPU says that it computes on `device`; else None.

    A command that was given one only because `auto` is the default may do without.
    """
    if not seat.ids or device.startswith("cuda"):
        return None
    if service.server is None and not isinstance(service.gpu, NamedGpus):
        return None
    if service.options.get("device") == "cpu" or service.options.get("backend") == "debug":
        return None
    return (
        f"it was given {', '.join(seat.ids)} and computes on {device}: its torch cannot use the GPU; "
        "see what is missing with  lucid-launch doctor , or set  gpu: none"
    )


def own_vram_bytes(
    gpus: Collection[GpuFacts], seat: Assignment, pids: Collection[int], stats: Mapping[str, Any] | None
) -> int | None:
    """Return how much GPU memory the child's processes hold, None when that cannot be known.

    As NVML tells it; where it shows no process of ours (a PID namespace), what torch says it has reserved.
    """
    if not seat.ids:
        return None
    families = {gpu.uuid: gpu.parent or gpu.uuid for gpu in gpus}
    most: dict[tuple[str, int], int] = {}
    for gpu in gpus:
        for holder in gpu.holders:
            if holder.pid in pids and holder.used_bytes is not None:
                # A MIG device's processes may be listed at its GPU too.
                key = (families[gpu.uuid], holder.pid)
                most[key] = max(most.get(key, 0), holder.used_bytes)
    return sum(most.values()) if most else _reserved_bytes(stats)


def _reserved_bytes(stats: Mapping[str, Any] | None) -> int | None:
    told = (stats or {}).get("gpu")
    cached = told.get("cached") if isinstance(told, Mapping) else None
    is_number = isinstance(cached, int | float) and not isinstance(cached, bool)
    return int(cached * _GIB) if is_number and cached is not None else None
