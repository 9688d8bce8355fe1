"""What GPUs this machine has, as NVML (the NVIDIA management library) tells it.

Decides nothing about who gets one: that is `placement`. A GPU that is split by MIG is listed as such, and
each of its MIG devices beside it. Anything that can `read()` a report can stand in for NVML.
"""

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from launcher.placement import GpuFacts, GpuHolder
from launcher.procfs import read_stat

__all__ = ["GpuFacts", "GpuHolder", "GpuReader", "GpuReport", "NvmlReader", "read_gpus"]

_WORD_BITS = 64
_CORE_SENSOR = 0  # NVML_TEMPERATURE_GPU


@dataclass(frozen=True)
class GpuReport:
    """The GPUs found; `problem` says why there are none, or which one could not be read."""

    gpus: tuple[GpuFacts, ...]
    driver_version: str | None = None
    problem: str | None = None


class GpuReader(Protocol):
    """Where facts about GPUs come from."""

    def read(self) -> GpuReport:
        """The GPUs as they are now; never raises, a failure is in the report."""


class NvmlReader:
    """Reads GPUs through nvidia-ml-py (the module `pynvml`, or one given that looks like it).

    Used by one thread at a time. With `keep_open` NVML stays open between readings, which spares a driver
    without persistence mode a second each time; after an error it is opened anew. `close` gives it back.
    """

    def __init__(self, nvml: ModuleType | Any | None = None, *, keep_open: bool = False) -> None:
        self._nvml: Any = nvml
        self._keep_open = keep_open
        self._is_open = False

    def read(self) -> GpuReport:
        """The GPUs as NVML sees them now; without a driver an empty report that says so."""
        if self._nvml is None:
            self._nvml = importlib.import_module("pynvml")
        nvml = self._nvml
        if not self._is_open:
            try:
                nvml.nvmlInit()
            except nvml.NVMLError as error:
                return GpuReport((), problem=_why_not(nvml, error))
            self._is_open = True
        report = _read_all(nvml)
        if report.problem is not None or not self._keep_open:
            self.close()
        return report

    def close(self) -> None:
        """Give NVML back; idempotent."""
        if self._is_open:
            self._is_open = False
            with suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()


def read_gpus() -> Sequence[GpuFacts]:
    """The GPUs of this machine; empty without a driver."""
    return NvmlReader().read().gpus


def _why_not(nvml: Any, error: Exception) -> str:
    absent = tuple(
        getattr(nvml, name)
        for name in ("NVMLError_LibraryNotFound", "NVMLError_DriverNotLoaded")
        if hasattr(nvml, name)
    )
    if isinstance(error, absent):
        return "no NVIDIA driver answers (a container needs to be started with GPUs)"
    return f"the NVIDIA driver cannot be asked: {error}"


def _read_all(nvml: Any) -> GpuReport:
    try:
        return _read(nvml)
    except nvml.NVMLError as error:
        return GpuReport((), problem=f"the NVIDIA driver answers with an error: {error}")


def _read(nvml: Any) -> GpuReport:
    version = str(nvml.nvmlSystemGetDriverVersion())
    gpus: list[GpuFacts] = []
    broken: list[str] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            gpus.extend(_device(nvml, index))
        except nvml.NVMLError as error:
            # One lost card must not hide the healthy ones.
            broken.append(f"GPU {index} does not answer: {error}")
    return GpuReport(tuple(gpus), version, "; ".join(broken) or None)


def _device(nvml: Any, index: int) -> Iterator[GpuFacts]:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    parts = list(_mig_handles(nvml, handle))
    facts = _facts(nvml, handle, index=index, is_split=_is_split(nvml, handle))
    yield facts
    for part in parts:
        yield _facts(nvml, part, index=None, parent=facts.uuid)


def _facts(
    nvml: Any, handle: Any, *, index: int | None, is_split: bool = False, parent: str | None = None
) -> GpuFacts:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return GpuFacts(
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        index=index,
        name=_text(nvml.nvmlDeviceGetName(handle)),
        total_bytes=int(memory.total),
        free_bytes=int(memory.free),
        holders=tuple(_holders(nvml, handle)),
        is_split=is_split,
        parent=parent,
        cpus=_near_cpus(nvml, handle),
        utilization_percent=_utilization(nvml, handle),
        temperature_c=_or_default(nvml, None, nvml.nvmlDeviceGetTemperature, handle, _CORE_SENSOR),
        power_w=_power(nvml, handle),
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _holders(nvml: Any, handle: Any) -> Iterator[GpuHolder]:
    """Who uses the GPU; empty where the driver or a PID namespace hides it."""
    for process in _or_default(nvml, [], nvml.nvmlDeviceGetComputeRunningProcesses, handle):
        used = process.usedGpuMemory
        facts = read_stat(int(process.pid))
        name = None if facts is None else facts.name
        yield GpuHolder(int(process.pid), None if used is None else int(used), name)


def _near_cpus(nvml: Any, handle: Any) -> tuple[int, ...]:
    """The processors of the GPU's NUMA node, from a mask of 64-bit words."""
    words = -(-(os.cpu_count() or 1) // _WORD_BITS)
    mask = _or_default(nvml, [], nvml.nvmlDeviceGetCpuAffinity, handle, words)
    return tuple(
        place * _WORD_BITS + bit
        for place, word in enumerate(mask)
        for bit in range(_WORD_BITS)
        if int(word) >> bit & 1
    )


def _utilization(nvml: Any, handle: Any) -> int | None:
    rates = _or_default(nvml, None, nvml.nvmlDeviceGetUtilizationRates, handle)
    return None if rates is None else int(rates.gpu)


def _power(nvml: Any, handle: Any) -> float | None:
    """Watts; NVML tells milliwatts."""
    milliwatts = _or_default(nvml, None, nvml.nvmlDeviceGetPowerUsage, handle)
    return None if milliwatts is None else milliwatts / 1000


def _is_split(nvml: Any, handle: Any) -> bool:
    current, _ = _or_default(nvml, (0, 0), nvml.nvmlDeviceGetMigMode, handle)
    return bool(current)


def _mig_handles(nvml: Any, handle: Any) -> Iterator[Any]:
    if not _is_split(nvml, handle):
        return
    for slot in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        part = _or_default(nvml, None, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, slot)
        if part is not None:
            yield part


def _or_default(nvml: Any, default: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """What NVML answers; `default` where this card or driver lacks the feature or the slot is empty."""
    absent = ("NotSupported", "FunctionNotFound", "NotFound", "NoPermission", "InvalidArgument")
    named = (f"NVMLError_{name}" for name in absent)
    errors = tuple(getattr(nvml, name) for name in named if hasattr(nvml, name))
    try:
        return function(*arguments)
    except errors:
        return default
