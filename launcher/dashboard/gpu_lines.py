"""A line for each GPU: how busy it is and was, how full, how warm, and who runs on it.

Pure. Colours say at which end of its range a figure is; the figures say it without them.
"""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from launcher.dashboard.history import History
from launcher.terminal import cells
from launcher.terminal.gpu_cells import (
    gpu_figure,
    gpu_label,
    gpu_memory,
    gpu_users,
    heat_and_power,
    known_gpus,
)
from launcher.terminal.sanitize import clean

__all__ = ["gpu_lines", "gpu_summary"]

SPARK_WIDTH = 20
BAR_WIDTH = 10
WIDE = 92
# Where a figure begins to be remarkable, and where it is high (the bounds of nvitop).
_BUSY_PERCENT = (10.0, 75.0)
_FULL_PERCENT = (10.0, 80.0)


def gpu_lines(
    document: Mapping[str, Any], history: History, width: int, *, ascii_only: bool = False
) -> list[Text]:
    """`GPU 0 NVIDIA H200  31% ▂▃▅  18.2G/139G ██░░  54°C  212 W  inference`; [] where there is none."""
    gpus = known_gpus(document)
    names = {str(gpu["uuid"]): gpu_label(gpu) for gpu in gpus}
    widest = max((len(name) for name in names.values()), default=0)
    return [
        _line(gpu, names[str(gpu["uuid"])].ljust(widest), document, history, width, ascii_only)
        for gpu in gpus
    ]


def gpu_summary(gpu: Mapping[str, Any]) -> Text:
    """`GPU0 31% 18.2G/139G`, for a place in the first line; what is unknown is left out."""
    utilization = gpu_figure(gpu, "utilization")
    words = [f"GPU{gpu.get('index', '?')}"]
    words += [] if utilization is None else [f"{utilization:.0f}%"]
    used, total = gpu_memory(gpu)
    words += [] if total is None else [f"{cells.size(used)}/{cells.size(total)}"]
    return Text(" ".join(words))


def _line(
    gpu: Mapping[str, Any],
    name: str,
    document: Mapping[str, Any],
    history: History,
    width: int,
    ascii_only: bool,
) -> Text:
    """One GPU, with as much as fits."""
    line = Text(f" {name}  ", no_wrap=True, overflow="ellipsis")
    utilization = gpu_figure(gpu, "utilization")
    percent = f"{cells.UNKNOWN:>4}" if utilization is None else f"{utilization:3.0f}%"
    line.append(percent, style=_warmth(utilization, _BUSY_PERCENT))
    if width >= WIDE:
        samples = history.of(str(gpu["uuid"]), "utilization")
        spark = cells.sparkline(samples, SPARK_WIDTH, full=100.0, ascii_only=ascii_only)
        line.append(f" {spark:<{SPARK_WIDTH}}", style="cyan")
    _append_memory(line, gpu, width, ascii_only)
    heat = heat_and_power(gpu, ascii_only=ascii_only)
    line.append(f"  {heat}" if heat else "")
    if gpu.get("problem"):
        return line.append(f"  {clean(str(gpu['problem']))}", style="red")
    users = gpu_users(str(gpu["uuid"]), document)
    return line.append(f"  {', '.join(users)}" if users else "", style="dim")


def _append_memory(line: Text, gpu: Mapping[str, Any], width: int, ascii_only: bool) -> None:
    used, total = gpu_memory(gpu)
    if total is None:
        return
    share = None if used is None else 100 * used / total
    text = f"  {cells.size(used)}/{cells.size(total)}"
    line.append(text, style=_warmth(share, _FULL_PERCENT))
    if share is not None and width >= WIDE:
        line.append(
            f" {cells.bar(share / 100, BAR_WIDTH, ascii_only=ascii_only)}",
            style=_warmth(share, _FULL_PERCENT),
        )


def _warmth(percent: float | None, bounds: tuple[float, float]) -> str:
    if percent is None:
        return "dim"
    low, high = bounds
    return "green" if percent < low else "yellow" if percent < high else "red"
