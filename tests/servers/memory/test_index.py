"""The index against a plain sort in numpy: same memories, same order, same counts, whatever happens to it."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servers.memory.codes import Mode
from servers.memory.index import VectorIndex
from servers.memory.search import Search
from servers.memory.store.base import Memory, columns_of
from tests.servers.memory.doubles import DIMENSIONS, make_memory, make_vector
from tests.servers.memory.search_model import HALF_LIFE_MS, NOW_MS, Model, cosine, memories, searches


@pytest.mark.parametrize("mode", ["int8", "float16", "float32"])
@settings(deadline=None, max_examples=100)
@given(
    batches=st.lists(st.lists(memories, max_size=15), max_size=4),
    deleted=st.sets(st.integers(1, 40)),
    revived=st.sets(st.integers(1, 40)),
    search=searches,
)
def test_a_search_equals_a_plain_sort(
    mode: Mode, batches: Sequence[Sequence[Memory]], deleted: set[int], revived: set[int], search: Search
) -> None:
    """After any appends, deletions and revivals, every page is the one that sorting everything gives."""
    index = VectorIndex(DIMENSIONS, mode=mode)
    kept: list[Memory] = []
    for batch in batches:
        numbered = [replace(memory, seq=len(kept) + place) for place, memory in enumerate(batch, start=1)]
        index.append(columns_of(numbered, DIMENSIONS))
        kept += numbered
    index.remove(sorted(deleted))
    back = [memory for memory in kept if memory.seq in deleted & revived]
    index.revive(columns_of(back, DIMENSIONS))
    model = Model(kept, deleted - revived)
    found = index.search(search)
    seqs, total, hidden = model.expected(search)
    assert ([hit.seq for hit in found.hits], found.total, found.hidden) == (seqs, total, hidden)
    assert index.counts(NOW_MS, 0.5) == _counts(model)


def _counts(model: Model) -> tuple[int, int]:
    visible = [
        memory
        for memory in model.memories
        if memory.seq not in model.deleted and (memory.expires_at_ms or math.inf) > NOW_MS
    ]
    return len(visible), sum(memory.significance >= 0.5 for memory in visible)


@pytest.mark.parametrize("mode", ["int8", "float16", "float32"])
@settings(deadline=None, max_examples=40)
@given(known=st.lists(memories, max_size=20), seeds=st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_the_nearest_is_the_most_similar_visible_one(
    mode: Mode, known: list[Memory], seeds: list[int]
) -> None:
    """The neighbour of a vector has the highest cosine in its namespace; an empty namespace has none."""
    index = VectorIndex(DIMENSIONS, mode=mode)
    numbered = [replace(memory, seq=place) for place, memory in enumerate(known, start=1)]
    index.append(columns_of(numbered, DIMENSIONS))
    vectors = np.stack([make_vector(str(seed)) for seed in seeds])
    found = index.nearest(vectors, ["default"] * len(seeds), NOW_MS)
    visible = [
        memory
        for memory in known
        if memory.namespace == "default" and (memory.expires_at_ms or math.inf) > NOW_MS
    ]
    similarities = {memory.id: memory.vector for memory in visible}
    for vector, neighbour in zip(vectors, found, strict=True):
        if neighbour is None:
            assert not visible
        else:
            best = max(cosine(memory.vector, vector) for memory in visible)
            assert neighbour.similarity == pytest.approx(best, abs=1e-6)
            assert cosine(similarities[neighbour.id], vector) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("mode", ["int8", "float16", "float32"])
def test_many_rows_are_ranked_exactly(mode: Mode) -> None:
    """Thousands of nearly equal scores come in the order of their float64 values."""
    rng = np.random.default_rng(7)
    base = rng.normal(size=384)
    near = [
        make_memory(f"m{i:05}", vector=(base + 1e-4 * rng.normal(size=384)).astype(np.float32), seq=i + 1)
        for i in range(5000)
    ]
    index = VectorIndex(384, mode=mode, block_rows=1024)
    index.append(columns_of(near, 384))
    search = Search("default", NOW_MS, count=50, sort="relevance", query=base.astype(np.float32))
    expected, _, _ = Model(near, set()).expected(replace(search))
    assert [hit.seq for hit in index.search(search).hits] == expected


def test_a_hit_says_why() -> None:
    """Similarity, significance and recency are given, and the score is their weighted sum."""
    index = VectorIndex(DIMENSIONS)
    memory = make_memory("a", seq=1, timestamp_ms=NOW_MS - 1000, significance=0.5)
    index.append(columns_of([memory], DIMENSIONS))
    search = Search("default", NOW_MS, 1, sort="relevance", query=make_vector("a"), half_life_ms=HALF_LIFE_MS)
    (hit,) = index.search(search).hits
    assert (hit.significance, hit.recency) == (0.5, 0.5)
    assert hit.similarity == pytest.approx(1.0, abs=1e-6)
    assert hit.score == pytest.approx(0.6 + 0.25 * 0.5 + 0.15 * 0.5, abs=1e-6)


def test_relevance_needs_a_query() -> None:
    """Asking for relevance to nothing is a mistake of the caller."""
    with pytest.raises(ValueError, match="query"):
        Search("default", NOW_MS, 1, sort="relevance")
