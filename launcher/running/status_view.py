"""The status document from what the supervisor holds now. Reads, never writes; see `snapshot` for the
shape.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher import __version__
from launcher.children.exits import LastExit
from launcher.children.probe import probe_kind
from launcher.children.runtime import ChildRuntime
from launcher.children.usage import own_rss_bytes
from launcher.gpus import GpuReport
from launcher.logs.line_format import stamp
from launcher.placement import GpuFacts
from launcher.running.listing import view_listed
from launcher.running.stack import Stack
from launcher.snapshot import (
    ChildDocument,
    ExitDocument,
    GpuDeviceDocument,
    HealthDocument,
    ServiceDocument,
    StatusDocument,
    shape_service,
    shape_status,
)
from launcher.tokens import needs_token

if TYPE_CHECKING:
    from launcher.configuration.models import Service

__all__ = ["view_child", "view_gpus", "view_plan", "view_service", "view_stack"]

_WITH_PHASE = frozenset({"starting"})


def view_stack(
    stack: Stack,
    report: GpuReport | None,
    *,
    config_path: Path,
    project: str,
    guardian_pid: int,
    started_at: float,
    notes: Sequence[str],
) -> StatusDocument:
    """Return the whole status document as of now; `started_at` is of the loop's clock."""
    now = asyncio.get_running_loop().time()
    return shape_status(
        project=project,
        config=config_path.name,
        revision=stack.publisher.revision,
        at=stamp(time.time()),
        supervisor={
            "pid": os.getpid(),
            "guardian_pid": guardian_pid,
            "uptime_s": round(now - started_at, 3),
            "version": __version__,
            "rss_bytes": own_rss_bytes(),
        },
        services={name: _view_named(name, stack, config_path.parent / "logs", now) for name in stack.names()},
        gpus=view_gpus(report, list(stack.children.values())),
        notes=notes,
    )


def view_plan(children: Sequence[ChildRuntime]) -> list[dict[str, Any]]:
    """Return where each child runs, for whoever started the stack."""
    return [
        {
            "service": child.service.name,
            "child": child.name,
            "port": child.prepared.port,
            "url": child.prepared.url,
            "device": child.prepared.gpu.device,
            "fallback_port": child.prepared.fallback_port,
        }
        for child in children
    ]


def _view_named(name: str, stack: Stack, logs: Path, now: float) -> ServiceDocument:
    service = stack.services.get(name)
    return view_listed(stack.listed[name], logs) if service is None else view_service(service, stack, now)


def view_service(service: Service, stack: Stack, now: float) -> ServiceDocument:
    """Return the document of one service of `stack`; `now` is of the loop's clock."""
    children, missing = list(stack.shown(service.name).values()), stack.missing_for(service)
    first = children[0].prepared
    notes = [child.prepared.gpu.note for child in children if child.prepared.gpu.note]
    notes += stack.notes_on(service.name)
    return shape_service(
        desired_up=any(child.life.desired_up for child in children),
        children=[view_child(child, missing, now) for child in children],
        port=first.port,
        url=first.url,
        fallback_port=any(child.prepared.fallback_port for child in children),
        server=service.server,
        depends_on=service.conditions,
        notes=list(dict.fromkeys(notes)),
        settings=stack.settings(service.name),
        has_token=needs_token(service),
    )


def view_gpus(report: GpuReport | None, children: Sequence[ChildRuntime]) -> list[GpuDeviceDocument]:
    """Return the documents of all GPUs: those that answer, and those that a child was given and have gone."""
    gpus = () if report is None else report.gpus
    owners = {pid: child.name for child in children if child.usage for pid in child.usage.pids}
    seated: dict[str, list[str]] = {}
    for child in children:
        for uuid in child.prepared.gpu.ids:
            seated.setdefault(uuid, []).append(child.name)
    found = [_view_gpu(gpu, seated.get(gpu.uuid, []), owners) for gpu in gpus]
    there = {gpu.uuid for gpu in gpus}
    why = None if report is None else report.problem
    lost = (_view_lost(uuid, names, why) for uuid, names in seated.items() if uuid not in there)
    return [*found, *lost]


