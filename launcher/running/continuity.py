"""What the next supervisor will find: the stack written down after every change, and kept by the guardian.

Decides what is written (settings in force, lives, facts that only this process knows), when (once for all
that happened within 2 ms), which descriptors the guardian keeps, and that an ended process is reaped only
when its end is in the journal, so that no exit is ever lost or counted twice. How it is read back
is `takeover`.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from launcher.children.exits import LastExit
from launcher.children.parent import Parent
from launcher.children.probing import NotifyFacts
from launcher.children.runtime import ChildRuntime
from launcher.children.senses import Told
from launcher.lifecycle_values import Child
from launcher.planning.prepared import PreparedChild, Seat, child_to_json
from launcher.records import to_json
from launcher.restart_policy import Outcome
from launcher.running.journal import JournalFile
from launcher.running.reload import Agreed, Reconciler
from launcher.running.stack import Stack

__all__ = ["FORM", "OF_CHILDREN", "Continuity"]

_EVENTS_WRITTEN = 50
_TOGETHER_S = 0.002
_SETTINGS_KNOWN = 1000
OF_CHILDREN = ("listen ", "notify ", "spool ")
"""How the names of what is kept for a child begin."""
_KINDS = (Agreed, Child, LastExit, NotifyFacts, Outcome, PreparedChild, Seat, Told)
FORM = f"1 {zlib.crc32(' '.join(field.name for kind in _KINDS for field in fields(kind)).encode())}"
"""Which state `takeover` can read; the number is raised with a change of a key that is not a field."""
_NOT_WRITTEN = frozenset({"rules"})
"""Fields of a life that follow from the settings."""


class Continuity:
    """Writes the journal and keeps the guardian's store in step; lives on the loop's thread."""

    def __init__(
        self,
        parent: Parent,
        stack: Stack,
        reconciler: Reconciler,
        path: Path,
        log: Callable[[str], None],
        counted: Callable[[], dict[str, Any]],
    ) -> None:
        """Write to `path`; what cannot be written is said through `log`. `counted` returns the totals."""
        self._counted = counted
        self._parent = parent
        self._stack = stack
        self._reconciler = reconciler
        self._journal = JournalFile(path)
        self._settings: dict[int, tuple[object, Any]] = {}
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._is_scheduled = False

    def changed(self) -> None:
        """Something is worth writing down, at once or together with what follows from it."""
        if not self._is_scheduled:
            self._is_scheduled = True
            # A death and the respawn that follows it are one writing, made while the guardian forks.
            self._loop.call_later(_TOGETHER_S, self.write)

    def write(self) -> None:
        """Write down how things are now."""
        self._is_scheduled = False
        self._keep_sockets()
        try:
            entries = self._stack.journal_entries()
            self._journal.write(entries, self._parent.nonce, self._state())
        except OSError as error:
            # Nothing is reaped until it could be written: a full disk must not cost an exit code.
            self._log(f"the journal could not be written: {error}")
            return
        lives = (child.life for child in self._stack.children.values())
        self._parent.release([life.pid for life in lives if life.pid is not None])

    def _keep_sockets(self) -> None:
        """The guardian keeps the sockets and the spools of those children that there are."""
        wanted: dict[str, list[int]] = {}
        for name, child in self._stack.children.items():
            if child.prepared.sockets:
                wanted[f"listen {name}"] = [one.fileno() for one in child.prepared.sockets]
            if child.notify is not None:
                wanted[f"notify {name}"] = [child.notify.fileno()]
            if child.spools:
                wanted[f"spool {name}"] = [spool.fileno() for spool in child.spools]
        kept = {name: fds for name, fds in self._parent.kept.items() if name.startswith(OF_CHILDREN)}
        for name in kept.keys() - wanted.keys():
            self._parent.drop(name)
        for name, fds in wanted.items():
            if kept.get(name) != fds:
                self._parent.keep(name, fds)

    def _state(self) -> dict[str, Any]:
        publisher = self._stack.publisher
        return {
            "form": FORM,
            "agreed": asdict(self._reconciler.agreed),
            "services": {name: self._as_json(service) for name, service in self._stack.services.items()},
            "children": [
                {**_child_document(child), "spawned_service": self._as_json(child.spawned_service)}
                for child in self._stack.children.values()
            ],
            "stack": self._stack.remember(),
            "metrics": self._counted(),
            "revision": publisher.revision,
            "events": publisher.events_since(0)[-_EVENTS_WRITTEN:],
        }

    def _as_json(self, service: object) -> Any:
        """Settings never change, so each is made into JSON once; this happens several times in a respawn."""
        known = self._settings.get(id(service))
        if known is None or known[0] is not service:
            if len(self._settings) > _SETTINGS_KNOWN:
                self._settings.clear()
            known = self._settings[id(service)] = (service, to_json(service))
        return known[1]


def _child_document(child: ChildRuntime) -> dict[str, Any]:
    return {
        "prepared": child_to_json(child.prepared),
        "life": {
            item.name: _plain(getattr(child.life, item.name))
            for item in fields(child.life)
            if item.name not in _NOT_WRITTEN
        },
        "notify_address": str(child.notify_address),
        "facts": _facts_document(child),
    }


def _facts_document(child: ChildRuntime) -> dict[str, Any]:
    last = child.exits.last
    return {
        "nonce": child.nonce,
        "exits_total": child.exits.total,
        "log_lines_dropped": child.log.dropped,
        "spawned_at": child.spawned_at,
        "diagnosis": child.diagnosis,
        "told": asdict(child.senses.told),
        "notified": asdict(child.senses.facts),
        "last_exit": None
        if last is None
        else {
            "outcome": asdict(last.outcome),
            "status": asdict(last.status),
            "at": last.at,
            "after_s": last.after_s,
            "stderr_tail": list(last.stderr_tail),
            "diagnosis": last.diagnosis,
        },
    }


def _plain(value: Any) -> Any:
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
