"""The status document `lucid.status/1`: its shape, and how the views of the supervisor become it.

Decides: the keys and types of launcher.md section 4, which state stands for a service with several children,
and that what is unknown is null and never 0. Pure: times come in as numbers, nothing is read from the system.
Does not know: where the facts come from or who reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

__all__ = [
    "SCHEMA",
    "STATES",
    "ChildDocument",
    "EventDocument",
    "ExitDocument",
    "GpuDeviceDocument",
    "GpuDocument",
    "GpuHolderDocument",
    "HealthDocument",
    "ServiceDocument",
    "State",
    "StatusDocument",
    "SupervisorDocument",
    "shape_service",
    "shape_status",
    "worst_state",
]

SCHEMA = "lucid.status/1"

State = Literal["stopped", "waiting", "starting", "ready", "unhealthy", "backoff", "stopping", "failed"]
"""The states of launcher.md section 1."""

STATES: tuple[State, ...] = (
    "failed",
    "backoff",
    "unhealthy",
    "stopping",
    "waiting",
    "starting",
    "stopped",
    "ready",
)
"""Worst first: the state of a service is the first of these that one of its children is in."""


class ExitDocument(TypedDict):
    """How the last generation of a child ended."""

    code: int | None
    signal: int | None
    reason: str
    at: str
    after_s: float | None
    stderr_tail: list[str]
    diagnosis: str | None


class HealthDocument(TypedDict):
    """What the probe last saw; `stats` is the child's own payload.

    `address` is where it is asked, an addition to the contract: of a child that shares its port its own.
    """

    probe: str | None
    address: str | None
    ok: bool | None
    age_s: float | None
    latency_ms: float | None
    failures: int
    stats: Mapping[str, Any] | None
    detail: str | None


class GpuDocument(TypedDict):
    """Where the child was placed."""

    ids: list[str]
    device: str | None


class GpuHolderDocument(TypedDict):
    """A process that holds memory of a GPU; `child` is ours that it belongs to."""

    pid: int
    used_bytes: int | None
    child: str | None


class GpuDeviceDocument(TypedDict):
    """A GPU of this machine; one that was given to a child and has gone has a `problem` and no figures."""

    uuid: str
    index: int | None
    name: str | None
    total_bytes: int | None
    free_bytes: int | None
    utilization_percent: int | None
    temperature_c: int | None
    power_w: float | None
    parent: str | None
    children: list[str]
    holders: list[GpuHolderDocument]
    problem: str | None


class ChildDocument(TypedDict):
    """One child; `port`, `url`, `exits_total`, `detail` and `log` are additions to the contract."""

    name: str
    port: int | None
    url: str | None
    pid: int | None
    generation: int
    state: State
    phase: str | None
    progress: float | None
    detail: str | None
    uptime_s: float | None
    restarts: int
    consecutive_failures: int
    exits_total: int
    last_exit: ExitDocument | None
    next_retry_s: float | None
    reason: str | None
    gpu: GpuDocument | None
    cpu_percent: float | None
    rss_bytes: int | None
    vram_bytes: int | None
    health: HealthDocument
    log: str
    log_lines_dropped: int


class ServiceDocument(TypedDict):
    """One service; what stands after `fallback_port`, but for `children`, is an addition to the contract.

    `settings` are digests of the settings that its children run with; `has_token` says that a request needs
    one.
    """

    desired: Literal["up", "down"]
    state: State
    port: int | None
    url: str | None
    fallback_port: bool
    server: str | None
    depends_on: Mapping[str, str]
    notes: list[str]
    settings: Mapping[str, str]
    has_token: bool
    children: list[ChildDocument]


class SupervisorDocument(TypedDict):
    """The supervisor itself; `guardian_pid` is null while the supervisor is the parent of the children."""

    pid: int
    guardian_pid: int | None
    uptime_s: float
    version: str
    rss_bytes: int | None


class StatusDocument(TypedDict):
    """The whole document of `GET /status`."""

    schema: str
    project: str
    config: str
    revision: int
    at: str
    supervisor: SupervisorDocument
    services: dict[str, ServiceDocument]
    gpus: list[GpuDeviceDocument]
    notes: list[str]


EventDocument = TypedDict(
    "EventDocument",
    {
        "revision": int,
        "at": str,
        "service": str,
        "child": str,
        "from": str,
        "to": str,
        "cause": str,
        "reason": "str | None",
        "detail": str,
        "generation": int,
        "pid": "int | None",
        "diagnosis": "str | None",
    },
)
"""One state change: `detail` is a sentence for people, `cause` a word for programs, `reason` the child's
reason after it; `diagnosis` is the bundle of a child that hung.
"""


def worst_state(states: Iterable[State]) -> State:
    """Return the state that a service with children in `states` shows; `stopped` when it has none."""
    present = set(states)
    return next((state for state in STATES if state in present), "stopped")


def shape_service(
    *,
    desired_up: bool,
    children: Sequence[ChildDocument],
    port: int | None,
    url: str | None,
    fallback_port: bool,
    server: str | None,
    depends_on: Mapping[str, str],
    notes: Sequence[str],
    settings: Mapping[str, str],
    has_token: bool,
) -> ServiceDocument:
    """Return the document of one service from those of its children."""
    return {
        "desired": "up" if desired_up else "down",
        "state": worst_state(child["state"] for child in children),
        "port": port,
        "url": url,
        "fallback_port": fallback_port,
        "server": server,
        "depends_on": dict(depends_on),
        "notes": list(notes),
        "settings": dict(settings),
        "has_token": has_token,
        "children": list(children),
    }


def shape_status(
    *,
    project: str,
    config: str,
    revision: int,
    at: str,
    supervisor: SupervisorDocument,
    services: Mapping[str, ServiceDocument],
    gpus: Sequence[GpuDeviceDocument] = (),
    notes: Sequence[str] = (),
) -> StatusDocument:
    """Return the whole status document; `at` is RFC 3339 UTC."""
    return {
        "schema": SCHEMA,
        "project": project,
        "config": config,
        "revision": revision,
        "at": at,
        "supervisor": supervisor,
        "services": dict(services),
        "gpus": list(gpus),
        "notes": list(notes),
    }