def _view_gpu(gpu: GpuFacts, names: list[str], owners: Mapping[int, str]) -> GpuDeviceDocument:
    return {
        "uuid": gpu.uuid,
        "index": gpu.index,
        "name": gpu.name,
        "total_bytes": gpu.total_bytes,
        "free_bytes": gpu.free_bytes,
        "utilization_percent": gpu.utilization_percent,
        "temperature_c": gpu.temperature_c,
        "power_w": gpu.power_w,
        "parent": gpu.parent,
        "children": names,
        "holders": [
            {"pid": holder.pid, "used_bytes": holder.used_bytes, "child": owners.get(holder.pid)}
            for holder in gpu.holders
        ],
        "problem": None,
    }


def _view_lost(uuid: str, names: list[str], why: str | None) -> GpuDeviceDocument:
    return {
        "uuid": uuid,
        "index": None,
        "name": None,
        "total_bytes": None,
        "free_bytes": None,
        "utilization_percent": None,
        "temperature_c": None,
        "power_w": None,
        "parent": None,
        "children": names,
        "holders": [],
        "problem": why or "the driver lists it no more",
    }


def view_child(child: ChildRuntime, missing: Sequence[str], now: float) -> ChildDocument:
    """Return the document of one child."""
    life, told, usage = child.life, child.senses.told, child.usage
    is_starting = life.state in _WITH_PHASE
    gpu = child.prepared.gpu
    is_waiting = life.state == "waiting"
    return {
        "name": child.name,
        "port": child.prepared.port,
        "url": child.prepared.url,
        "pid": life.pid,
        "generation": life.generation,
        "state": life.state,
        "phase": (told.phase or "spawn") if is_starting else None,
        "progress": told.progress if is_starting else None,
        "detail": told.detail if life.pid is not None else None,
        "uptime_s": None if child.spawned_at is None else round(now - child.spawned_at, 3),
        "restarts": life.restarts,
        "consecutive_failures": life.failures,
        "exits_total": child.exits.total,
        "last_exit": None if child.exits.last is None else _view_exit(child.exits.last),
        "next_retry_s": _left_s(life.due_at, now) if life.state == "backoff" else None,
        "reason": f"waits for {', '.join(missing)}" if is_waiting and missing else life.reason,
        "gpu": {"ids": list(gpu.ids), "device": told.device or gpu.device},
        "cpu_percent": None if usage is None else usage.cpu_percent,
        "rss_bytes": None if usage is None else usage.rss_bytes,
        "vram_bytes": child.gpu.vram_bytes,
        "health": _view_health(child, now),
        "log": str(child.log.path),
        "log_lines_dropped": child.log.dropped,
    }


def _view_exit(last: LastExit) -> ExitDocument:
    return {
        "code": last.status.code,
        "signal": last.status.signal,
        "reason": last.outcome.reason,
        "at": last.at,
        "after_s": None if last.after_s is None else round(last.after_s, 3),
        "stderr_tail": list(last.stderr_tail),
        "diagnosis": last.diagnosis,
    }


def _view_health(child: ChildRuntime, now: float) -> HealthDocument:
    health = child.senses.health
    return {
        "probe": probe_kind(child.service),
        "address": _address(child.probed_at),
        "ok": health.ok,
        "age_s": None if health.at is None else round(now - health.at, 3),
        "latency_ms": None if health.latency_s is None else round(health.latency_s * 1000, 3),
        "failures": child.life.probe_failures,
        "stats": health.stats,
        "detail": health.detail,
    }


def _address(place: tuple[str, int] | None) -> str | None:
    if place is None:
        return None
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _left_s(due_at: float | None, now: float) -> float | None:
    return None if due_at is None else round(max(0.0, due_at - now), 3)
