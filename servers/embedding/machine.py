"""What this machine is, as far as it decides which engine is fastest; read without any heavy import.

It decides what counts as another machine (CPU, its instructions, GPUs, versions of the libraries), and how
many CPU threads an engine may use.
"""

import hashlib
import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

_LIBRARIES: Final = ("torch", "transformers", "sentence-transformers", "openvino", "onnxruntime")
_ENGINES: Final = {"torch": "torch", "openvino": "openvino", "onnx": "onnxruntime"}
_BFLOAT16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_NVIDIA: Final = Path("/proc/driver/nvidia/gpus")


@cache
def library_version(name: str) -> str | None:
    """Return the installed version of a distribution, or None when it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def installed_backends() -> frozenset[str]:
    """Return the engines whose libraries are installed, without importing any."""
    return frozenset(backend for backend, module in _ENGINES.items() if find_spec(module) is not None)


def has_bfloat16(cpuinfo: str | None = None) -> bool:
    """Tell whether this CPU multiplies bfloat16 matrices itself (AVX512-BF16, AMX, Arm BF16)."""
    return bool(_cpu_flags(cpuinfo if cpuinfo is not None else _read_cpuinfo()) & _BFLOAT16_FLAGS)


def may_have_cuda(environ: Mapping[str, str], gpus: Path = _NVIDIA) -> bool:
    """Tell whether `device: auto` could mean a GPU here: the driver knows one and it is not hidden."""
    if environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1", "NoDevFiles"):
        return False
    return gpus.is_dir() and any(gpus.iterdir())


def describe_machine() -> dict[str, Any]:
    """Return what a remembered choice is only good for: this CPU, these GPUs, these library versions."""
    cpuinfo = _read_cpuinfo()
    flags = " ".join(sorted(_cpu_flags(cpuinfo)))
    gpus = sorted(path.read_text("utf-8") for path in _NVIDIA.glob("*/information"))
    return {
        "cpu": _field(cpuinfo, "model name") or platform.processor() or platform.machine(),
        "cpu_flags": hashlib.sha256(flags.encode()).hexdigest()[:12],
        "cpu_count": os.cpu_count(),
        "gpus": hashlib.sha256("".join(gpus).encode()).hexdigest()[:12] if gpus else None,
        "versions": {name: library_version(name) for name in _LIBRARIES},
    }


def cpu_threads(
    threads: int | None, environ: Mapping[str, str], quota: Path = Path("/sys/fs/cgroup/cpu.max")
) -> int:
    """Return how many CPU threads to compute with: `threads`, else OMP_NUM_THREADS, else the cores allowed.

    Allowed are the cores of the process's affinity mask, and no more than its control group's quota.
    """
    if threads is not None:
        return threads
    told = environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if told.isdecimal() and int(told) > 0:
        return int(told)
    return max(1, min(len(os.sched_getaffinity(0)), _quota_cores(quota)))


def _quota_cores(quota: Path) -> int:
    unlimited = os.cpu_count() or 1
    try:
        most, period = quota.read_text("utf-8").split()
    except (OSError, ValueError):
        return unlimited  # no control group, or none with a quota: nothing limits the cores
    return unlimited if most == "max" else max(1, round(int(most) / int(period)))


def _read_cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text("utf-8") if path.is_file() else ""


def _cpu_flags(cpuinfo: str) -> set[str]:
    return set((_field(cpuinfo, "flags") or _field(cpuinfo, "Features") or "").split())


def _field(cpuinfo: str, name: str) -> str | None:
    for line in cpuinfo.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == name:
            return value.strip()
    return None
