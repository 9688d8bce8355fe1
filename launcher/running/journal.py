"""What a supervisor writes down about its processes, and how the next one cleans up after its death.

Decides: the journal's form (one small JSON file, replaced atomically), that an unreadable one is set aside
and never acted on, and that only a process with our nonce in its environment, of this boot, is ever
signalled. No fsync: the journal has to outlive the supervisor, not the machine, as pids of another boot mean
nothing.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from launcher.procfs import ProcessStat, boot_id, read_nonce, read_stat, scan

__all__ = ["JournalEntry", "read_journal", "sweep", "write_journal"]

_VERSION = 1
_SWEEP_LIMIT_S = 5.0


@dataclass(frozen=True)
class JournalEntry:
    """One generation that may still have processes."""

    child: str
    pid: int
    started_ticks: int
    nonce: str


def write_journal(path: Path, entries: Iterable[JournalEntry]) -> None:
    """Replace the journal; raises OSError when the folder is gone or full."""
    document = {"version": _VERSION, "boot_id": boot_id(), "entries": [asdict(entry) for entry in entries]}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(document), encoding="utf-8")
    temporary.replace(path)


def read_journal(path: Path) -> tuple[list[JournalEntry], str | None]:
    """Return the entries of this boot, and a note when the file had to be set aside; missing is empty."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return [], None
    try:
        document = json.loads(text)
        if document["version"] != _VERSION:
            raise ValueError(f"version {document['version']!r}")
        entries = [JournalEntry(**entry) for entry in document["entries"]]
        if not all(_is_sound(entry) for entry in entries):
            raise ValueError("an entry of the wrong type")
        recorded_boot = document["boot_id"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        aside = path.with_name(f"{path.name}.bad-{int(time.time())}")
        path.replace(aside)
        return [], f"the journal could not be read ({error}) and was set aside as {aside.name}"
    return (entries if recorded_boot == boot_id() else []), None


def sweep(path: Path) -> list[str]:
    """Kill what a dead supervisor left behind and return notes for the user; blocks until it is gone, at most
    5 s.

    Call it only while holding the owner's lock.
    """
    entries, note = read_journal(path)
    notes = [] if note is None else [note]
    children = {entry.nonce: entry.child for entry in entries}
    left = _find(children)
    for process, nonce in left:
        name = f"{process.name} (pid {process.pid}) of {children[nonce]}"
        notes.append(f"ended {name}, left behind by a supervisor that died")
    deadline = time.monotonic() + _SWEEP_LIMIT_S
    while left and time.monotonic() < deadline:
        _kill_and_wait([process for process, _ in left], deadline)
        left = _find(children)
    for process, nonce in left:
        notes.append(f"could not end {process.name} (pid {process.pid}) of {children[nonce]}")
    write_journal(path, [])
    return notes


def _is_sound(entry: JournalEntry) -> bool:
    """JSON says nothing of types, so they are looked at before anything is believed."""
    kinds = {key: type(value) for key, value in asdict(entry).items()}
    return kinds == {"child": str, "pid": int, "started_ticks": int, "nonce": str} and len(entry.nonce) >= 16


def _find(children: dict[str, str]) -> list[tuple[ProcessStat, str]]:
    """The living processes that carry one of the nonces; a bare pid is never enough."""
    if not children:
        return []
    found = []
    for process in scan():
        nonce = read_nonce(process.pid) if process.is_alive and process.pid != os.getpid() else None
        if nonce in children:
            found.append((process, nonce))
    return found


def _kill_and_wait(processes: list[ProcessStat], deadline: float) -> None:
    """Kill each by a pidfd taken before its identity is checked again, and wait until the pidfds say so."""
    pidfds = []
    for process in processes:
        with suppress(ProcessLookupError):
            pidfd = os.pidfd_open(process.pid)
            pidfds.append(pidfd)
            now = read_stat(process.pid)
            if now is not None and now.started_ticks == process.started_ticks:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    poller = select.poll()
    for pidfd in pidfds:
        poller.register(pidfd, select.POLLIN)
    waiting = set(pidfds)
    while waiting and (left_s := deadline - time.monotonic()) > 0:
        for pidfd, _ in poller.poll(left_s * 1000):
            poller.unregister(pidfd)
            waiting.discard(pidfd)
    for pidfd in pidfds:
        os.close(pidfd)
