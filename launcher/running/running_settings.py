"""What the children of a service run with, as digests to compare with what the file says now.

Decides that of children which differ the laggard counts, and that digests are taken once for each reading of
a service, as the status is asked for all the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from launcher.children.runtime import ChildRuntime
from launcher.reconcile import LIVE_KEYS, Settings, settings_of

if TYPE_CHECKING:
    from launcher.configuration.models import Service

__all__ = ["RunningSettings"]

_LIVE = LIVE_KEYS | {"replicas"}
_MOST_KNOWN = 256


class RunningSettings:
    """Remembers the digests of settings that it has seen."""

    def __init__(self) -> None:
        """None is known."""
        self._known: dict[int, tuple[Service, Settings]] = {}

    def of(self, service: Service) -> Settings:
        """Return the digests of a service's settings."""
        # The service is held beside them, so that its id is nobody else's.
        known = self._known.get(id(service))
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[id(service)] = (service, settings_of(service))
        return known[1]

    def of_running(self, service: Service, children: Iterable[ChildRuntime]) -> Settings:
        """Return the digests of what `children` run with, where that lags behind `service`; else those of
        `service`.
        """
        wanted = self.of(service)
        for child in children:
            if child.tree is None or child.spawned_service is None:
                continue
            ran = self.of(child.spawned_service)
            lag = {key: ran[key] for key in ran.keys() - _LIVE if ran[key] != wanted[key]}
            if lag:
                return {**wanted, **lag}
        return wanted
