"""What the children left as evidence, and what is wrong with it: pure judgement over files.

Knows the form of `chaos_child.py`'s lines, locks and counters and of the launcher's log files; knows nothing
of running processes.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from launcher.logs.reader import log_files

__all__ = ["doubles", "judge_lines", "late_restarts", "logged_lines", "torn_lines", "written_lines"]

_LINE = re.compile(r" stdout \| chaos (?P<birth>\S+) (?P<number>\d+) (?P<padding>x*)$")
_PIECE = re.compile(r" (?:stdout|stderr)\+? \| ")


def written_lines(folder: Path) -> dict[str, int]:
    """How many lines each process, by its birth, has surely written."""
    return {path.name: struct.unpack("<Q", path.read_bytes())[0] for path in (folder / "lines").iterdir()}


def logged_lines(logs: Path) -> dict[str, list[int]]:
    """The numbers of the whole lines of each birth, in the order of the log files.

    A child that goes on under another name, as scaling has it, goes on in that one's log: the log that has
    the birth's earlier lines comes first.
    """
    pieces: dict[str, dict[str, list[tuple[str, int]]]] = defaultdict(lambda: defaultdict(list))
    for name, line in _all_lines(logs):
        match = _LINE.search(line)
        if match is not None and len(match["padding"]) == int(match["number"]) % 120:
            pieces[match["birth"]][name].append((line.partition(" ")[0], int(match["number"])))
    return {
        birth: [number for piece in sorted(by_log.values(), key=lambda one: one[0][0]) for _, number in piece]
        for birth, by_log in pieces.items()
    }


def torn_lines(logs: Path) -> list[str]:
    """Lines of output that no child wrote in this form."""
    found = []
    for _, line in _all_lines(logs):
        match = _LINE.search(line)
        is_whole = match is not None and len(match["padding"]) == int(match["number"]) % 120
        if _PIECE.search(line) and not is_whole:
            found.append(f"torn: {line[:160]!r}")
    return found


def judge_lines(
    written: Mapping[str, int], logged: Mapping[str, Iterable[int]], cut: Collection[str] = ()
) -> list[str]:
    """What was lost, doubled or put out of order.

    The last line of a process may be one more than it counted: it was killed between writing and counting.
    Those in `cut` lost guardian and supervisor in one instant, and with them the pipe: what was still in it,
    the end of their lines, may be missing.
    """
    problems = []
    for birth in sorted({*written, *logged}):
        count, numbers = written.get(birth, 0), list(logged.get(birth, ()))
        if numbers in (list(range(1, count + 1)), list(range(1, count + 2))):
            continue
        if birth in cut and numbers == list(range(1, len(numbers) + 1)) and len(numbers) <= count:
            continue
        lost = sorted(set(range(1, count + 1)) - set(numbers))
        problems.append(
            f"lines of {birth}: {count} written, {len(numbers)} logged, lost {_ranges(lost)},"
            f" {len(numbers) - len(set(numbers))} twice, in order: {numbers == sorted(numbers)}"
        )
    return problems


def late_restarts(events: Iterable[Mapping[str, Any]], bound_s: float) -> list[str]:
    """Every restart that was due and began later than `bound_s` after the end of the one before."""
    ended: dict[str, Mapping[str, Any]] = {}
    problems = []
    for event in events:
        before = ended.pop(event["child"], None)
        if event["to"] == "backoff":
            ended[event["child"]] = event
        elif before is not None and event["to"] == "starting":
            took_s = (_time(event) - _time(before)).total_seconds()
            if took_s > bound_s:
                problems.append(
                    f"{event['child']} was {before['cause']}, and began again {took_s:.2f} s later"
                )
    return problems


def _time(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])


def doubles(folder: Path) -> list[str]:
    """Every time that a process began while what it replaces was still alive."""
    path = folder / "doubles"
    return [f"two at once: {line}" for line in path.read_text().splitlines()] if path.exists() else []


def _all_lines(logs: Path) -> Iterable[tuple[str, str]]:
    """Each line with the name of the child whose log it is in."""
    for name, paths in log_files(logs).items():
        if name != "supervisor":
            for path in paths:
                yield from ((name, line) for line in path.read_text().splitlines())


def _ranges(numbers: list[int]) -> str:
    """`3-5, 9` for [3, 4, 5, 9]; the first ten."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in runs[:10]]
    return ", ".join(shown) + (" …" if len(runs) > 10 else "") if runs else "none"
