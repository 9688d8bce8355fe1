"""The memory server's `stats` payload (protocol.md section 4), put together from those who count.

Pure. It decides the names; it does not know how anything is counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from servers.memory.index_state import IndexState
from servers.memory.instants import iso_utc
from servers.memory.settings import MemorySettings
from servers.memory.store.base import StoreInfo


@dataclass(frozen=True, slots=True)
class Counts:
    """Facts about the memories: those shown, those above the threshold, rows that wait for their commit."""

    visible: int
    active: int
    waiting_rows: int
    store: StoreInfo
    index: IndexState


def stats_object(
    shared: Mapping[str, Any], embedding: Mapping[str, Any], counts: Counts | None, settings: MemorySettings
) -> dict[str, Any]:
    """Return the payload from the telemetry's `shared`, the worker's `embedding`, and `counts`."""
    merged = {
        **shared,
        **{name: embedding[name] for name in ("device", "model", "dimensions", "queue")},
        "latency_ms": {**shared["latency_ms"], **embedding["latency_ms"]},
        "significance_threshold": settings.significance_threshold,
        "write_queue": {
            "depth": counts.waiting_rows if counts else 0,
            "limit": settings.write_queue_rows,
        },
        "last_backup": _last_backup(counts),
        **_memory_counts(counts),
        "index": _index_object(counts.index) if counts else {"mode": None, "exact": True},
        "store": _store_object(counts, str(settings.path)),
    }
    return merged | ({"gpu": embedding["gpu"]} if "gpu" in embedding else {})


def _last_backup(counts: Counts | None) -> str | None:
    moment = counts.store.last_backup_ms if counts else None
    return None if moment is None else iso_utc(moment)


def _memory_counts(counts: Counts | None) -> dict[str, Any]:
    return {
        "memory_count": counts.visible if counts else None,
        "total_memories": counts.visible if counts else None,
        "active_memories": counts.active if counts else None,
        "deleted_memories": counts.store.deleted_rows if counts else None,
        "damaged_memories": counts.store.damaged_rows if counts else None,
    }


def _index_object(index: IndexState) -> dict[str, Any]:
    return {
        "mode": index.mode,
        "exact": True,
        "memory_bytes": index.held_bytes,
        "budget_bytes": index.budget_bytes,
        "room_for": index.rows_left,
        "blocks": index.blocks,
        "blocks_in_files": index.blocks_in_files,
        "blocks_loaded": index.blocks_loaded,
    }


def _store_object(counts: Counts | None, path: str) -> dict[str, Any]:
    return {
        "path": path,
        "engine": counts.store.engine if counts else None,
        "engine_version": counts.store.engine_version if counts else None,
        "checked": counts.store.checked if counts else None,
        "schema_version": counts.store.schema_version if counts else None,
        "size_bytes": counts.store.size_bytes if counts else None,
    }
