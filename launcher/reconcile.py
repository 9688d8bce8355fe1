"""The stack that runs against the file: what to start, restart, stop, update or keep, and why.

Pure. Decides which settings a running child can take over without a restart. Knows nothing of processes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from launcher.config_models import Service

__all__ = ["LIVE_KEYS", "Action", "ActionKind", "changed_keys", "plan"]

ActionKind = Literal["start", "restart", "stop", "update", "keep"]

# The supervisor itself uses these; all else is fixed when a child is spawned.
LIVE_KEYS = frozenset({"depends_on", "health", "limits", "logs", "restart", "stop"})


@dataclass(frozen=True)
class Action:
    """What to do with one service, and the reason in words."""

    service: str
    kind: ActionKind
    reason: str


def plan(running: Mapping[str, Service], wanted: Mapping[str, Service]) -> tuple[Action, ...]:
    """One action for every service in either mapping; a service that is not enabled counts as absent.

    Stops come first, in reverse order of `running`, so that what is gone frees its ports; the others follow
    in the order of `wanted`. Planning again after the actions were carried out gives only `keep`.
    """
    is_wanted = {name: service for name, service in wanted.items() if service.enabled}
    stops = [
        Action(name, "stop", _why_stop(name, wanted))
        for name in reversed(tuple(running))
        if name not in is_wanted
    ]
    return (*stops, *(_action(name, running.get(name), service) for name, service in is_wanted.items()))


def changed_keys(before: Service, after: Service) -> tuple[str, ...]:
    """The YAML names of the keys whose values differ, in the order of the model."""
    return tuple(
        info.alias or name
        for name, info in Service.model_fields.items()
        if getattr(before, name) != getattr(after, name)
    )


def _why_stop(name: str, wanted: Mapping[str, Service]) -> str:
    return "is no longer enabled" if name in wanted else "is no longer in the file"


def _action(name: str, before: Service | None, after: Service) -> Action:
    if before is None:
        return Action(name, "start", "is not running")
    changed = changed_keys(before, after)
    if not changed:
        return Action(name, "keep", "is unchanged")
    listed = ", ".join(changed)
    is_live = set(changed) <= LIVE_KEYS and before.limits.open_files == after.limits.open_files
    if is_live:
        return Action(name, "update", f"{listed} changed; no restart is needed")
    return Action(name, "restart", f"{listed} changed")
