"""The services of the file that nobody has started: what is known of them, and how the status shows them.

Decides that a service that stands in the file is never unknown: it is `stopped` until somebody wants it. Does
not know: which of them run; `roster` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.configuration.needs import child_names
from launcher.snapshot import ChildDocument, HealthDocument, ServiceDocument, shape_service
from launcher.tokens import needs_token

if TYPE_CHECKING:
    from launcher.configuration.models import Service

__all__ = ["Listed", "list_service", "view_listed"]

Listed = dict[str, Any]
"""What is remembered of a service of the file, as JSON; made by `list_service`."""

_NEVER_ASKED: HealthDocument = {
    "probe": None,
    "address": None,
    "ok": None,
    "age_s": None,
    "latency_ms": None,
    "failures": 0,
    "stats": None,
    "detail": None,
}


def list_service(service: Service) -> Listed:
    """Return what the status tells of a service before it is started."""
    return {
        "server": service.server,
        "depends_on": dict(service.conditions),
        "children": list(child_names(service)),
        "reason": "it has not been started" if service.enabled else "it is not enabled in the file",
        "has_token": needs_token(service),
    }


def view_listed(listed: Listed, logs: Path) -> ServiceDocument:
    """Return the document of a service that has never been started; `logs` is the folder of the log files."""
    return shape_service(
        desired_up=False,
        children=[_view_child(name, listed["reason"], logs) for name in listed["children"]],
        port=None,
        url=None,
        fallback_port=False,
        server=listed["server"],
        depends_on=listed["depends_on"],
        notes=[],
        settings={},
        has_token=listed["has_token"],
    )


def _view_child(name: str, reason: str, logs: Path) -> ChildDocument:
    return {
        "name": name,
        "port": None,
        "url": None,
        "pid": None,
        "generation": 0,
        "state": "stopped",
        "phase": None,
        "progress": None,
        "detail": None,
        "uptime_s": None,
        "restarts": 0,
        "consecutive_failures": 0,
        "exits_total": 0,
        "last_exit": None,
        "next_retry_s": None,
        "reason": reason,
        "gpu": None,
        "cpu_percent": None,
        "rss_bytes": None,
        "vram_bytes": None,
        "health": {**_NEVER_ASKED},
        "log": str(logs / f"{name}.log"),
        "log_lines_dropped": 0,
    }
