"""What was asked of several children and takes several steps: stop in order, restart one after another, wait.

Decides, from the states it is shown, which child gets which request next. Does no I/O and keeps no child.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from launcher.lifecycle_values import Child, DependenciesMet, Event, RestartRequested, StopRequested
from launcher.running.ordering import AT_REST, Seen, free_to_stop, missing_dependencies

__all__ = ["Orders"]

Lives = Mapping[str, Mapping[str, Child]]
"""Service -> child -> its life."""


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
        self._stopping: set[str] = set()
        self._rolling: dict[str, _Rolling] = {}

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
        """
        first, *left = children
        self._rolling[service] = _Rolling(first, children[first].generation, left)
        return [(first, RestartRequested())]

    def due(self, lives: Lives, depends_on: Mapping[str, Mapping[str, str]]) -> list[tuple[str, Event]]:
        """Return which child gets which event now; call it after every change of a state."""
        return [
            *self._due_stops(lives, depends_on),
            *self._due_restarts(lives),
            *_due_starts(lives, depends_on),
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
            if life is None or (life.generation > rolling.generation and life.state in AT_REST):
                # The new one does not come up: the others go on serving with what they have.
                del self._rolling[service]
            elif life.generation > rolling.generation and life.state == "ready":
                due += self._roll_on(service, rolling.left, lives[service])
        return due

    def _roll_on(
        self, service: str, left: Sequence[str], children: Mapping[str, Child]
    ) -> list[tuple[str, Event]]:
        still = {name: children[name] for name in left if name in children}
        if still:
            return self.roll(service, still)
        del self._rolling[service]
        return []


def _due_starts(lives: Lives, depends_on: Mapping[str, Mapping[str, str]]) -> list[tuple[str, Event]]:
    seen = {
        service: [Seen(life.state, life.pid is not None) for life in children.values()]
        for service, children in lives.items()
    }
    return [
        (name, DependenciesMet())
        for service, children in lives.items()
        for name, life in children.items()
        if life.state == "waiting" and not missing_dependencies(depends_on.get(service, {}), seen)
    ]
