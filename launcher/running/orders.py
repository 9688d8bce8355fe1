"""What was asked of several children and takes several steps: stop in order, restart one after another, wait,
restart with what is depended on.

Decides, from the states it is shown, which child gets which request next. Does no I/O and keeps no child.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from launcher.lifecycle_values import Child, DependenciesMet, Event, RestartRequested, StopRequested
from launcher.running.ordering import AT_REST, Seen, free_to_stop, missing_dependencies

__all__ = ["Needs", "Orders"]

Lives = Mapping[str, Mapping[str, Child]]
"""Service -> child -> its life."""


@dataclass(frozen=True)
class Needs:
    """What a service depends on: the condition by name, and which of them it restarts with."""

    conditions: Mapping[str, str]
    restarts_with: Collection[str] = ()


@dataclass
class _Rolling:
    """A rolling restart: who is being restarted, from which generation, and who is still to come."""

    current: str
    generation: int
    left: list[str]


class Orders:
    """Requests that are not finished yet."""

    def __init__(self) -> None:
        """Nothing is asked."""
        self.broken_off: dict[str, str] = {}
        """Service -> at which child its last rolling restart ended, as that one did not get ready."""
        self._stopping: set[str] = set()
        self._rolling: dict[str, _Rolling] = {}
        self._based_on: dict[tuple[str, str], int] = {}

    def remember(self) -> dict[str, Any]:
        """Return the orders as JSON; `recall` is the inverse."""
        return {
            "stopping": sorted(self._stopping),
            "rolling": {service: asdict(one) for service, one in self._rolling.items()},
            "broken_off": self.broken_off,
            "based_on": [[*pair, generation] for pair, generation in self._based_on.items()],
        }

    def recall(self, document: Mapping[str, Any]) -> None:
        """Go on with these orders."""
        self._stopping = set(document["stopping"])
        self._rolling = {service: _Rolling(**one) for service, one in document["rolling"].items()}
        self.broken_off = dict(document["broken_off"])
        self._based_on = {(service, name): n for service, name, n in document["based_on"]}

    def stop(self, services: Iterable[str]) -> None:
        """Stop these, each after everything of them that needs it."""
        for service in services:
            self._stopping.add(service)
            self._rolling.pop(service, None)

    def keep(self, services: Iterable[str]) -> None:
        """These are wanted after all."""
        self._stopping.difference_update(services)

    def roll(self, service: str, children: Mapping[str, Child]) -> list[tuple[str, Event]]:
        """Restart the children one after another, each once the one before is ready; returns the first
        request.

        Those that are not ready come first, as they have nothing to lose; when none is, all are restarted at
        once.
        """
        self.broken_off.pop(service, None)
        self._rolling.pop(service, None)
        if all(life.state != "ready" for life in children.values()):
            return [(name, RestartRequested()) for name in children]
        order = sorted(children, key=lambda name: children[name].state == "ready")
        return self._roll_on(service, order, children)

    def is_rolling(self, service: str) -> bool:
        """Whether a restart of the service is under way."""
        return service in self._rolling

    def due(self, lives: Lives, needs: Mapping[str, Needs]) -> list[tuple[str, Event]]:
        """Return which child gets which event now; call it after every change of a state."""
        conditions = {service: each.conditions for service, each in needs.items()}
        return [
            *self._due_stops(lives, conditions),
            *self._due_restarts(lives),
            *self._due_followers(lives, needs),
            *_due_starts(lives, conditions),
        ]

    def _due_stops(self, lives: Lives, depends_on: Mapping[str, Collection[str]]) -> list[tuple[str, Event]]:
        at_rest = {
            service
            for service, children in lives.items()
            if all(life.state in AT_REST and not life.desired_up for life in children.values())
        }
        self._stopping -= at_rest
        free = free_to_stop(self._stopping, depends_on, at_rest)
        return [
            (name, StopRequested())
            for service in free
            for name, life in lives.get(service, {}).items()
            if life.desired_up
        ]

    def _due_restarts(self, lives: Lives) -> list[tuple[str, Event]]:
        due: list[tuple[str, Event]] = []
        for service, rolling in list(self._rolling.items()):
            life = lives.get(service, {}).get(rolling.current)
            if life is None:
                del self._rolling[service]
            elif life.generation > rolling.generation and life.state in AT_REST:
                # The new one does not come up: the others go on serving with what they have.
                del self._rolling[service]
                if rolling.left:
                    self.broken_off[service] = rolling.current
            elif life.generation > rolling.generation and life.state == "ready":
                due += self._roll_on(service, rolling.left, lives[service])
        return due

    def _roll_on(
        self, service: str, left: Iterable[str], children: Mapping[str, Child]
    ) -> list[tuple[str, Event]]:
        still = [name for name in left if name in children]
        if not still:
            self._rolling.pop(service, None)
            return []
        first, *rest = still
        self._rolling[service] = _Rolling(first, children[first].generation, rest)
        return [(first, RestartRequested())]

    def _due_followers(self, lives: Lives, needs: Mapping[str, Needs]) -> list[tuple[str, Event]]:
        """Restart a service that runs beside a former generation of what it restarts with."""
        due: list[tuple[str, Event]] = []
        for service, need in needs.items():
            children = lives.get(service, {}).values()
            runs = any(life.pid is not None and life.desired_up for life in children)
            for other in need.restarts_with:
                is_back = not missing_dependencies({other: need.conditions[other]}, _seen(lives))
                if self._has_moved(service, lives.get(other, {}), is_back=is_back, runs=runs):
                    due += self.roll(service, lives[service])
        return due

    def _has_moved(self, service: str, others: Mapping[str, Child], *, is_back: bool, runs: bool) -> bool:
        """Whether one of `others` is of a later generation than the one that `service` started beside."""
        moved = False
        for name, life in others.items():
            based_on = self._based_on.get((service, name))
            if based_on is None or not runs:
                self._based_on[service, name] = life.generation
            elif life.generation > based_on and is_back:
                self._based_on[service, name] = life.generation
                moved = True
        return moved


def _seen(lives: Lives) -> dict[str, list[Seen]]:
    return {service: [Seen.of(life) for life in children.values()] for service, children in lives.items()}


def _due_starts(lives: Lives, depends_on: Mapping[str, Mapping[str, str]]) -> list[tuple[str, Event]]:
    seen = _seen(lives)
    return [
        (name, DependenciesMet())
        for service, children in lives.items()
        for name, life in children.items()
        if life.state == "waiting" and not missing_dependencies(depends_on.get(service, {}), seen)
    ]
