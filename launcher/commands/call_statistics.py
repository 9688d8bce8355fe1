"""What many calls of one kind took: how they are spread, and which were refused.

Pure. Times are milliseconds seen by the caller. What each call was spent on comes from its own reply; for a
server that does not tell, the percentiles of its `stats` are shown, where it has them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from launcher.commands.call_times import parts_of

__all__ = ["Measured", "percentile", "statistics_lines", "statistics_report"]

SCHEMA = "lucid.call/1"
_FIGURES = ("min", "mean", "p50", "p90", "p99", "max")
_STAGES = ("queue", "tokenize", "infer", "total")


@dataclass
class Measured:
    """Calls on one connection, one after another; `stages` is `latency_ms` of the server's `stats`."""

    service: str
    kind: str
    connect_ms: float
    took_ms: list[float] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    elapsed_s: float = 0.0
    stages: Mapping[str, Any] = field(default_factory=dict)
    parts: dict[str, list[float]] = field(default_factory=dict)

    def add(self, reply: Mapping[str, Any], took_ms: float) -> None:
        """Take one reply in; a refused call counts by its code, and its time with the others."""
        self.took_ms.append(took_ms)
        for name, ms in parts_of(reply, took_ms).items():
            self.parts.setdefault(name, []).append(ms)
        if reply.get("status") != "success":
            self.refusals[str(reply.get("code") or "no code")] += 1

    @property
    def per_second(self) -> float | None:
        """Calls a second; None when no time has passed."""
        return len(self.took_ms) / self.elapsed_s if self.elapsed_s > 0 else None


def percentile(sorted_values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of at least one value, in ascending order."""
    return sorted_values[max(0, ceil(percent / 100 * len(sorted_values)) - 1)]


def statistics_report(measured: Measured) -> dict[str, Any]:
    """The run as a document of schema `lucid.call/1`."""
    return {
        "schema": SCHEMA,
        "service": measured.service,
        "type": measured.kind,
        "count": len(measured.took_ms),
        "errors": dict(measured.refusals),
        "elapsed_s": round(measured.elapsed_s, 6),
        "per_second": None if measured.per_second is None else round(measured.per_second, 3),
        "connect_ms": round(measured.connect_ms, 3),
        "reply_ms": _spread(measured.took_ms),
        "timing_ms": {name: _spread(values) for name, values in measured.parts.items()},
        "server_ms": {name: _stage(measured.stages.get(name)) for name in _STAGES},
    }


def statistics_lines(measured: Measured) -> list[str]:
    """The run as a small table with what the time was spent on, then the refusals."""
    report = statistics_report(measured)
    rate = "" if measured.per_second is None else f", {measured.per_second:.0f}/s"
    count = report["count"]
    lines = [
        f"{count} call{'s' * (count != 1)} of {measured.service} {measured.kind} one after another:"
        f" {measured.elapsed_s:.2f} s{rate}; connect {measured.connect_ms:.1f} ms",
        _row("ms", [f"{name:>8}" for name in _FIGURES]),
        _row("reply", [_cell(report["reply_ms"][name]) for name in _FIGURES]),
    ]
    lines += _stage_lines(report)
    lines += [f"{number} refused: {code}" for code, number in measured.refusals.most_common()]
    return lines


def _stage_lines(report: Mapping[str, Any]) -> list[str]:
    """What the calls were spent on; of a server that does not tell, its last minute."""
    stages = report["timing_ms"] or {name: told for name, told in report["server_ms"].items() if told}
    if not stages:
        return []
    remark = "what these calls were spent on; `server` is the rest of its work"
    if not report["timing_ms"]:
        remark = "the server's own times over its last minute, calls of others included"
    rows = [
        _row(f"  {name}", [_cell(told.get(figure)) for figure in _FIGURES]) for name, told in stages.items()
    ]
    return [*rows, f"indented: {remark}"]


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:<11}{''.join(cells)}"


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    spread = {
        "min": ordered[0],
        "mean": sum(ordered) / len(ordered),
        "max": ordered[-1],
        **{f"p{percent}": percentile(ordered, percent) for percent in (50, 90, 99)},
    }
    return {name: round(spread[name], 3) for name in _FIGURES}


def _stage(told: object) -> dict[str, float] | None:
    """The percentiles that a server tells of one stage; None when it tells none."""
    if not isinstance(told, Mapping):
        return None
    known = {name: told[name] for name in ("p50", "p99") if isinstance(told.get(name), int | float)}
    return known or None


def _cell(value: float | None) -> str:
    return f"{'-' if value is None else f'{value:.2f}':>8}"
