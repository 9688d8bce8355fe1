"""Memories as objects: every field there, nothing more than was asked for."""

from servers.memory.scoring import RankWeights
from servers.memory.search import Hit
from servers.memory.wire import hit_object, memory_object, stored_object
from tests.servers.memory.doubles import make_memory

HIT = Hit(seq=1, score=0.5, similarity=0.25, significance=0.75, recency=1.0)


def test_vector_score_and_reasons_are_only_sent_when_asked_for() -> None:
    """`include` adds fields and changes no others."""
    memory = make_memory("a")
    plain = hit_object(HIT, memory, RankWeights(), frozenset())
    full = hit_object(HIT, memory, RankWeights(), frozenset({"embedding", "score", "explain"}))
    assert full.keys() - plain.keys() == {"embedding", "score", "explain"}
    assert {key: full[key] for key in plain} == plain
    assert full["explain"]["weights"] == {"relevance": 0.6, "significance": 0.25, "recency": 0.15}


def test_similarity_is_only_there_with_a_query() -> None:
    """Without a query there is nothing to be similar to."""
    assert hit_object(HIT, make_memory("a"), RankWeights(), frozenset())["similarity"] == 0.25
    without = Hit(seq=1, score=0.75, similarity=None, significance=0.75, recency=1.0)
    assert "similarity" not in hit_object(without, make_memory("a"), RankWeights(), frozenset())


def test_expiry_is_written_as_text() -> None:
    """`expires_at` is ISO-8601, or null for what stays."""
    assert memory_object(make_memory("a", expires_at_ms=1000))["expires_at"] == "1970-01-01T00:00:01.000Z"
    assert memory_object(make_memory("a"))["expires_at"] is None


def test_a_stored_memory_names_its_id_twice() -> None:
    """`memory_id` stays readable when the request's own `id` is echoed over `id`."""
    stored = stored_object(make_memory("a"))
    assert stored["id"] == stored["memory_id"] == "a"
    assert "duplicate_of" not in stored
    assert stored_object(make_memory("b", duplicate_of="a"))["duplicate_of"] == "a"
