"""The only writer of child state: event in, `lifecycle.step`, effects performed, change published.

Everything that happens to a child is posted here and handled one after the other. Decides nothing that a pure
module can decide: lives are `lifecycle`'s, order is `orders`', and what is done about it is
`children.runtime`'s.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from launcher.children.runtime import ChildRuntime
from launcher.configuration.models import Service
from launcher.errors import NoSuchService
from launcher.lifecycle import step
from launcher.lifecycle_values import Child, Event, StartRequested, StopRequested
from launcher.logs.line_format import stamp
from launcher.planning.seating import Seat
from launcher.reconcile import LIVE_KEYS, Settings, settings_of
from launcher.running.change_text import cause_of, describe_change
from launcher.running.journal import JournalEntry
from launcher.running.ordering import AT_REST, Seen, missing_dependencies
from launcher.running.orders import Needs, Orders
from launcher.running.publisher import Publisher

__all__ = ["Stack"]

_LIVE = LIVE_KEYS | {"replicas"}


class Stack:
    """The children of one configuration and what is asked of them; lives on the loop's thread."""

    def __init__(self, publisher: Publisher, log: Callable[[str], None]) -> None:
        """Publish changes, and write each decision once through `log`."""
        self.services: dict[str, Service] = {}
        self.children: dict[str, ChildRuntime] = {}
        self.is_ending = False
        self.publisher = publisher
        self._log = log
        self._orders = Orders()
        self._events: deque[tuple[str, Event]] = deque()
        self._woken = asyncio.Event()
        self._is_over = False
        self._leaving: set[str] = set()
        self._renamed: dict[str, str] = {}
        self._known_digests: dict[int, tuple[Service, Settings]] = {}

    def post(self, name: str, event: Event) -> None:
        """Queue an event for a child; events for a child that is gone are dropped when they are handled."""
        self._events.append((name, event))
        self._woken.set()

    async def run(self) -> None:
        """Handle events until `end` was asked for and everything is at rest."""
        while not self._is_over:
            await self._woken.wait()
            self._woken.clear()
            self._handle_all()

    def adopt(self, runtime: ChildRuntime) -> bool:
        """Add a child, at rest until it is started; False for one that is here to stay already."""
        is_new = runtime.name not in self.children or runtime.name in self._leaving
        self.services[runtime.service.name] = runtime.service
        self.children[runtime.name] = runtime
        self._leaving.discard(runtime.name)
        return is_new

    def of(self, service: str) -> dict[str, ChildRuntime]:
        """Return the children of a service by name, without those that are on their way out."""
        return {name: child for name, child in self.shown(service).items() if name not in self._leaving}

    def shown(self, service: str) -> dict[str, ChildRuntime]:
        """Return all children of a service that still exist, by name."""
        return {name: child for name, child in self.children.items() if child.service.name == service}

    def check_known(self, services: Iterable[str]) -> None:
        """Raise NoSuchService for the first that is not here."""
        for service in services:
            if service not in self.services:
                raise NoSuchService(service, list(self.services))

    def start(self, services: Iterable[str]) -> None:
        """Want these up; those that are up stay as they are."""
        names = list(services)
        self._orders.keep(names)
        for service in names:
            for name in self.of(service):
                self.post(name, StartRequested())

    def stop(self, services: Iterable[str]) -> None:
        """Want these down, dependents first."""
        # A start that was asked for before must not be handled after.
        self._handle_all()
        self._orders.stop(services)
        self._follow_orders()

    def restart(self, service: str) -> None:
        """Want a new generation of each child, one after another when there are several."""
        self._orders.keep([service])
        lives = {name: child.life for name, child in self.of(service).items()}
        for name, event in self._orders.roll(service, lives):
            self.post(name, event)

    def rename(self, old: str, new: str) -> None:
        """Let a running child go on under another name; what is under way for the old one reaches it."""
        child = self.children.pop(old)
        child.rename(new)
        # The first replica comes first, whenever it was renamed.
        self.children = {new: child, **self.children}
        self._renamed.pop(new, None)
        self._renamed[old] = new

    def settings(self, service: str) -> Settings:
        """Return the digests of what the service's children run with, which may lag behind the file.

        Where they differ, as after a rolling restart that was broken off, those of the laggard count.
        """
        wanted = self._digests(self.services[service])
        if self._orders.is_rolling(service):
            return wanted
        for child in self.of(service).values():
            if child.tree is None or child.spawned_service is None:
                continue
            ran = self._digests(child.spawned_service)
            lag = {key: ran[key] for key in ran.keys() - _LIVE if ran[key] != wanted[key]}
            if lag:
                return {**wanted, **lag}
        return wanted

    def notes_on(self, service: str) -> list[str]:
        """Return what the user must know of the service besides its states."""
        child = self._orders.broken_off.get(service)
        if child is None:
            return []
        return [f"the rolling restart ended at {child}, which did not get ready; the others were left alone"]

    def forget(self, names: Iterable[str]) -> None:
        """Stop these children and drop them once they are at rest."""
        for name in names:
            self._leaving.add(name)
            self.post(name, StopRequested())

    def end(self) -> None:
        """Stop everything in reverse order; `run` returns when that is done. Idempotent."""
        self.is_ending = True
        self.stop(list(self.services))

    def kill(self) -> None:
        """End at once: nobody waits for a grace period any more."""
        self.is_ending = True
        for name, child in self.children.items():
            self.post(name, StopRequested())
            if child.tree is not None:
                child.tree.kill()
        self._follow_orders()

    def missing_for(self, service: Service) -> list[str]:
        """Return the dependencies that are not yet as the service asks."""
        seen = {
            name: [Seen(child.life.state, child.life.pid is not None) for child in self.of(name).values()]
            for name in service.depends_on
        }
        return missing_dependencies(service.conditions, seen)

    def journal_entries(self) -> list[JournalEntry]:
        """Return what has to be swept should this process die now."""
        return [
            JournalEntry(name, child.tree.pid, child.tree.started_ticks, child.nonce)
            for name, child in self.children.items()
            if child.tree is not None
        ]

    def held_sockets(self) -> dict[str, tuple[socket.socket, ...]]:
        """Return the listening sockets by child."""
        return {name: child.prepared.sockets for name, child in self.children.items()}

    def seats(self) -> dict[str, Seat]:
        """Return the GPUs by child."""
        return {
            name: Seat(child.prepared.gpu.ids, child.life.pid, child.prepared.port)
            for name, child in self.children.items()
        }

    def _handle_all(self) -> None:
        while self._events and not self._is_over:
            self._handle(*self._events.popleft())

    def _handle(self, name: str, event: Event) -> None:
        child = self.children.get(name) or self.children.get(self._renamed.get(name, ""))
        if child is None:
            return
        before = child.life
        now = asyncio.get_running_loop().time()
        after, effects = step(before, event, now, random.random())
        child.life = after
        for effect in effects:
            child.perform(effect)
        if after.state != before.state or after.generation != before.generation:
            self._announce(child, before, event, now)
        if after != before:
            self.publisher.changed()
            self._follow_orders()

    def _announce(self, child: ChildRuntime, before: Child, event: Event, now: float) -> None:
        """Say a change once: as an event for programs, as a line for people."""
        after = child.life
        retry_s = None if after.state != "backoff" or after.due_at is None else after.due_at - now
        missing = self.missing_for(child.service)
        detail = describe_change(before, after, missing, retry_s)
        if child.diagnosis is not None and after.state in ("backoff", "failed"):
            detail += f"; what it was doing: {child.diagnosis}"
        self.publisher.record(
            {
                "revision": self.publisher.next_revision(),
                "at": stamp(time.time()),
                "service": child.service.name,
                "child": child.name,
                "from": before.state,
                "to": after.state,
                "cause": cause_of(event, after),
                "reason": after.reason,
                "detail": detail,
                "generation": after.generation,
                "pid": after.pid,
                "diagnosis": child.diagnosis,
            }
        )
        if after.state != "waiting" or missing:
            self._log(f"{child.name} {after.state}: {detail}")

    def _follow_orders(self) -> None:
        """Ask what is due now, and let go of what has left."""
        lives: dict[str, Mapping[str, Child]] = {
            service: {name: child.life for name, child in self.of(service).items()}
            for service in self.services
        }
        needs = {
            name: Needs(service.conditions, service.restarts_with) for name, service in self.services.items()
        }
        broken_off = dict(self._orders.broken_off)
        for name, event in self._orders.due(lives, needs):
            self.post(name, event)
        for service in self._orders.broken_off.keys() - broken_off.keys():
            self._log(f"{service}: {self.notes_on(service)[0]}")
        for name in list(self._leaving):
            if self.children[name].life.state in AT_REST:
                self._drop(name)
        is_over = all(
            child.life.state in AT_REST and not child.life.desired_up for child in self.children.values()
        )
        if self.is_ending and is_over and not self._events:
            self._is_over = True
            self._woken.set()

    def _digests(self, service: Service) -> Settings:
        """Digests are taken once for each reading of a service: the status is asked for all the time."""
        known = self._known_digests.get(id(service))
        if known is None:
            if len(self._known_digests) > 4 * (len(self.children) + 8):
                self._known_digests.clear()
            known = self._known_digests[id(service)] = (service, settings_of(service))
        return known[1]

    def _drop(self, name: str) -> None:
        self._leaving.discard(name)
        child = self.children.pop(name)
        child.close()
        for held in child.prepared.sockets:
            with suppress(OSError):
                held.close()
        if not self.shown(child.service.name):
            self.services.pop(child.service.name, None)
