"""What a child that is about to be ended was doing: one text file, and how its parts are read.

Decides what is collected of each process (state, and for each thread where it waits; open sockets), of the
log and of the GPUs, and how many files are kept. Reads only, so it works on a stopped or stuck process; what
cannot be read is written down with the reason, as that is a finding too. Asking the process itself for its
stacks is `children.diagnosing`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from launcher.gpus import GpuReport
from launcher.logs.line_format import stamp
from launcher.logs.reader import read_last_of_child
from launcher.procfs import ProcessStat

__all__ = [
    "Section",
    "bundle_path",
    "catches_signal",
    "describe_gpus",
    "describe_log",
    "describe_processes",
    "describe_sockets",
    "write_bundle",
]

LOG_LINES = 200
_KEPT_PER_CHILD = 5
_MOST_THREADS = 64
_MOST_SOCKETS = 200
_STATUS_KEYS = frozenset(
    {
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
    }
)


@dataclass(frozen=True)
class Section:
    """A part of a bundle: what it shows, and the lines."""

    title: str
    lines: Sequence[str]


def bundle_path(folder: Path, child: str, generation: int, at: float) -> Path:
    """Return where the bundle of one generation goes; `at` is POSIX seconds and keeps supervisors apart."""
    moment = stamp(at).translate({ord(char): None for char in "-:"})[:15]
    return folder / f"{child}-{moment}-generation-{generation}.txt"


def write_bundle(
    path: Path, child: str, heading: Iterable[str], sections: Iterable[Section], shown: Callable[[str], str]
) -> None:
    """Write a bundle, readable by this user only; `shown` takes the secrets out. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [*heading, ""]
    for section in sections:
        lines += [f"== {section.title} ==", *(section.lines or ["(nothing)"]), ""]
    data = shown("\n".join(lines)).encode("utf-8", "backslashreplace")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(data)
    _forget_old(path.parent, child)


def describe_processes(members: Iterable[ProcessStat]) -> list[str]:
    """Return state and threads of each process, and in which kernel function each thread waits."""
    lines: list[str] = []
    for member in members:
        lines += _describe_process(member)
    return lines


def describe_sockets(members: Iterable[ProcessStat]) -> list[str]:
    """Return the sockets that the processes have open: kind, both ends, state."""
    # Loaded for the rare bundle only: it would weigh on every idle supervisor.
    import psutil

    lines: list[str] = []
    for member in members:
        try:
            sockets = psutil.Process(member.pid).net_connections(kind="all")
        except (psutil.Error, OSError) as error:
            lines.append(f"{member.pid}: cannot be read ({error})")
            continue
        lines += [_describe_socket(member.pid, each) for each in sockets[:_MOST_SOCKETS]]
        if len(sockets) > _MOST_SOCKETS:
            lines.append(f"{member.pid}: and {len(sockets) - _MOST_SOCKETS} more")
    return lines


def describe_log(folder: Path, child: str) -> list[str]:
    """Return the last lines of the child's log, whatever generation they are of."""
    return [f"{line.at} {line.stream} | {line.text}" for line in read_last_of_child(folder, child, LOG_LINES)]


def describe_gpus(report: GpuReport | None, pids: frozenset[int]) -> list[str]:
    """Return each GPU and who holds memory of it; processes of the child itself are marked."""
    if report is None or not (report.gpus or report.problem):
        return ["no GPU was asked about"]
    lines = [] if report.problem is None else [report.problem]
    for gpu in report.gpus:
        lines.append(str(gpu))
        for holder in gpu.holders:
            used = "an unknown amount" if holder.used_bytes is None else f"{holder.used_bytes:,} bytes"
            lines.append(f"  pid {holder.pid} holds {used}{' (this child)' if holder.pid in pids else ''}")
    return lines


def catches_signal(pid: int, number: int) -> bool:
    """Whether the process has a handler for a signal, so that the signal does not simply end it."""
    for line in _read(f"/proc/{pid}/status").splitlines():
        name, _, mask = line.partition(":")
        if name == "SigCgt":
            with suppress(ValueError):
                return bool(int(mask, 16) >> (number - 1) & 1)
    return False


def _describe_process(member: ProcessStat) -> Iterator[str]:
    root = f"/proc/{member.pid}"
    command = _read(f"{root}/cmdline").replace("\0", " ").strip()
    yield f"process {member.pid} ({member.name}), state {member.state}: {command}"
    for line in _read(f"{root}/status").replace("\t", " ").splitlines():
        if line.partition(":")[0] in _STATUS_KEYS:
            yield f"  {line}"
    for thread in _threads(root)[:_MOST_THREADS]:
        yield from _describe_thread(f"{root}/task/{thread}", thread)


def _describe_thread(place: str, thread: str) -> Iterator[str]:
    name, waits = _read(f"{place}/comm").strip(), _read(f"{place}/wchan").strip()
    state = _read(f"{place}/stat").rpartition(")")[2].split()[:1]
    yield f"  thread {thread} ({name}), state {''.join(state) or '?'}, waits in {waits or '?'}"
    yield from (f"    {frame}" for frame in _read(f"{place}/stack").splitlines())


def _describe_socket(pid: int, each: object) -> str:
    kind = getattr(getattr(each, "type", None), "name", "?").removeprefix("SOCK_").lower()
    ends = " -> ".join(_address(getattr(each, name)) for name in ("laddr", "raddr") if getattr(each, name))
    return f"{pid}: fd {getattr(each, 'fd', '?')} {kind} {ends or '-'} {getattr(each, 'status', '')}"


def _address(end: object) -> str:
    return f"{end[0]}:{end[1]}" if isinstance(end, tuple) and len(end) == 2 else str(end)


def _threads(root: str) -> list[str]:
    try:
        return sorted(os.listdir(f"{root}/task"), key=int)
    except OSError:
        return []


def _read(path: str) -> str:
    """The file's text, or what keeps us from it."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(64 * 1024)
    except OSError as error:
        return f"({error.strerror})"


def _forget_old(folder: Path, child: str) -> None:
    ours = re.compile(rf"{re.escape(child)}-\d{{8}}T\d{{6}}-generation-\d+\.txt")
    files = sorted(path for path in folder.iterdir() if ours.fullmatch(path.name))
    for path in files[:-_KEPT_PER_CHILD]:
        path.unlink(missing_ok=True)
