"""The comparison as a table, and the bounds that our figures are held to: pure but for the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["broken_bounds", "write_table"]

Outcome = Mapping[str, Any]

_SHOWN: dict[str, tuple[str, Callable[[Outcome], str]]] = {
    "respawn": (
        "respawn after kill -9, ms p50 / p99 / max (n)",
        lambda o: f"{o['p50']} / {o['p99']} / {o['max']} ({o['n']})" if o["n"] else "never",
    ),
    "idle": (
        "4 services: MB RSS of the main process; RSS / PSS of all (n); CPU ms/s",
        lambda o: (
            f"{o['main_rss_mb']}; {o['rss_mb']} / {o['pss_mb']} ({o['processes']}); {o['cpu_ms_per_s']}"
        ),
    ),
    "flood": (
        "1 GB of logs: RSS before → after MB; seconds",
        lambda o: f"{o['rss_before_mb']} → {o['rss_after_mb']}; {o['seconds'] or 'over 60'}",
    ),
    "log-lines": (
        "lines at 1 M/min: lost, doubled (of)",
        lambda o: f"{o['lost']}, {o['doubled']} ({o['lines']})",
    ),
    "status": ("status, whole process, ms p50 / p99", lambda o: f"{o['p50']} / {o['p99']}"),
}

_BOUNDS: dict[str, dict[str, float]] = {
    "respawn": {"p50": 10, "p99": 30, "never_came_back": 0},
    "idle": {"main_rss_mb": 32, "cpu_ms_per_s": 2},
    "flood": {"grown_mb": 2},
    "log-lines": {"lost": 0, "doubled": 0},
    "status": {"p50": 150},
}


def write_table(results: Mapping[str, Any], path: Path) -> None:
    """Write all rows that have been measured so far, a column for each system."""
    rows: Mapping[str, Mapping[str, Outcome]] = results["rows"]
    systems = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [["", *(f"{name} {results['versions'].get(name, '')}".strip() for name in systems)]]
    for row, outcomes in rows.items():
        title, show = _SHOWN.get(row, (_title(row), _show_restarts if "refused" in row else _show_orphans))
        lines.append([title, *(_cell(outcomes.get(name), show) for name in systems)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(systems) + 1)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    machine = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    path.write_text("\n".join([machine, *results.get("notes", ()), "", *text]) + "\n")


def broken_bounds(rows: Mapping[str, Mapping[str, Outcome]], ours: str, chosen: Iterable[str]) -> list[str]:
    """Every figure of ours in the chosen rows that is beyond its bound, and every row that failed."""
    broken = []
    for row in chosen:
        outcome = rows.get(row, {}).get(ours)
        if outcome is None or "not_offered" in outcome:
            continue
        if "failed" in outcome:
            broken.append(f"{row}: {outcome['failed']}")
            continue
        broken += [
            f"{row} {figure} is {outcome[figure]}, at most {bound:g}"
            for figure, bound in _bounds_of(row).items()
            if outcome[figure] > bound
        ]
    return broken


def _bounds_of(row: str) -> dict[str, float]:
    if row.startswith("refused"):
        return {"refused": 0, "failed_restarts": 0}
    if row.startswith("orphans"):
        # With the sentinel dead as well, the next `up` sweeps what children left behind: not bounded.
        return {} if row == "orphans-all" else {"orphans": 0}
    return _BOUNDS[row]


def _title(row: str) -> str:
    kind, _, detail = row.partition("-")
    if kind == "refused":
        return f"refused in restarts by {detail}: refused / restarts (longest wait ms)"
    return f"kill -9 of {detail}: orphans / children"


def _show_restarts(outcome: Outcome) -> str:
    failed = f", {outcome['failed_restarts']} not back" if outcome["failed_restarts"] else ""
    return f"{outcome['refused']} / {outcome['restarts']} ({outcome['longest_wait_ms']}){failed}"


def _show_orphans(outcome: Outcome) -> str:
    back = ", supervised again" if outcome["supervised_again"] else ""
    return f"{outcome['orphans']} / {outcome['children_before']}{back}"


def _cell(outcome: Outcome | None, show: Callable[[Outcome], str]) -> str:
    if outcome is None:
        return "–"
    if "not_offered" in outcome:
        return outcome["not_offered"]
    return "failed" if "failed" in outcome else show(outcome)
