"""What the memory benchmark's figures come to: every bound with its figure, and whether it is kept.

Decides which figures are compared with which; measures nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Figures = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One bound: what it is about, the bound in words, the figure, and whether it keeps the bound."""

    what: str
    bound: str
    figure: float
    unit: str
    kept: bool

    def line(self) -> str:
        """Return it as one line of the table."""
        verdict = "kept" if self.kept else "MISSED"
        return f"{self.what:66}{self.bound:>14}{self.figure:>12.4g} {self.unit:6}{verdict}"


def rows(parts: Figures) -> Iterator[Row]:
    """Yield the bounds of all parts that were measured."""
    for name, of in _PARTS.items():
        if name in parts:
            yield from of(parts[name])


def _stores(found: Figures) -> Iterator[Row]:
    ways = {"": "one a request"}
    if "items together" in found:
        ways["_together"] = f"{found['items together']} a request"
    for way, said in ways.items():
        ours = statistics.median(found[f"ours{way}"])
        yield _at_least(f"durable stores, 64 clients, {said}, each acknowledged synced", 10_000, ours, "/s")
        for name, least in (("chroma", 10), ("lancedb", 5)):
            if f"{name}{way}" in found:
                ratio = ours / statistics.median(found[f"{name}{way}"])
                yield _at_least(f"the same / {name}, as it comes, {said}", least, ratio, "x")
    beyond = statistics.median(
        lone - sync for lone, sync in zip(found["lone_ms"], found["fdatasync_ms"], strict=True)
    )
    yield _at_most("a lone client's store, p50, beyond one fdatasync", 1.0, beyond, "ms")


def _search(found: Figures) -> Iterator[Row]:
    def ratio(over: str, under: str, times: float = 1.0) -> float:
        return times * float(statistics.median(a / b for a, b in zip(found[over], found[under], strict=True)))

    yield _at_most("exact top-10 of 1 M, one query / one read of the vectors", 0.6, ratio("one", "read"), "x")
    yield _at_least("32 queries at once: rate / rate of single ones", 6, ratio("one", "together", 32), "x")
    if "faiss_one" in found:
        yield _at_least("one query: faiss IndexFlatIP / ours", 4, ratio("faiss_one", "one"), "x")
        yield _at_least("32 queries: faiss / ours", 5, ratio("faiss_together", "together"), "x")
        yield _at_most("answers that are not the exact ones", 0, found["wrong"], "")


def _retrieve(found: Figures) -> Iterator[Row]:
    ratio = statistics.median(
        served["p99_ms"] / alone["p99_ms"]
        for served, alone in zip(found["served"], found["alone"], strict=True)
    )
    yield _at_most("retrieve over WebSocket, p99 / embedding + search alone", 2, ratio, "x")


def _mixed(found: Figures) -> Iterator[Row]:
    ratio = statistics.median(
        beside / idle for beside, idle in zip(found["beside"], found["idle"], strict=True)
    )
    stored = statistics.median(found["stored_per_second"])
    yield _at_least("searches beside stores / idle", 0.7, ratio, "x")
    yield _at_least("stores acknowledged meanwhile", 980, stored, "/s")
    yield _at_most(f"acknowledged, but not seen at once (of {found['checked']})", 0, found["unseen"], "")


def _start(found: Figures) -> Iterator[Row]:
    beyond = statistics.median(found["resident_mb"]) - found["rows"] * 384 * 4 / (1 << 20)
    ready = statistics.median(found["ready_s"])
    yield _at_most("start with 1 M memories: spawn to ready", 10, ready, "s")
    yield _at_most("resident memory then, beyond the vectors", 400, beyond, "MiB")


def _budget(found: Figures) -> Iterator[Row]:
    for budget in found["budgets"].split():
        figures = found[budget]
        most = int(budget.removesuffix("MiB"))
        yield _at_most(
            f"index_memory {budget}: resident for the index", most, figures["limited_index_mb"], "MiB"
        )
        ratio = figures["limited_search_ms"] / figures["unlimited_search_ms"]
        yield _at_most(f"index_memory {budget}: search / without", 4, ratio, "x")
        yield _at_most(f"index_memory {budget}: answers unlike those without", 0, figures["unlike"], "")


def _gpu(found: Figures) -> Iterator[Row]:
    yield _at_least("GPU, batches of 64", 7_000, found["queries_per_second"], "/s")
    yield _at_least("of the memory bandwidth", 0.6, found["bandwidth_share"], "x")


_PARTS: dict[str, Callable[[Figures], Iterator[Row]]] = {
    "stores": _stores,
    "search": _search,
    "retrieve": _retrieve,
    "mixed": _mixed,
    "start": _start,
    "budget": _budget,
    "gpu": _gpu,
}


def _at_least(what: str, bound: float, figure: float, unit: str) -> Row:
    return Row(what, f">= {bound:g}", figure, unit, figure >= bound)


def _at_most(what: str, bound: float, figure: float, unit: str) -> Row:
    return Row(what, f"<= {bound:g}", figure, unit, figure <= bound)


def table(result: Figures) -> str:
    """Return the result as text for people."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    lines = [
        f"machine: {machine['cpu']}, {machine['cpu_count']} cores; Python {machine['python']}; {versions}",
        "medians over the rounds, of ratios within each round",
        "",
        f"{'':66}{'bound':>14}{'figure':>12}",
        *(row.line() for row in rows(result["parts"])),
        *("not measured: " + name for name in _PARTS if name not in result["parts"]),
        "",
        *_details(result["parts"]),
    ]
    return "\n".join(lines) + "\n"


def _details(parts: Figures) -> Iterator[str]:
    """The figures behind the ratios."""
    for part, found in parts.items():
        yield f"{part} (load of the machine before: {found['load_before']})"
        for name, values in found.items():
            if isinstance(values, list) and values and isinstance(values[0], dict):
                for key in values[0]:
                    yield _detail(f"{name} {key}", [value[key] for value in values])
            elif isinstance(values, dict):
                yield from (_fact(f"{name} {key}", value) for key, value in values.items())
            elif isinstance(values, list) and values:
                yield _detail(name, values)
            elif name != "load_before":
                yield f"  {name:28}{values}"


def _detail(name: str, values: list[float]) -> str:
    middle = statistics.median(values)
    return f"  {name:28}{middle:.5g}  (of {len(values)}, from {min(values):.5g} to {max(values):.5g})"


def _fact(name: str, value: object) -> str:
    return f"  {name:40}{value:.5g}" if isinstance(value, float) else f"  {name:40}{value}"
