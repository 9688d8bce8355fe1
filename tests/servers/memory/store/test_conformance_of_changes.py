"""What every store must do when memories change: one suite, run against each implementation."""

from dataclasses import replace
from typing import Any

import pytest

from servers.memory.filters import parse_filter
from servers.memory.store.base import Selection, Store
from tests.servers.memory.doubles import make_memory
from tests.servers.memory.store.filling import RICH, OpenStore, put


def test_a_replaced_memory_keeps_its_place(open_store: OpenStore, store: Store) -> None:
    """Everything about it may change but id and seq, and the change survives the closing of the store."""
    kept, _ = put(store, make_memory("a"), make_memory("b"))
    changed = replace(RICH, id="a", seq=kept.seq)
    store.apply([lambda t: t.replace(changed)])
    store.close()
    again = open_store()
    assert again.find_many(["a"]) == {"a": changed}
    assert again.find_many(["a"])["a"].vector.tobytes() == RICH.vector.tobytes()
    assert again.matching("other", parse_filter({"type": "fact"})).tolist() == [kept.seq]


SELECTABLE = [
    make_memory("old", timestamp_ms=100, significance=0.9, metadata={"k": 1}),
    make_memory("poor", timestamp_ms=200, significance=0.1, metadata={"k": 1}),
    make_memory("good", timestamp_ms=300, significance=0.8),
    make_memory("far", namespace="far", timestamp_ms=100, significance=0.1),
]


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, {"old", "poor", "good", "far"}),
        ({"namespace": "default"}, {"old", "poor", "good"}),
        ({"ids": ("old", "far", "zzz")}, {"old", "far"}),
        ({"ids": ()}, set()),
        ({"seqs": (1, 3, 99)}, {"old", "good"}),
        ({"seqs": ()}, set()),
        ({"before_ms": 200}, {"old", "far"}),
        ({"below_significance": 0.8}, {"poor", "far"}),
        ({"wanted": parse_filter({"k": 1}), "below_significance": 0.5}, {"poor"}),
    ],
)
def test_selections_hold_what_they_say(store: Store, criteria: dict[str, Any], expected: set[str]) -> None:
    """`select` counts and shows it, `delete_selected` deletes exactly that, `restore_deletion` undoes it."""
    kept = {memory.id: memory for memory in put(store, *SELECTABLE)}
    selection = Selection(**criteria)
    selected = store.select(selection, 2)
    assert selected.total == len(expected)
    assert {memory.id for memory in selected.memories} <= expected
    (gone,) = store.apply([lambda t: t.delete_selected(selection, 5, "once")])
    assert gone == sorted((kept[memory_id].seq, memory_id) for memory_id in expected)
    assert set(store.find_many(list(kept))) == set(kept) - expected
    assert store.select(selection, 2).total == 0
    (back,) = store.apply([lambda t: t.restore_deletion("once")])
    assert back == [kept[memory.id] for memory in SELECTABLE if memory.id in expected]
    assert store.find_many(list(kept)) == kept
    assert store.apply([lambda t: t.restore_deletion("once")]) == [[]]


def test_a_restored_memory_is_no_part_of_its_deletion(store: Store) -> None:
    """What was brought back by its id stays when the deletion is undone, and when it is deleted again."""
    put(store, make_memory("a"), make_memory("b"))
    store.apply([lambda t: t.delete_selected(Selection(), 5, "once")])
    store.apply([lambda t: t.set_deleted("a", None), lambda t: t.set_deleted("a", 6)])
    (back,) = store.apply([lambda t: t.restore_deletion("once")])
    assert isinstance(back, list)
    assert [memory.id for memory in back] == ["b"]


def test_the_expired_are_deleted_since_they_expired(store: Store) -> None:
    """At most so many at once, and only what has expired by then."""
    put(
        store, *(make_memory(f"m{place}", expires_at_ms=place) for place in range(1, 6)), make_memory("never")
    )
    (first,) = store.apply([lambda t: t.delete_expired(4, 3)])
    (second,) = store.apply([lambda t: t.delete_expired(4, 3)])
    assert isinstance(first, list)
    assert isinstance(second, list)
    assert (len(first), len(second)) == (3, 1)
    assert set(store.find_many([f"m{place}" for place in range(1, 6)] + ["never"])) == {"m5", "never"}
    assert {memory.deleted_at_ms for memory in store.fetch([*first, *second]).values()} == {1, 2, 3, 4}


def test_purging_removes_for_good(store: Store) -> None:
    """Only deleted memories go, by age or by id, so many at once; their seqs are never given again."""
    kept = put(store, *(make_memory(f"m{place}") for place in range(6)))
    store.apply([lambda t, at=place: t.set_deleted(f"m{at}", at) for place in range(4)])
    assert store.count_purgeable(None, 3) == 3
    assert store.apply([lambda t: t.purge(None, 3, 2), lambda t: t.purge(None, 3, 2)]) == [2, 1]
    assert store.count_purgeable(["m3", "m4", "m0"], 0) == 1
    assert store.apply([lambda t: t.purge(["m3", "m4", "m0"], 0, 10)]) == [1]
    assert set(store.fetch([memory.seq for memory in kept])) == {kept[4].seq, kept[5].seq}
    store.apply([lambda t: t.set_deleted("m5", 9), lambda t: t.purge(["m5"], 0, 1)])
    (new,) = put(store, make_memory("m5"))
    assert new.seq > kept[5].seq
    assert store.info().deleted_rows == 0
