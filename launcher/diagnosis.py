"""What a child that is about to be ended was doing: one text file, written before it is signalled.

Decides what is collected (for each process of the child: state, and for each thread where it waits, as far as
the kernel lets us see) and how many files are kept. Reads /proc only, so it works on a stopped or stuck
process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from launcher.logs.line_format import stamp
from launcher.procfs import ProcessStat

__all__ = ["write_diagnosis"]

_KEPT_PER_CHILD = 5
_MOST_THREADS = 64
_STATUS_KEYS = (
    "Name",
    "State",
    "Threads",
    "VmRSS",
    "VmSwap",
    "SigPnd",
    "ShdPnd",
    "SigBlk",
    "SigIgn",
    "SigCgt",
)


def write_diagnosis(
    folder: Path,
    child: str,
    generation: int,
    why: str,
    members: Sequence[ProcessStat],
    tail: Iterable[str],
    at: float,
) -> Path:
    """Write the bundle of one generation and return its path; `at` is POSIX seconds. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{child}-generation-{generation}.txt"
    lines = [f"{child}, generation {generation}, at {stamp(at)}", f"why: {why}", ""]
    for member in members:
        lines += _describe(member)
    lines += ["last lines of stderr:", *(f"  {line}" for line in tail), ""]
    path.write_text("\n".join(lines), encoding="utf-8", errors="backslashreplace")
    _forget_old(folder, child)
    return path


def _describe(member: ProcessStat) -> list[str]:
    root = f"/proc/{member.pid}"
    command = _read(f"{root}/cmdline").replace("\0", " ").strip()
    lines = [f"process {member.pid} ({member.name}), state {member.state}: {command}"]
    status = _read(f"{root}/status").replace("\t", " ").splitlines()
    lines += [f"  {line}" for line in status if line.partition(":")[0] in _STATUS_KEYS]
    for thread in _threads(root)[:_MOST_THREADS]:
        name, waits = (
            _read(f"{root}/task/{thread}/comm").strip(),
            _read(f"{root}/task/{thread}/wchan").strip(),
        )
        lines.append(f"  thread {thread} ({name}) waits in {waits or '?'}")
        lines += [f"    {frame}" for frame in _read(f"{root}/task/{thread}/stack").splitlines()]
    return [*lines, ""]


def _threads(root: str) -> list[str]:
    try:
        return os.listdir(f"{root}/task")
    except OSError:
        return []


def _read(path: str) -> str:
    """The file's text, or what keeps us from it: an absent stack is a finding too."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(64 * 1024)
    except OSError as error:
        return f"({error.strerror})"


def _forget_old(folder: Path, child: str) -> None:
    files = sorted(folder.glob(f"{child}-generation-*.txt"), key=lambda path: path.stat().st_mtime)
    for path in files[:-_KEPT_PER_CHILD]:
        path.unlink(missing_ok=True)
