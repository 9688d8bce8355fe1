"""How much processor and memory each child uses, its whole process tree counted, from one pass over /proc.

Decides what counts as a child's (its session and all descendants) and how a percentage comes of two samples.
Memory is the sum of resident sets, so pages shared inside a tree count once for each process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from launcher.procfs import ProcessStat, descendants, read_stat, scan

__all__ = ["Usage", "UsageMeter", "own_rss_bytes"]


@dataclass(frozen=True)
class Usage:
    """One child at one moment; `cpu_percent` is 100 for one busy processor, None before the second sample.

    `pids` are its processes.
    """

    cpu_percent: float | None
    rss_bytes: int
    pids: frozenset[int] = frozenset()


class UsageMeter:
    """Remembers the processor time of each process between samples."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self.sampled_at: float | None = None
        self._cpu_s: dict[tuple[int, int], float] = {}

    def sample(self, leaders: Mapping[str, int], now: float) -> dict[str, Usage]:
        """Return the use of each child whose leader still exists; `now` is seconds of one monotonic clock."""
        processes = list(scan())
        passed_s = None if self.sampled_at is None else now - self.sampled_at
        before, self._cpu_s = self._cpu_s, {}
        found: dict[str, Usage] = {}
        for child, leader in leaders.items():
            roots = [process.pid for process in processes if leader in (process.pid, process.session)]
            members = descendants(processes, roots)
            if members:
                found[child] = self._measure(members, before, passed_s)
        self.sampled_at = now
        return found

    def _measure(
        self, members: Iterable[ProcessStat], before: Mapping[tuple[int, int], float], passed_s: float | None
    ) -> Usage:
        rss_bytes, used_s, is_known = 0, 0.0, False
        pids = set()
        for process in members:
            pids.add(process.pid)
            key = (process.pid, process.started_ticks)
            self._cpu_s[key] = process.cpu_s
            rss_bytes += process.rss_bytes
            if key in before:
                used_s += process.cpu_s - before[key]
                is_known = True
        if not is_known or not passed_s:
            return Usage(None, rss_bytes, frozenset(pids))
        return Usage(round(100 * used_s / passed_s, 1), rss_bytes, frozenset(pids))


def own_rss_bytes() -> int | None:
    """Return the resident memory of this process."""
    facts = read_stat(os.getpid())
    return None if facts is None else facts.rss_bytes
