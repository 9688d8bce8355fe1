"""What the kernel says about processes: one read of /proc/<pid>/stat each, and the nonce in an environment.

Knows nothing of services; every function answers None or leaves out what vanished while it was read.
Source: proc_pid_stat(5), proc_pid_environ(5).
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

__all__ = [
    "NONCE_VARIABLE",
    "ProcessStat",
    "boot_id",
    "descendants",
    "read_nonce",
    "read_stat",
    "read_variable",
    "scan",
    "scan_below",
]

NONCE_VARIABLE = "LUCID_NONCE"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_READ_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """One process at one moment; `started_ticks` with the pid and the boot id names it for good."""

    pid: int
    name: str
    state: str
    parent: int
    group: int
    session: int
    cpu_s: float
    started_ticks: int
    rss_bytes: int

    @property
    def is_alive(self) -> bool:
        """It still runs or can run, so it is not merely waiting to be reaped."""
        return self.state not in "ZX"


def read_stat(pid: int) -> ProcessStat | None:
    """Return the facts about `pid`, or None when there is no such process."""
    try:
        data = _read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name may hold spaces and parentheses, so the fields are counted from the last one.
    opening, closing = data.index(b"("), data.rindex(b")")
    fields = data[closing + 2 :].split()
    return ProcessStat(
        pid=pid,
        name=data[opening + 1 : closing].decode("utf-8", "replace"),
        state=fields[0].decode(),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
        started_ticks=int(fields[19]),
        rss_bytes=int(fields[21]) * _PAGE_BYTES,
    )


def scan() -> Iterator[ProcessStat]:
    """Yield every process that can be seen."""
    for name in os.listdir("/proc"):
        if name.isdigit() and (facts := read_stat(int(name))) is not None:
            yield facts


def scan_below(ancestor: int, spared: Container[int] = ()) -> Iterator[ProcessStat]:
    """Yield the descendants of a process, at a cost that does not grow with the machine, but for those of
    `spared` and below; where the kernel does not list children, every process that can be seen.
    """
    if not os.path.exists(f"/proc/{ancestor}/task/{ancestor}/children"):
        yield from scan()
        return
    queue = [ancestor]
    while queue:
        for pid in _read_children(queue.pop()):
            if pid not in spared and (facts := read_stat(pid)) is not None:
                yield facts
                queue.append(pid)


def descendants(processes: Iterable[ProcessStat], roots: Iterable[int]) -> list[ProcessStat]:
    """Return those of `processes` whose pid is in `roots` or who descend from one of them."""
    by_parent: dict[int, list[ProcessStat]] = {}
    by_pid: dict[int, ProcessStat] = {}
    for process in processes:
        by_parent.setdefault(process.parent, []).append(process)
        by_pid[process.pid] = process
    found: dict[int, ProcessStat] = {}
    queue = [by_pid[pid] for pid in roots if pid in by_pid]
    while queue:
        process = queue.pop()
        if process.pid not in found:
            found[process.pid] = process
            queue.extend(by_parent.get(process.pid, ()))
    return list(found.values())


def read_nonce(pid: int) -> str | None:
    """Return LUCID_NONCE of a process's first environment, or None when it has none or is not ours to
    read.
    """
    return read_variable(pid, NONCE_VARIABLE)


def read_variable(pid: int, name: str) -> str | None:
    """Return a variable of a process's first environment, or None when it has none or is not ours to read."""
    try:
        environ = _read(f"/proc/{pid}/environ")
    except OSError:
        return None
    prefix = name.encode() + b"="
    for entry in environ.split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode("ascii", "replace")
    return None


def boot_id() -> str:
    """Return the identity of this boot, so that pids of another boot are never believed."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _read_children(pid: int) -> set[int]:
    """The children of all threads of a process.

    While one is being reaped the kernel's list may leave another out (proc_tid_children(5)), so it is read
    until two readings agree.
    """
    before: set[int] | None = None
    while True:
        children: set[int] = set()
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                children.update(map(int, _read(f"/proc/{pid}/task/{thread}/children").split()))
        except (FileNotFoundError, ProcessLookupError):
            pass
        if children == before:
            return children
        before = children


def _read(path: str) -> bytes:
    """The content of a file under /proc; `open` would need three times as many system calls."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = []
        while piece := os.read(fd, _READ_BYTES):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)
