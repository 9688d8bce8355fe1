"""Looks back through the log files: old lines that match, and how the last processes ended.

Reads newest first, so that the answer to "the last ones" costs what lies between them and now. A search that
finds nothing stops after a bounded number of lines and says how far it came. Nothing blocks but the disk.
"""

import heapq
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.logs.levels import leveled_back
from launcher.logs.reader import Ends, backwards, chosen_files, pieces_of
from launcher.logs.records import LogLine

__all__ = ["ExitMark", "Found", "read_exits", "search_history"]

MOST_LINES = 400_000
_ENDED = re.compile(r"generation (?P<number>\d+) (?:ended: |did not start: )(?P<how>.*)")
_DIAGNOSED = re.compile(r"about to be ended: .*; see (?P<path>.+)")


@dataclass(frozen=True)
class Found:
    """Matching lines, oldest first; `back_to` is the time where the search gave up, None when it saw
    everything
    or found enough.
    """

    lines: list[LogLine]
    back_to: str | None


@dataclass(frozen=True)
class ExitMark:
    """The end of one generation as the log tells it: when, which, how, and where its diagnosis lies."""

    at: str
    generation: int
    how: str
    diagnosis: str | None


def search_history(
    folder: Path,
    names: Collection[str],
    wants: Callable[[LogLine], bool],
    count: int,
    ends: Ends,
    most_lines: int = MOST_LINES,
) -> Found:
    """The last `count` lines before `ends` that `wants` lets through, with their levels, merged by time."""
    found: list[LogLine] = []
    chosen = chosen_files(folder, names)
    streams = [
        leveled_back(backwards(child, pieces_of(files, ends.get(child)))) for child, files in chosen.items()
    ]
    back_to: str | None = None
    merged = heapq.merge(*streams, key=lambda line: line.at, reverse=True)
    for looked_at, line in enumerate(merged, 1):
        if wants(line):
            found.append(line)
        if len(found) >= count:
            break
        if looked_at >= most_lines:
            back_to = line.at
            break
    # A block of indented lines comes in one piece, so that times may step back a little inside of it.
    found.reverse()
    found.sort(key=lambda line: line.at)
    return Found(found, back_to)


def read_exits(folder: Path, child: str, count: int) -> list[ExitMark]:
    """How the last `count` generations of `child` ended, newest first; [] when none has."""
    marks: list[ExitMark] = []
    for line in _markers_back(folder, child):
        ended = _ENDED.fullmatch(line.text)
        if ended is not None:
            if len(marks) == count:
                break
            marks.append(ExitMark(line.at, int(ended["number"]), ended["how"], None))
            continue
        diagnosed = _DIAGNOSED.fullmatch(line.text)
        if diagnosed is not None and marks and marks[-1].diagnosis is None:
            last = marks.pop()
            marks.append(ExitMark(last.at, last.generation, last.how, diagnosed["path"]))
    return marks


def _markers_back(folder: Path, child: str) -> Iterator[LogLine]:
    """The supervisor's markers in the log of one child, newest first."""
    files = chosen_files(folder, (child,)).get(child, [])
    for seen, line in enumerate(backwards(child, pieces_of(files, None))):
        if seen >= MOST_LINES:
            return
        if line.is_marker:
            yield line
