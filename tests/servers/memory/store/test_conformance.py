"""What every store must do: one suite, run against each implementation."""

from typing import Any

import numpy as np
import pytest

from servers.errors import InvalidRequest, RequestError, StoreUnusable
from servers.memory.filters import parse_filter
from servers.memory.store.base import Memory, ModelMark, PageQuery, Store, Transaction
from tests.servers.memory.doubles import DIMENSIONS, make_memory
from tests.servers.memory.store.filling import MODEL, RICH, OpenStore, put


def test_a_memory_comes_back_as_it_was_put(open_store: OpenStore, store: Store) -> None:
    """Every field and every bit of the vector survive the closing of the store."""
    (kept,) = put(store, RICH)
    store.close()
    found = open_store().find_many(["rich"])["rich"]
    assert found == kept
    assert found.vector.tobytes() == RICH.vector.tobytes()
    assert list(found.metadata) == list(RICH.metadata)


def test_seqs_grow_in_the_order_of_storing(store: Store) -> None:
    """A later memory has a higher seq, across groups too."""
    first = put(store, make_memory("b"), make_memory("a"))
    second = put(store, make_memory("c"))
    seqs = [memory.seq for memory in first + second]
    assert seqs == sorted(set(seqs))
    assert min(seqs) > 0


def test_a_refused_operation_leaves_no_trace(store: Store) -> None:
    """A RequestError undoes its own operation, is returned in its place, and spares the others."""

    def half_done(transaction: Transaction) -> Memory:
        transaction.insert(make_memory("half"))
        raise InvalidRequest("no")

    answers: list[Memory | RequestError] = store.apply(
        [lambda t: t.insert(make_memory("before")), half_done, lambda t: t.insert(make_memory("after"))]
    )
    assert isinstance(answers[1], InvalidRequest)
    assert set(store.find_many(["before", "half", "after"])) == {"before", "after"}


def test_any_other_error_undoes_the_group(store: Store) -> None:
    """A mistake in one operation keeps nothing of the group, and the store goes on."""

    def broken(transaction: Transaction) -> Memory:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.apply([lambda t: t.insert(make_memory("a")), broken])
    assert store.count() == 0
    put(store, make_memory("a"))
    assert store.count() == 1


def test_a_transaction_sees_its_own_writes(store: Store) -> None:
    """An id that was stored a moment ago in the same group is found."""
    answers = store.apply(
        [lambda t: t.insert(make_memory("a")), lambda t: t.find("a"), lambda t: t.find("b")]
    )
    assert answers[1] == answers[0]
    assert answers[2] is None


def test_a_deleted_memory_is_hidden_until_it_is_restored(store: Store) -> None:
    """Deletion hides from every read but `fetch` and the deleted listing, and is undone completely."""
    (kept,) = put(store, make_memory("a"))
    store.apply([lambda t: t.set_deleted("a", 5)])
    assert store.find_many(["a"]) == {}
    assert store.count() == 0
    assert list(store.scan(10)) == []
    assert store.matching("default", parse_filter(None)).tolist() == []
    assert store.page(PageQuery("default", 10, 0)).memories == []
    assert [m.deleted_at_ms for m in store.page(PageQuery("default", 10, 0, deleted=True)).memories] == [5]
    assert list(store.fetch([kept.seq])) == [kept.seq]
    store.apply([lambda t: t.set_deleted("a", None)])
    assert store.find_many(["a"]) == {"a": kept}


def test_scan_yields_everything_in_steps(store: Store) -> None:
    """The scan gives all columns of all memories by seq, in steps of at most the size asked for."""
    memories = put(store, *(make_memory(f"m{i}", expires_at_ms=None if i % 2 else i) for i in range(7)))
    steps = list(store.scan(3))
    assert [len(step.ids) for step in steps] == [3, 3, 1]
    assert [memory_id for step in steps for memory_id in step.ids] == [memory.id for memory in memories]
    assert np.concatenate([step.vectors for step in steps]).tobytes() == b"".join(
        memory.vector.tobytes() for memory in memories
    )
    assert np.concatenate([step.expires_at_ms for step in steps]).tolist()[:2] == [0, 2**63 - 1]


def test_pages_show_every_memory_once(store: Store) -> None:
    """Following the pages lists the namespace newest first, whatever is stored meanwhile."""
    put(store, *(make_memory(f"m{i}") for i in range(5)), make_memory("elsewhere", namespace="other"))
    seen: list[str] = []
    before: int | None = None
    while True:
        page = store.page(PageQuery("default", 2, 0, before_seq=before))
        seen += [memory.id for memory in page.memories]
        put(store, make_memory(f"late-{len(seen)}"))
        before = page.next_before_seq
        if before is None:
            break
    assert seen == ["m4", "m3", "m2", "m1", "m0"]


def test_a_page_hides_what_has_expired(store: Store) -> None:
    """A memory is listed until the instant at which it expires."""
    put(store, make_memory("a", expires_at_ms=10))
    assert len(store.page(PageQuery("default", 5, 9)).memories) == 1
    assert store.page(PageQuery("default", 5, 10)).memories == []


def test_lookups_take_any_number_of_keys(store: Store) -> None:
    """Far more keys than a statement binds are looked up, unknown ones left out."""
    put(store, *(make_memory(f"m{i}") for i in range(5)))
    keys = [f"m{i}" for i in range(2000)]
    assert set(store.find_many(keys)) == {"m0", "m1", "m2", "m3", "m4"}
    assert len(store.fetch(range(-1000, 2000))) == 5


