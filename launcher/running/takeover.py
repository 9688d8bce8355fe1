"""Going on where the supervisor before was cut off: from its journal and from what the guardian kept.

Decides which handed process belongs to which life, and what becomes of a life whose process is gone: it is
started anew, and not charged with a death that was not its own. Nothing here signals a process that a life
still claims. What is written is `continuity`'s.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.children.exits import LastExit
from launcher.children.handover import HandedProcess, Handover
from launcher.children.parent import Parent
from launcher.children.patience import CHANCE_S
from launcher.children.runtime import ChildRuntime
from launcher.lifecycle_moves import spawn
from launcher.lifecycle_values import Child, SetTimer, Spawn, StartRequested
from launcher.planning.prepared import PreparedChild, child_from_json
from launcher.processes import ExitStatus
from launcher.records import from_json
from launcher.restart_policy import Outcome
from launcher.running.installer import rules_of
from launcher.running.reload import Agreed, Reconciler
from launcher.running.stack import Stack

__all__ = ["Takeover"]

Document = Mapping[str, Any]


class Takeover:
    """One restoration; made once, at the start of a supervisor that is not the first."""

    def __init__(
        self,
        handover: Handover,
        parent: Parent,
        stack: Stack,
        reconciler: Reconciler,
        make_runtime: Callable[[PreparedChild, Path], ChildRuntime],
    ) -> None:
        """Fill `stack` and `reconciler`; `make_runtime` makes a child and the address it is notified at."""
        self._handover = handover
        self._parent = parent
        self._stack = stack
        self._reconciler = reconciler
        self._make_runtime = make_runtime
        self._processes: list[HandedProcess] = []
        self._services: dict[str, Any] = {}

    def restore(self, state: Document) -> int:
        """Take everything over as `state` says; returns how many children go on untouched."""
        self._sort_processes()
        self._reconciler.agreed = Agreed(**state["agreed"])
        self._services = {name: from_json(document) for name, document in state["services"].items()}
        for document in state["children"]:
            self._restore_child(document)
        self._stack.recall(state["stack"])
        self._stack.publisher.recall(state["revision"], state["events"])
        going_on = sum([self._resume(child) for child in self._stack.children.values()])
        for process in self._processes:
            self._parent.discard(process)
        return going_on

    def _sort_processes(self) -> None:
        for process in self._handover.processes:
            if process.about:
                self._processes.append(process)
            else:
                # A probe or a tool of the supervisor that has died.
                self._parent.discard(process)

    def _restore_child(self, document: Document) -> None:
        written = document["prepared"]
        name, service = written["name"], self._services[written["service"]]
        sockets = self._sockets(f"listen {name}")
        prepared = child_from_json(written, service, sockets)
        child = self._make_runtime(prepared, Path(document["notify_address"]))
        life = {**document["life"]}
        charge = life.pop("charge")
        child.life = Child(rules_of(service), charge=None if charge is None else Outcome(**charge), **life)
        if document["spawned_service"] is not None:
            child.spawned_service = from_json(document["spawned_service"])
        self._stack.adopt(child)
        _recall_facts(child, document["facts"])
        for held in self._sockets(f"notify {name}"):
            child.hear(held)
        if spools := self._handover.kept.pop(f"spool {name}", []):
            child.hold_spools(spools)

    def _sockets(self, name: str) -> tuple[socket.socket, ...]:
        fds = self._handover.kept.pop(name, [])
        if fds:
            self._parent.kept[name] = fds
        return tuple(socket.socket(fileno=fd) for fd in fds)

    def _resume(self, child: ChildRuntime) -> bool:
        """Bring one child to life again; whether it went on untouched."""
        self._catch_up(child)
        life = child.life
        process = self._process_of(child)
        if life.pid is None and not life.spawning:
            if process is not None:
                # Its end was written down, and only the last word to the guardian was not said.
                self._parent.discard(process)
        elif process is not None:
            child.take_over(process)
        elif life.spawning:
            child.perform(Spawn(life.generation))
        else:
            self._lost(child)
            return False
        _set_timer(child)
        child.door.mind()
        return process is not None

    def _process_of(self, child: ChildRuntime) -> HandedProcess | None:
        """The process of the child's generation; one that was renamed is known by its nonce alone."""
        for process in self._processes:
            about = process.about
            if about["generation"] != child.life.generation:
                # One before it, which is not let go yet.
                continue
            if about["nonce"] == child.nonce or (child.life.spawning and about["child"] == child.name):
                self._processes.remove(process)
                return process
        return None

    def _catch_up(self, child: ChildRuntime) -> None:
        """A generation that began after the last word of the journal is the one that counts."""
        generations = [
            each.about["generation"] for each in self._processes if each.about["child"] == child.name
        ]
        newest = max(generations, default=0)
        if newest > child.life.generation:
            self._count_missed(child, newest)
            before = replace(child.life, generation=newest - 1)
            child.life, _ = spawn(before, asyncio.get_running_loop().time())
            child.senses.begin(newest)

    def _count_missed(self, child: ChildRuntime, newest: int) -> None:
        """The ends that could not be written down before the next generation began."""
        for process in self._processes:
            about, life = process.about, child.life
            if about["child"] != child.name or process.ended is None or about["generation"] == newest:
                continue
            if about["generation"] > life.generation or not life.leader_exited:
                child.exits.missed(about["generation"], process.ended)

    def _lost(self, child: ChildRuntime) -> None:
        """Its processes ended with the guardian: begin anew if it is wanted."""
        child.exits.lost("ended with the guardian that was its parent")
        gone = replace(child.life, state="stopped", pid=None, leader_exited=False, spawning=False)
        child.life = replace(gone, charge=None, timer=None, due_at=None, reason=None)
        if child.life.desired_up:
            self._stack.post(child.name, StartRequested())


def _set_timer(child: ChildRuntime) -> None:
    """Go on with what is left of its time; a start that nobody watched meanwhile gets a chance to be seen."""
    life = child.life
    if life.timer is None or life.due_at is None:
        return
    left_s = max(0.0, life.due_at - asyncio.get_running_loop().time())
    if life.timer == "startup":
        left_s = max(left_s, min(CHANCE_S, life.rules.startup_budget_s))
    child.perform(SetTimer(life.timer, left_s))


def _recall_facts(child: ChildRuntime, facts: Document) -> None:
    child.nonce = facts["nonce"]
    child.log.dropped = facts.get("log_lines_dropped", 0)
    child.exits.total, child.spawned_at = facts["exits_total"], facts["spawned_at"]
    child.diagnosis = facts["diagnosis"]
    child.senses.begin(child.life.generation)
    for name, value in facts["told"].items():
        setattr(child.senses.told, name, value)
    for name, value in facts["notified"].items():
        setattr(child.senses.facts, name, value)
    last = facts["last_exit"]
    if last is not None:
        typed = {"outcome": Outcome(**last["outcome"]), "status": ExitStatus(**last["status"])}
        child.exits.last = LastExit(**{**last, **typed})
