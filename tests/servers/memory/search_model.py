"""What a search must find, by brute force in float64, and the memories and searches to try it on."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from servers.memory.scoring import RankWeights
from servers.memory.search import Search
from servers.memory.store.base import Memory
from tests.servers.memory.doubles import make_memory, make_vector

NOW_MS = 1_000_000
HALF_LIFE_MS = 1000.0


@dataclass
class Model:
    """What the index should hold: the memories, and those that are deleted."""

    memories: list[Memory]
    deleted: set[int]

    def expected(self, search: Search) -> tuple[list[int], int, int]:
        """The seqs of the page, the total and the hidden count, by brute force in float64."""
        visible = [
            memory
            for memory in self.memories
            if memory.seq not in self.deleted
            and memory.namespace == search.namespace
            and (memory.expires_at_ms is None or memory.expires_at_ms > search.now_ms)
            and (search.allowed is None or memory.seq in search.allowed.tolist())
        ]
        matches = [memory for memory in visible if memory.significance >= search.min_significance]
        matches.sort(key=lambda memory: self.key(search, memory))
        page = matches[search.offset : search.offset + search.count]
        return [memory.seq for memory in page], len(matches), len(visible) - len(matches)

    @staticmethod
    def key(search: Search, memory: Memory) -> tuple[Any, ...]:
        """The order that the contract asks for."""
        ties = (-memory.significance, -memory.timestamp_ms, memory.id)
        if search.sort == "significance":
            return ties
        if search.sort == "recent":
            return (-memory.timestamp_ms, *ties)
        assert search.query is not None
        recency = 2.0 ** (-max(0, search.now_ms - memory.timestamp_ms) / search.half_life_ms)
        weights = search.weights
        score = weights.relevance * cosine(memory.vector, search.query)
        return (-(score + weights.significance * memory.significance + weights.recency * recency), *ties)


def cosine(vector: Any, query: Any) -> float:
    """The cosine as the index defines it: unit vectors in float32, their product in float64."""
    wide = vector.astype(np.float64)
    unit = (wide / math.sqrt((wide * wide).sum())).astype(np.float32).astype(np.float64)
    other = query.astype(np.float64)
    other /= np.sqrt((other * other).sum())
    return float(np.clip((unit * other).sum(), -1.0, 1.0))


# Few values, so that ties in every key are the rule.
memories = st.builds(
    lambda name, vector, significance, timestamp, namespace, expires: make_memory(
        name,
        vector=make_vector(str(vector)) * np.float32(1 + vector),
        significance=significance,
        timestamp_ms=NOW_MS + timestamp,
        namespace=namespace,
        expires_at_ms=expires,
    ),
    st.uuids().map(str),
    st.integers(0, 5),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.sampled_from([-5000, -1000, 0, 1000]),
    st.sampled_from(["default", "default", "other"]),
    st.sampled_from([None, None, NOW_MS - 1, NOW_MS, NOW_MS + 1]),
)
searches = st.builds(
    Search,
    namespace=st.sampled_from(["default", "other", "unknown"]),
    now_ms=st.just(NOW_MS),
    count=st.integers(1, 12),
    offset=st.integers(0, 8),
    min_significance=st.sampled_from([0.0, 0.25, 0.3, 1.0]),
    sort=st.sampled_from(["significance", "recent", "relevance"]),
    query=st.integers(0, 8).map(lambda seed: make_vector(str(seed)) * np.float32(3.0)),
    allowed=st.none() | st.lists(st.integers(0, 40)).map(lambda seqs: np.array(seqs, dtype=np.int64)),
    weights=st.builds(RankWeights, st.floats(0, 2), st.floats(0, 2), st.floats(0, 2))
    | st.just(RankWeights()),
    half_life_ms=st.just(HALF_LIFE_MS),
)
