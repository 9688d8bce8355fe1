"""Which children a service has, and which services come along with which: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.configuration.models import Service

__all__ = ["child_names", "successions", "with_dependencies"]


def child_names(service: Service) -> tuple[str, ...]:
    """The names of the service's children: its own for one, `name.0`, `name.1` … for several."""
    if service.replicas == 1:
        return (service.name,)
    return tuple(f"{service.name}.{replica}" for replica in range(service.replicas))


def successions(service: Service, running: Collection[str]) -> dict[str, str]:
    """Return which running child goes on under which name, as a service gets its first second replica.

    `inference` becomes `inference.0` then, and the other way round when only one is left; so that scaling
    restarts nobody.
    """
    single, first = service.name, f"{service.name}.0"
    if service.replicas > 1 and single in running and first not in running:
        return {single: first}
    if service.replicas == 1 and first in running and single not in running:
        return {first: single}
    return {}


def with_dependencies(services: Iterable[str], depends_on: Mapping[str, Collection[str]]) -> set[str]:
    """Return `services` and everything that they need, directly or not."""
    found: set[str] = set()
    queue = list(services)
    while queue:
        service = queue.pop()
        if service not in found:
            found.add(service)
            queue.extend(depends_on.get(service, ()))
    return found
