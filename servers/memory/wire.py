"""How a memory looks on the wire (protocol.md section 4, "A memory").

Pure. Every field is always there, since clients read them without a check; it does not know where memories
come from.
"""

from collections.abc import Set as AbstractSet
from typing import Any

from servers.memory.instants import iso_utc
from servers.memory.jobs import Outcome
from servers.memory.scoring import RankWeights
from servers.memory.search import Hit
from servers.memory.store.base import Memory


def memory_object(memory: Memory, include: AbstractSet[str] = frozenset()) -> dict[str, Any]:
    """Return a memory as an object; with "embedding" in `include`, its stored vector too."""
    shown = {
        "id": memory.id,
        "text": memory.text,
        "timestamp": memory.timestamp_ms,
        "created_at": iso_utc(memory.timestamp_ms),
        "significance": memory.significance,
        "surprise": memory.surprise,
        "tags": list(memory.tags),
        "type": memory.type,
        "metadata": dict(memory.metadata),
        "namespace": memory.namespace,
        "expires_at": None if memory.expires_at_ms is None else iso_utc(memory.expires_at_ms),
        "duplicate_of": memory.duplicate_of,
    }
    return shown | ({"embedding": memory.vector} if "embedding" in include else {})


def hit_object(hit: Hit, memory: Memory, weights: RankWeights, include: AbstractSet[str]) -> dict[str, Any]:
    """Return a found memory: `similarity` only with a query, `score` and `explain` only if included."""
    shown = memory_object(memory, include)
    if hit.similarity is not None:
        shown["similarity"] = hit.similarity
    if "score" in include:
        shown["score"] = hit.score
    if "explain" in include:
        shown["explain"] = {
            "relevance": hit.similarity,
            "significance": hit.significance,
            "recency": hit.recency,
            "weights": {
                "relevance": weights.relevance,
                "significance": weights.significance,
                "recency": weights.recency,
            },
        }
    return shown


def stored_object(memory: Memory) -> dict[str, Any]:
    """Return what `store` answers for one memory.

    `memory_id` repeats `id`: a request's own `id` is echoed at the top level and would hide it there.
    """
    shown = {
        "id": memory.id,
        "memory_id": memory.id,
        "significance": memory.significance,
        "surprise": memory.surprise,
        "timestamp": memory.timestamp_ms,
        "namespace": memory.namespace,
    }
    return shown | ({"duplicate_of": memory.duplicate_of} if memory.duplicate_of else {})


def counts_object(outcome: Outcome, threshold: float, device: str) -> dict[str, Any]:
    """Return the counts that every change is answered with, as of its commit."""
    return {
        "total_memories": outcome.visible,
        "active_memories": outcome.active,
        "significance_threshold": threshold,
        "device": device,
    }
