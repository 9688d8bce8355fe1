"""The stack that runs against the file: what to start, restart, stop, update or keep, and why.

Pure. Decides which settings a running child can take over without a restart. A running service is known by
the digests of its settings, which the status document carries, so that a light client can plan too. Knows
nothing of processes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from launcher.configuration.choices import NamedGpus

if TYPE_CHECKING:
    from launcher.configuration.models import Service

__all__ = [
    "LIVE_KEYS",
    "Action",
    "ActionKind",
    "Settings",
    "digest_of",
    "plan",
    "plan_from_settings",
    "settings_of",
]

ActionKind = Literal["start", "restart", "stop", "update", "keep"]
Settings = Mapping[str, str]
"""A digest for each key of a service; equal digests mean an equal setting."""

# The supervisor itself uses these; all else is fixed when a child is spawned.
LIVE_KEYS = frozenset({"depends_on", "health", "limits", "logs", "restart", "stop", "while_starting"})


@dataclass(frozen=True)
class Action:
    """What to do with one service, and the reason in words."""

    service: str
    kind: ActionKind
    reason: str


def settings_of(service: Service) -> dict[str, str]:
    """A short digest of each setting of `service`, by its name in config.yaml; no value can be read back."""
    taken: dict[str, str] | None = getattr(service, "settings", None)
    if taken is not None:
        # A record of a service carries them, as it cannot tell what its settings were called in the file.
        return taken
    from launcher.configuration.resolved import resolved_service

    resolved = resolved_service(service)
    resolved["open_files"] = service.limits.open_files  # a limit that only a new process can get
    return {key: digest_of(value) for key, value in resolved.items()}


def _scalable(service: Service) -> frozenset[str]:
    """More or fewer replicas leave the others alone, unless a list of GPUs has to be dealt anew."""
    is_dealt = isinstance(service.gpu, NamedGpus) and len(service.gpu.names) > 1
    return frozenset() if is_dealt else frozenset({"replicas"})


def digest_of(value: object) -> str:
    """A short digest of one setting, as `settings_of` takes it."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plan(running: Mapping[str, Service], wanted: Mapping[str, Service]) -> tuple[Action, ...]:
    """One action for every service in either mapping; a service that is not enabled counts as absent.

    Stops come first, in reverse order of `running`, so that what is gone frees its ports; the others follow
    in the order of `wanted`. Planning again after the actions were carried out gives only `keep`.
    """
    return plan_from_settings({name: settings_of(service) for name, service in running.items()}, wanted)


def plan_from_settings(running: Mapping[str, Settings], wanted: Mapping[str, Service]) -> tuple[Action, ...]:
    """As `plan`, with what runs given by `settings_of` each service."""
    is_wanted = {name: service for name, service in wanted.items() if service.enabled}
    gone = [name for name in reversed(tuple(running)) if name not in is_wanted]
    stops = (Action(name, "stop", _why_stop(name, wanted)) for name in gone)
    return (*stops, *(_action(name, running.get(name), service) for name, service in is_wanted.items()))


def _why_stop(name: str, wanted: Mapping[str, Service]) -> str:
    return "is no longer enabled" if name in wanted else "is no longer in the file"


def _action(name: str, before: Settings | None, after: Service) -> Action:
    if before is None:
        return Action(name, "start", "is not running")
    now = settings_of(after)
    changed = [key for key in now if before.get(key) != now[key]]
    if not changed:
        return Action(name, "keep", "is unchanged")
    listed = ", ".join("limits.open_files" if key == "open_files" else key for key in changed)
    if set(changed) <= LIVE_KEYS | _scalable(after):
        return Action(name, "update", f"{listed} changed; no restart is needed")
    return Action(name, "restart", f"{listed} changed")
