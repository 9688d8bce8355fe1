"""The embedding worker's part of the `stats` payload (protocol.md section 5).

It decides the names; it counts nothing itself.
"""

from typing import Any

from servers.embedding.admission import Admission
from servers.embedding.engine import Engine
from servers.embedding.meter import Meter
from servers.settings import EmbeddingSettings


def worker_stats(
    settings: EmbeddingSettings, engine: Engine | None, meter: Meter, admission: Admission, waiting: int
) -> dict[str, Any]:
    """Return the payload; what only a loaded engine knows is None before, `waiting` texts are in no batch."""
    info = engine.info if engine else None
    memory = engine.memory() if engine else None
    payload: dict[str, Any] = {
        "model": info.name if info else settings.model,
        "device": info.device if info else None,
        "dimensions": info.dimensions if info else None,
        "max_input_tokens": info.max_input_tokens if info else None,
        "backend": info.backend if info else settings.backend,
        "engine_reason": info.reason if info else None,
        "dtype": info.dtype if info else None,
        "texts": meter.texts,
        "tokens": meter.tokens,
        "queue": {"depth": admission.texts, "limit": admission.max_texts, "waiting": waiting},
        "latency_ms": meter.latency_ms(),
        "batch": meter.batch(),
        "dropped": meter.dropped(),
    }
    return payload | ({"gpu": memory.as_stats()} if memory else {})
