"""The only writer of child state: event in, `lifecycle.step`, effects performed, change published.

Everything that happens to a child is posted here and handled one after the other. Decides nothing that a pure
module can decide: lives are `lifecycle`'s, order is `orders`', and what is done about it is
`children.runtime`'s.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from launcher.lifecycle import step
from launcher.lifecycle_values import Child, Event, StartRequested, StopRequested
from launcher.reconcile import Settings
from launcher.running.announcing import Announcer
from launcher.running.ordering import AT_REST
from launcher.running.orders import Needs, Orders
from launcher.running.publisher import Publisher
from launcher.running.roster import Roster
from launcher.running.running_settings import RunningSettings

__all__ = ["Stack"]


class Stack(Roster):
    """The children of one configuration and what is asked of them; lives on the loop's thread."""

    def __init__(
        self, publisher: Publisher, log: Callable[[str], None], changed: Callable[[], None] = lambda: None
    ) -> None:
        """Publish changes, and write each decision once through `log`; `changed` follows each change."""
        super().__init__()
        self.is_ending = False
        self.publisher = publisher
        self._log = log
        self._changed = changed
        self._announcer = Announcer(publisher, log)
        self._settings = RunningSettings()
        self._orders = Orders()
        self._events: deque[tuple[str, Event]] = deque()
        self._woken = asyncio.Event()
        self._is_over = False

    def post(self, name: str, event: Event) -> None:
        """Queue an event for a child; events for a child that is gone are dropped when they are handled."""
        self._events.append((name, event))
        self._woken.set()

    async def run(self) -> None:
        """Handle events until `end` was asked for and everything is at rest, or `leave` was called."""
        self._follow_orders()
        while not self._is_over:
            await self._woken.wait()
            self._woken.clear()
            self._handle_all()
            if self.is_ending:
                self._follow_orders()

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

    def settings(self, service: str) -> Settings:
        """Return the digests of what the service's children run with, which may lag behind the file.

        Where they differ, as after a rolling restart that was broken off, those of the laggard count.
        """
        wanted = self.services[service]
        if self._orders.is_rolling(service):
            return self._settings.of(wanted)
        return self._settings.of_running(wanted, self.of(service).values())

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

    def leave(self) -> None:
        """Let `run` return now, and everything go on as it is."""
        self._is_over = True
        self._woken.set()

    def kill(self) -> None:
        """End at once: nobody waits for a grace period any more."""
        self.is_ending = True
        for name, child in self.children.items():
            self.post(name, StopRequested())
            if child.tree is not None:
                child.tree.kill()
        self._follow_orders()

    def remember(self) -> dict[str, Any]:
        """Return, as JSON, what is asked of the stack and is not done yet; `recall` is the inverse."""
        return {
            "is_ending": self.is_ending,
            "leaving": sorted(self._leaving),
            "renamed": self._renamed,
            "listed": self.listed,
            "orders": self._orders.remember(),
        }

    def recall(self, document: Mapping[str, Any]) -> None:
        """Go on with what was asked of the stack before; its children are here already."""
        self.is_ending = document["is_ending"]
        self._leaving = set(document["leaving"])
        self._renamed = dict(document["renamed"])
        self.listed = dict(document.get("listed", {}))
        self._orders.recall(document["orders"])

    def _handle_all(self) -> None:
        while self._events and not self._is_over:
            self._handle(*self._events.popleft())

    def _handle(self, name: str, event: Event) -> None:
        child = self.find(name)
        if child is None:
            return
        before = child.life
        now = asyncio.get_running_loop().time()
        after, effects = step(before, event, now, random.random())
        child.life = after
        for effect in effects:
            child.perform(effect)
        if after.state != before.state or after.generation != before.generation:
            self._announcer.announce(child, before, event, self.missing_for(child.service), now)
        if after != before:
            self.publisher.changed()
            self._changed()
            self._follow_orders()

    def _follow_orders(self) -> None:
        """Ask what is due now, and let go of what has left."""
        if self.is_ending:
            # What a change of the file was about to start must stop too.
            self._orders.stop(self.services)
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
        self.drop_what_has_left()
        is_over = all(
            child.life.state in AT_REST and not child.life.desired_up for child in self.children.values()
        )
        if self.is_ending and is_over and not self._events:
            self.leave()
