"""What `up` would do now: the running stack's status against the file, and the ports and GPUs it would use.

Decides nothing by itself: `reconcile` names the actions, `preflight` tries the ports and places the GPUs
(and lets them go again). Starts and changes nothing.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from launcher.config import Config
from launcher.configuration.models import Service, child_names
from launcher.errors import NoSuchService
from launcher.planning.preflight import PreparedChild, prepare
from launcher.planning.seating import Seat
from launcher.reconcile import Action, Settings, plan_from_settings

__all__ = ["ChildPlan", "StackPlan", "own_pids", "plan_stack", "seats_in"]

Document = Mapping[str, Any]


@dataclass(frozen=True)
class ChildPlan:
    """Where one child would run, or runs already."""

    service: str
    child: str
    port: int | None
    url: str | None
    device: str | None
    gpus: list[str]
    fallback_port: bool


@dataclass(frozen=True)
class StackPlan:
    """The whole plan; `notes` are sentences that the user must see.

    Not `is_complete`: the running supervisor does not tell its settings, so that changes cannot be seen.
    """

    project: str
    is_running: bool
    actions: tuple[Action, ...]
    children: tuple[ChildPlan, ...]
    notes: tuple[str, ...]
    is_complete: bool = True

    @property
    def has_changes(self) -> bool:
        """Whether `up` would do anything."""
        return any(action.kind != "keep" for action in self.actions)

    def to_document(self) -> dict[str, object]:
        """The plan as JSON: schema `lucid.plan/1`."""
        return {
            "schema": "lucid.plan/1",
            "project": self.project,
            "running": self.is_running,
            "changes": self.has_changes,
            "actions": [
                {"service": action.service, "action": action.kind, "reason": action.reason}
                for action in self.actions
            ],
            "children": [asdict(child) for child in self.children],
            "notes": list(self.notes),
        }


def plan_stack(
    config: Config,
    status: Document | None,
    environ: Mapping[str, str],
    *,
    only: Collection[str] = (),
    strict_ports: bool = False,
) -> StackPlan:
    """Plan for `config` with `status` the running stack's document, None when nothing runs.

    `only` limits the plan to these services and all that they depend on. Raises NoSuchService, and whatever
    `prepare` raises: what `up` would fail with, the plan fails with.
    """
    services: Mapping[str, Any] = status["services"] if status is not None else {}
    chosen = _with_dependencies(config, only) if only else set(config.services) | set(services)
    actions = tuple(action for action in _actions(services, config) if action.service in chosen)
    fresh = [action.service for action in actions if action.kind in ("start", "restart")]
    pids, seats = ((), {}) if status is None else (tuple(own_pids(status)), seats_in(status))
    prepared = prepare(
        config, strict_ports=strict_ports, environ=environ, only=fresh, own_pids=pids, seats=seats
    )
    prepared.close()
    planned = [config.services[action.service] for action in actions if action.kind != "stop"]
    return StackPlan(
        config.project,
        status is not None,
        actions,
        tuple(child for service in planned for child in _children(service, services, prepared.children)),
        tuple(prepared.notes),
        is_complete=None not in _running(services).values(),
    )


def _with_dependencies(config: Config, names: Collection[str]) -> set[str]:
    """`names` and all that they need; raises NoSuchService."""
    chosen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in config.services:
            raise NoSuchService(name, tuple(config.services))
        if name not in chosen:
            chosen.add(name)
            waiting += config.services[name].depends_on
    return chosen


def _running(services: Mapping[str, Any]) -> dict[str, Settings | None]:
    """The settings of every service that is wanted up; one that the user stopped counts as not running.

    None for a supervisor that does not tell them.
    """
    return {
        name: document.get("settings")
        for name, document in services.items()
        if document.get("desired") != "down"
    }


def _actions(services: Mapping[str, Any], config: Config) -> Iterator[Action]:
    running = _running(services)
    told = {name: {} if settings is None else settings for name, settings in running.items()}
    for action in plan_from_settings(told, config.services):
        is_untold = action.service in running and running[action.service] is None
        if is_untold and action.kind in ("restart", "update"):
            yield Action(action.service, "keep", "runs; its supervisor does not tell whether it has changed")
        else:
            yield action


def own_pids(status: Document) -> Iterator[int]:
    """The supervisor and every child that lives, by the status document; each leads a session of its own."""
    yield int(status["supervisor"]["pid"])
    for service in status["services"].values():
        for child in service["children"]:
            if child.get("pid") is not None:
                yield int(child["pid"])


def seats_in(status: Document) -> dict[str, Seat]:
    """The GPUs that each child has, by the status document."""
    return {
        child["name"]: Seat(
            tuple((child.get("gpu") or {}).get("ids") or ()), child.get("pid"), child.get("port")
        )
        for service in status["services"].values()
        for child in service["children"]
    }


def _children(
    service: Service, services: Mapping[str, Any], prepared: Mapping[str, PreparedChild]
) -> Iterator[ChildPlan]:
    document = services.get(service.name, {})
    running = {child["name"]: child for child in document.get("children", [])}
    for name in child_names(service):
        if name in prepared:
            child = prepared[name]
            gpus = list(child.gpu.ids)
            yield ChildPlan(
                service.name, name, child.port, child.url, child.gpu.device, gpus, child.fallback_port
            )
            continue
        gpu = running.get(name, {}).get("gpu") or {}
        yield ChildPlan(
            service.name,
            name,
            running.get(name, {}).get("port", document.get("port")),
            running.get(name, {}).get("url", document.get("url")),
            gpu.get("device"),
            list(gpu.get("ids") or ()),
            bool(document.get("fallback_port")),
        )
