"""What the status document says of a GPU, in the few characters that a line has for it.

Pure. What the driver does not tell is left out, or `-`, never 0.
"""

from collections.abc import Mapping
from typing import Any

from launcher.terminal import cells
from launcher.terminal.sanitize import clean

__all__ = ["gpu_figure", "gpu_label", "gpu_memory", "gpu_rows", "gpu_users", "heat_and_power", "known_gpus"]

_UNITS = {"utilization": "percent", "temperature": "c", "power": "w"}

Document = Mapping[str, Any]


def known_gpus(document: Document) -> list[Document]:
    """The GPUs of the document that can be told apart."""
    return [gpu for gpu in document.get("gpus") or [] if gpu.get("uuid")]


def gpu_figure(gpu: Document, figure: str) -> float | None:
    """A figure of a GPU (utilization in percent, temperature in Celsius, power in watts); None if unknown."""
    value = gpu.get(f"{figure}_{_UNITS[figure]}", gpu.get(figure))
    return float(value) if isinstance(value, int | float) else None


def gpu_memory(gpu: Document) -> tuple[float | None, float | None]:
    """Bytes used and bytes there are."""
    used, total, free = gpu.get("used_bytes"), gpu.get("total_bytes"), gpu.get("free_bytes")
    if used is None and total is not None and free is not None:
        used = total - free
    return used, total or None


def gpu_label(gpu: Document) -> str:
    """`GPU 0 H200`, or `MIG …` for a part of one."""
    number = "MIG" if gpu.get("index") is None else f"GPU {gpu['index']}"
    return f"{number} {clean(str(gpu.get('name') or '')).removeprefix('NVIDIA ')}"


def heat_and_power(gpu: Document, *, ascii_only: bool = False) -> str:
    """`54°C  212 W`, as far as the driver tells."""
    temperature, power = gpu_figure(gpu, "temperature"), gpu_figure(gpu, "power")
    degree = " C" if ascii_only else "°C"
    parts = [] if temperature is None else [f"{temperature:.0f}{degree}"]
    parts += [] if power is None else [f"{power:.0f} W"]
    return "  ".join(parts)


def gpu_users(uuid: str, document: Document) -> list[str]:
    """The children that run on this GPU: as the supervisor says, else those that were placed on it."""
    told = next(
        (gpu.get("children") for gpu in document.get("gpus") or [] if str(gpu.get("uuid")) == uuid), None
    )
    if told is not None:
        return [clean(str(name)) for name in told]
    return [
        clean(str(child["name"]))
        for service in document.get("services", {}).values()
        for child in service.get("children") or []
        if uuid in ((child.get("gpu") or {}).get("ids") or []) and child.get("pid") is not None
    ]


def gpu_rows(document: Document, *, ascii_only: bool = False) -> list[str]:
    """`GPU 0 H200   31%  18.2G/139G  54°C  212 W  inference`: a line for each; [] where there is none."""
    gpus = known_gpus(document)
    widest = max((len(gpu_label(gpu)) for gpu in gpus), default=0)
    rows = []
    for gpu in gpus:
        utilization, (used, total) = gpu_figure(gpu, "utilization"), gpu_memory(gpu)
        parts = [
            gpu_label(gpu).ljust(widest),
            f"{cells.UNKNOWN if utilization is None else f'{utilization:.0f}%':>4}",
            "" if total is None else f"{cells.size(used)}/{cells.size(total)}",
            heat_and_power(gpu, ascii_only=ascii_only),
            clean(str(gpu.get("problem") or "")),
            ", ".join(gpu_users(str(gpu["uuid"]), document)),
        ]
        rows.append("  ".join(part for part in parts if part))
    return rows
