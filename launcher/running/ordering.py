"""In which order services start and stop: pure planners over dependencies and states."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from launcher.lifecycle_values import Child
from launcher.snapshot import State

__all__ = ["AT_REST", "Seen", "depth_of", "free_to_stop", "missing_dependencies"]

AT_REST: frozenset[State] = frozenset({"stopped", "failed"})
_STARTED: frozenset[State] = frozenset({"starting", "ready", "unhealthy"})


@dataclass(frozen=True)
class Seen:
    """What a dependent may see of a child: its state, whether it has a process, whether its work is done."""

    state: State
    has_process: bool
    is_done: bool = False

    @classmethod
    def of(cls, life: Child) -> Seen:
        """What may be seen of this one; stopped and still wanted means that it ended well."""
        return cls(life.state, life.pid is not None, life.state == "stopped" and life.desired_up)

    def satisfies(self, condition: str) -> bool:
        """Whether it is `started` or `ready`, as asked; an unhealthy child is started and not ready.

        A program that has done its work satisfies both.
        """
        if self.is_done:
            return True
        if condition == "ready":
            return self.state == "ready"
        return self.state in _STARTED and self.has_process


def missing_dependencies(depends_on: Mapping[str, str], seen: Mapping[str, Iterable[Seen]]) -> list[str]:
    """Return the services that are not yet as `depends_on` asks, in its order; a service with no child is
    missing.
    """
    missing = []
    for service, condition in depends_on.items():
        children = list(seen.get(service, ()))
        if not children or not all(child.satisfies(condition) for child in children):
            missing.append(service)
    return missing


def free_to_stop(
    pending: Collection[str], depends_on: Mapping[str, Collection[str]], at_rest: Collection[str]
) -> set[str]:
    """Return which of `pending` may be stopped now: those on which nothing rests that is pending and still
    up.
    """
    held = {
        needed
        for service, needs in depends_on.items()
        if service in pending and service not in at_rest
        for needed in needs
    }
    return {service for service in pending if service not in held}


def depth_of(service: str, depends_on: Mapping[str, Collection[str]]) -> int:
    """Return the length of the longest chain of dependencies below a service, itself counted."""
    return 1 + max((depth_of(needed, depends_on) for needed in depends_on.get(service, ())), default=0)
