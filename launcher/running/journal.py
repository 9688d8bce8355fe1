"""What a supervisor writes down about its stack, and how what its death left behind is cleaned up.

Decides: the journal's content (one small JSON document; `slots` keeps it whole), that an unreadable one is
set aside and never acted on, and that only a process with our nonce in its environment, of this boot, is ever
signalled: the stack's own nonce is the beginning of every nonce, so that a process which was started after
the last word of the journal is found as well.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from launcher.procfs import ProcessStat, boot_id, read_nonce, read_stat, read_variable, scan
from launcher.running.slots import Slots, read_slots, remove_slots

__all__ = [
    "Journal",
    "JournalEntry",
    "JournalFile",
    "read_journal",
    "sweep",
    "sweep_processes",
    "write_journal",
]

_VERSION = 2
_SWEEP_LIMIT_S = 5.0


@dataclass(frozen=True)
class JournalEntry:
    """One generation that may still have processes."""

    child: str
    pid: int
    started_ticks: int
    nonce: str


@dataclass(frozen=True)
class Journal:
    """What is written down: the processes, the nonce that they share, and the stack as its supervisor knew
    it (JSON whose form is `continuity`'s; None for none).
    """

    entries: list[JournalEntry] = field(default_factory=list)
    stack_nonce: str = ""
    state: dict[str, Any] | None = None


class JournalFile:
    """The journal as its one writer has it open."""

    def __init__(self, path: Path) -> None:
        """Go on after what is at `path`."""
        self._slots = Slots(path)
        self._boot_id = boot_id()

    def write(
        self, entries: Iterable[JournalEntry], stack_nonce: str = "", state: dict[str, Any] | None = None
    ) -> None:
        """Replace the journal; raises OSError when the folder is gone or full."""
        document = {
            "version": _VERSION,
            "boot_id": self._boot_id,
            "entries": [vars(entry) for entry in entries],
            "stack_nonce": stack_nonce,
            "state": state,
        }
        self._slots.write(json.dumps(document).encode())

    def close(self) -> None:
        """Close the files."""
        self._slots.close()


def write_journal(
    path: Path, entries: Iterable[JournalEntry], stack_nonce: str = "", state: dict[str, Any] | None = None
) -> None:
    """Replace the journal once; raises OSError when the folder is gone or full."""
    journal = JournalFile(path)
    try:
        journal.write(entries, stack_nonce, state)
    finally:
        journal.close()


def read_journal(path: Path) -> tuple[Journal, str | None]:
    """Return what was written in this boot, and a note when the file was set aside; missing is empty."""
    try:
        text = read_slots(path)
        if text is None:
            return Journal(), None
        document = json.loads(text)
        if document["version"] != _VERSION:
            raise ValueError(f"version {document['version']!r}")
        entries = [JournalEntry(**entry) for entry in document["entries"]]
        stack_nonce, state = document["stack_nonce"], document["state"]
        if not all(_is_sound(entry) for entry in entries):
            raise ValueError("an entry of the wrong type")
        if not isinstance(stack_nonce, str) or not isinstance(state, dict | None):
            raise ValueError("a field of the wrong type")
        recorded_boot = document["boot_id"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        aside = path.with_name(f"{path.name}.bad-{int(time.time())}")
        remove_slots(path, aside)
        return Journal(), f"the journal could not be read ({error}) and was set aside as {aside.name}"
    return (Journal(entries, stack_nonce, state) if recorded_boot == boot_id() else Journal()), None


def sweep(path: Path) -> list[str]:
    """Kill what a dead supervisor left behind and return notes for the user; blocks until it is gone, at most
    5 s.

    Call it only while holding the owner's lock. The journal is empty afterwards.
    """
    journal, note = read_journal(path)
    notes = [] if note is None else [note]
    notes += sweep_processes(journal, "left behind by a supervisor that died")
    write_journal(path, [])
    return notes


def sweep_processes(journal: Journal, why: str) -> list[str]:
    """Kill every process that the journal names, and return a note for each; see `sweep`."""
    notes = []
    left = _find(journal)
    for process, child in left:
        notes.append(f"ended {process.name} (pid {process.pid}) of {child}, {why}")
    deadline = time.monotonic() + _SWEEP_LIMIT_S
    while left and time.monotonic() < deadline:
        _kill_and_wait([process for process, _ in left], deadline)
        left = _find(journal)
    for process, child in left:
        notes.append(f"could not end {process.name} (pid {process.pid}) of {child}")
    return notes


def _is_sound(entry: JournalEntry) -> bool:
    """JSON says nothing of types, so they are looked at before anything is believed."""
    kinds = {key: type(value) for key, value in asdict(entry).items()}
    return kinds == {"child": str, "pid": int, "started_ticks": int, "nonce": str} and len(entry.nonce) >= 16


def _find(journal: Journal) -> list[tuple[ProcessStat, str]]:
    """The living processes that carry one of the nonces, and whose they are; a bare pid is never enough."""
    children = {entry.nonce: entry.child for entry in journal.entries}
    if not children and not journal.stack_nonce:
        return []
    found = []
    for process in scan():
        nonce = read_nonce(process.pid) if process.is_alive and process.pid != os.getpid() else None
        if nonce is None:
            continue
        if nonce in children:
            found.append((process, children[nonce]))
        elif journal.stack_nonce and nonce.startswith(f"{journal.stack_nonce}."):
            found.append((process, read_variable(process.pid, "LUCID_CHILD") or "the supervisor itself"))
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
