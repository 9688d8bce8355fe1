"""The status document as rows of text: one row per child, the same for `status` and for the dashboard.

Pure. Knows launcher.md section 4 and the `stats` payload of the servers; knows nothing of colours or widths.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from launcher.terminal import cells
from launcher.terminal.sanitize import clean


@dataclass(frozen=True)
class Row:
    """One child (or a service that has none) as text by column name, and the numbers behind the texts."""

    service: str
    child: str
    state: str
    desired: str
    cells: Mapping[str, str]
    figures: Mapping[str, float | None]
    is_stale: bool


def rows_of(
    document: Mapping[str, Any], services: Collection[str] = (), *, ascii_only: bool = False
) -> list[Row]:
    """The rows of the named services (all of them when none is named), in the order of the document."""
    gpu_names = _gpu_names(document)
    return [
        _row(name, service, child, gpu_names, ascii_only)
        for name, service in document.get("services", {}).items()
        if not services or name in services
        for child in service.get("children") or [{"name": name, "state": service.get("state", "stopped")}]
    ]


def not_ready(document: Mapping[str, Any], services: Collection[str] = ()) -> list[dict[str, Any]]:
    """The child document of every child that is wanted and not ready."""
    found = []
    for name, service in document.get("services", {}).items():
        if services and name not in services:
            continue
        for child in service.get("children") or []:
            wanted = service.get("desired") == "up"
            if child.get("state") == "failed" or (wanted and child.get("state") != "ready"):
                found.append(child)
    return found


def own_address(child: Mapping[str, Any]) -> str | None:
    """Where a child that shares its port is asked alone (`127.0.0.1:40123`); None for one that does not."""
    address = (child.get("health") or {}).get("address")
    shared = child.get("port")
    return None if not address or shared is None or str(address).endswith(f":{shared}") else str(address)


def _row(
    name: str,
    service: Mapping[str, Any],
    child: Mapping[str, Any],
    gpu_names: Mapping[str, str],
    ascii_only: bool,
) -> Row:
    """One child's row."""
    state = str(child.get("state", "unknown"))
    health = child.get("health") or {}
    # What a process that has ended said last is not how things are.
    stats = (health.get("stats") or {}) if child.get("pid") is not None else {}
    requests = stats.get("requests") or {}
    total = (stats.get("latency_ms") or {}).get("total") or {}
    on_cpu = " on CPU" if state == "ready" and _fell_back_to_cpu(service) else ""
    text = {
        "SERVICE": child.get("name", name),
        "STATE": f"{cells.glyph(state, ascii_only=ascii_only)} {cells.state_words(child)}{on_cpu}",
        "PORT": _port(service, child),
        "ADDRESS": _address(service, child),
        "GPU": _gpu(child.get("gpu") or {}, stats, gpu_names),
        **_process_cells(child, health),
        **_request_cells(requests, total, stats.get("queue") or {}),
    }
    return Row(
        service=name,
        child=str(child.get("name", name)),
        state=state,
        desired=str(service.get("desired", "up")),
        cells={column: clean(str(value)) for column, value in text.items()},
        figures=_figures(child, requests, total, stats.get("queue") or {}, health),
        is_stale=(health.get("age_s") or 0.0) > 6.0,
    )


def _process_cells(child: Mapping[str, Any], health: Mapping[str, Any]) -> dict[str, str]:
    """What the supervisor knows of a process."""
    return {
        "UPTIME": cells.duration(child.get("uptime_s")),
        "RST": cells.number(child.get("restarts")),
        "CPU%": cells.number(child.get("cpu_percent")),
        "RSS": cells.size(child.get("rss_bytes")),
        "VRAM": cells.size(child.get("vram_bytes")),
        "PID": str(child.get("pid") or cells.UNKNOWN),
        "HEALTH": cells.duration(health.get("age_s") if child.get("pid") is not None else None),
    }


def _request_cells(
    requests: Mapping[str, Any], total: Mapping[str, Any], queue: Mapping[str, Any]
) -> dict[str, str]:
    """What a server tells of its requests."""
    p50, p99 = cells.milliseconds(total.get("p50")), cells.milliseconds(total.get("p99"))
    return {
        "REQ/S": cells.number(requests.get("per_second")),
        "P50": p50,
        "P99": p99,
        "P50/P99 MS": cells.UNKNOWN if p50 == p99 == cells.UNKNOWN else f"{p50} / {p99}",
        "QUEUE": _queue(queue),
    }


def _figures(
    child: Mapping[str, Any],
    requests: Mapping[str, Any],
    total: Mapping[str, Any],
    queue: Mapping[str, Any],
    health: Mapping[str, Any],
) -> dict[str, float | None]:
    """The numbers by which rows can be compared; None for what is unknown."""
    return {
        "UPTIME": child.get("uptime_s"),
        "RST": child.get("restarts"),
        "CPU%": child.get("cpu_percent"),
        "RSS": child.get("rss_bytes"),
        "VRAM": child.get("vram_bytes"),
        "REQ/S": requests.get("per_second"),
        "P50": total.get("p50"),
        "P99": total.get("p99"),
        "QUEUE": queue.get("depth"),
        "PID": child.get("pid"),
        "HEALTH": health.get("age_s"),
    }


def _fell_back_to_cpu(service: Mapping[str, Any]) -> bool:
    """Whether a GPU was wanted and the service runs without one."""
    return any(
        "on the cpu" in str(note).lower() or "on cpu" in str(note).lower()
        for note in service.get("notes") or []
    )


def _port(service: Mapping[str, Any], child: Mapping[str, Any]) -> str:
    """The port, with `!` when it is not the first choice of a range."""
    port = child.get("port", service.get("port"))
    if port is None:
        return cells.UNKNOWN
    return f"{port}!" if service.get("fallback_port") else str(port)


def _address(service: Mapping[str, Any], child: Mapping[str, Any]) -> str:
    """`localhost:5005`, from the child's own address where it has one."""
    url = child.get("url") or service.get("url")
    if not url:
        return _port(service, child)
    place = str(url).partition("://")[2].rstrip("/")
    return f"{place}!" if service.get("fallback_port") else place


def _gpu(gpu: Mapping[str, Any], stats: Mapping[str, Any], gpu_names: Mapping[str, str]) -> str:
    """The GPU's index where it is known; else the device that the child reports."""
    device = stats.get("device") or gpu.get("device")
    if device == "cpu":
        return "cpu"
    ids = gpu.get("ids") or []
    if ids:
        return ",".join(gpu_names.get(each, str(each)[:8]) for each in ids)
    return str(device) if device else cells.UNKNOWN


def _gpu_names(document: Mapping[str, Any]) -> dict[str, str]:
    """GPU id → index, as far as the document tells."""
    gpus = document.get("gpus") or []
    return {
        str(gpu["uuid"]): str(gpu["index"]) for gpu in gpus if "uuid" in gpu and gpu.get("index") is not None
    }


def _queue(queue: Mapping[str, Any]) -> str:
    """`3/512`."""
    if queue.get("depth") is None:
        return cells.UNKNOWN
    limit = queue.get("limit")
    depth = cells.number(queue["depth"])
    return depth if limit is None else f"{depth}/{cells.number(limit)}"