def test_another_model_is_refused_with_the_mend(open_store: OpenStore, store: Store) -> None:
    """Vectors of two models cannot be compared, so the store says which model it was filled by."""
    put(store, make_memory("a"))
    store.close()
    again = open_store()
    again.bind_model(MODEL)
    with pytest.raises(StoreUnusable, match="a-model") as caught:
        again.bind_model(ModelMark("another", DIMENSIONS))
    assert "path" in str(caught.value.mend)
    with pytest.raises(StoreUnusable):
        again.bind_model(ModelMark("a-model", DIMENSIONS + 1))


def test_an_empty_store_takes_another_model(open_store: OpenStore, store: Store) -> None:
    """As long as nothing is stored, changing one's mind about the model costs nothing."""
    store.bind_model(ModelMark("another", 3))
    store.close()
    open_store().bind_model(ModelMark("another", 3))


def test_info_counts_rows(store: Store) -> None:
    """Rows and deleted rows are counted, and the size is not zero."""
    put(store, make_memory("a"), make_memory("b"))
    store.apply([lambda t: t.set_deleted("a", 5)])
    info = store.info()
    assert (info.rows, info.deleted_rows, info.damaged_rows) == (2, 1, 0)
    assert info.size_bytes > 0


def test_closing_twice_is_harmless(store: Store) -> None:
    """The second close does nothing; a closed store refuses instead of crashing."""
    store.close()
    store.close()
    with pytest.raises(RequestError):
        put(store, make_memory("a"))
    with pytest.raises(RequestError):
        store.count()


FILTERED = [
    make_memory(
        "fact", type="fact", tags=("a", "b"), timestamp_ms=100, metadata={"n": 1, "s": "x", "d": {"e": 2}}
    ),
    make_memory(
        "event", type="event", tags=("b",), timestamp_ms=200, metadata={"n": 2.5, "s": "1", "t": True}
    ),
    make_memory("bare", timestamp_ms=300, metadata={"n": None, "t": 1, "l": [1]}),
    make_memory("elsewhere", namespace="other", type="fact", timestamp_ms=100, metadata={"n": 1}),
]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, {"fact", "event", "bare"}),
        ({"type": "fact"}, {"fact"}),
        ({"type": ["fact", "event"]}, {"fact", "event"}),
        ({"tags": ["a", "b"]}, {"fact"}),
        ({"tags": "b"}, {"fact", "event"}),
        ({"tags": {"any": ["a", "zzz"]}}, {"fact"}),
        ({"since": 200}, {"event", "bare"}),
        ({"until": 200}, {"fact", "event"}),
        ({"timestamp": {"gt": 100, "lt": 300}}, {"event"}),
        ({"metadata": {"n": 1}}, {"fact"}),
        ({"n": {"in": [1, 2.5]}}, {"fact", "event"}),
        ({"n": {"gte": 1, "lt": 2}}, {"fact"}),
        ({"n": {"gt": 1}}, {"event"}),
        ({"n": None}, {"bare"}),
        ({"s": "1"}, {"event"}),
        ({"s": 1}, set()),
        ({"s": {"gte": "w"}}, {"fact"}),
        ({"t": True}, {"event"}),
        ({"t": 1}, {"bare"}),
        ({"n": {"ne": 1}}, {"event", "bare"}),
        ({"d.e": 2}, {"fact"}),
        ({"l": [1]}, set()),
        ({"n": {"in": []}}, set()),
        ({"no'such; --": 1}, set()),
        ({"type": "fact", "n": 2.5}, set()),
    ],
)
def test_filters_let_through_what_they_say(store: Store, raw: dict[str, Any], expected: set[str]) -> None:
    """Types, tags, times and metadata are compared strictly, in one namespace."""
    kept = {memory.seq: memory.id for memory in put(store, *FILTERED)}
    seqs = store.matching("default", parse_filter(raw))
    assert seqs.dtype == np.int64
    assert {kept[seq] for seq in seqs.tolist()} == expected
    assert {
        m.id for m in store.page(PageQuery("default", 9, 0, wanted=parse_filter(raw))).memories
    } == expected


def test_reading_all_yields_every_memory_whole(store: Store) -> None:
    """By seq, in steps, of one namespace or of all; what is deleted is left out."""
    kept = put(store, *(make_memory(f"m{place}", namespace="ab"[place % 2]) for place in range(5)), RICH)
    store.apply([lambda t: t.set_deleted("m0", 5)])
    steps = list(store.read_all(None, 2))
    assert [len(step) for step in steps] == [2, 2, 1]
    assert [memory for step in steps for memory in step] == kept[1:]
    assert [memory.id for step in store.read_all("b", 10) for memory in step] == ["m1", "m3"]


def test_only_repetitions_are_listed_as_duplicates(store: Store) -> None:
    """The listing of duplicates pages like the other one."""
    put(store, make_memory("a"), make_memory("b", duplicate_of="a"), make_memory("c", duplicate_of="a"))
    page = store.page(PageQuery("default", 1, 0, duplicates=True))
    assert [memory.id for memory in page.memories] == ["c"]
    rest = store.page(PageQuery("default", 1, 0, before_seq=page.next_before_seq, duplicates=True))
    assert ([memory.id for memory in rest.memories], rest.next_before_seq) == (["b"], None)


def test_the_last_backup_is_remembered(open_store: OpenStore, store: Store) -> None:
    """A noted time survives the closing of the store; before the first there is none."""
    assert store.info().last_backup_ms is None
    store.apply([lambda t: t.set_property("last_backup", "5")])
    store.apply([lambda t: t.set_property("last_backup", "7")])
    store.close()
    assert open_store().info().last_backup_ms == 7
